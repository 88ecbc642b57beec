"""Hierarchical sampling and its guarantees, on drawn tasks and on a small collection."""

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from incontext.training import episodes
from incontext.training.episodes import (
    DevTask,
    EpisodeConfig,
    SetSize,
    TaskImages,
    TaskSampler,
    TrainingData,
    ViewImages,
    dev_tasks,
    draw_rows,
    load_tasks,
)
from megamed import Collection, Task

NOTHING_ABSENT = np.array([], int)
ALL_ABSENT = EpisodeConfig(background_rate=1.0)


def draw_task(dataset: str, label: str = "disc", images: int = 4, axis: str = "2d") -> TaskImages:
    """A task whose images are of one grey each, their row; two of a subject."""
    pixels = np.arange(images, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    return TaskImages(
        Task(dataset=dataset, modality="drawing", axis=axis, label=label),
        ViewImages(pixels, tuple(f"s{i // 2}" for i in range(images))),
        np.arange(images),
        np.ones_like(pixels),
        NOTHING_ABSENT,
    )


def with_absent(absent: int, labelled: int = 8) -> TaskImages:
    """A task with images without the label, of subjects s0, s1, ...; the labelled ones are all of s0."""
    pixels = np.arange(absent + labelled, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    subjects = (*(f"s{row}" for row in range(absent)), *["s0"] * labelled)
    return TaskImages(
        Task(dataset="cells", modality="drawing", axis="2d", label="disc"),
        ViewImages(pixels, subjects),
        np.arange(absent, absent + labelled),
        np.ones_like(pixels[absent:]),
        np.arange(absent),
    )


def test_draws_are_uniform_at_every_level_of_the_hierarchy():
    bones = [draw_task("bones", f"bone-{i}") for i in range(9)] + [draw_task("bones", "skull", axis="axial")]
    sampler = TaskSampler([draw_task("cells"), draw_task("nuclei"), *bones], frozenset(), 0.0)
    rng = np.random.default_rng(0)
    drawn = Counter(sampler.draw(rng, at_least=2).task for _ in range(1800))
    expected = {
        task.task: 600 if task.task.dataset != "bones" else 300 if task.task.axis == "axial" else 300 / 9
        for task in sampler._tasks
    }
    chi_square = sum((drawn[task] - count) ** 2 / count for task, count in expected.items())
    assert chi_square < 24.7  # the 99 % quantile for 11 degrees of freedom


def test_auxiliary_datasets_get_their_share():
    sampler = TaskSampler([draw_task("cells"), draw_task("toys")], frozenset({"toys"}), 0.1)
    rng = np.random.default_rng(0)
    drawn = Counter(sampler.draw(rng, at_least=2).task.dataset for _ in range(1000))
    assert 60 < drawn["toys"] < 140


@pytest.mark.parametrize("auxiliary", [frozenset(), frozenset({"toys"})])
def test_a_collection_of_one_kind_of_dataset_can_be_drawn_from(auxiliary):
    sampler = TaskSampler([draw_task("toys")], auxiliary, 0.5)
    rng = np.random.default_rng(0)
    assert {sampler.draw(rng, at_least=2).task.dataset for _ in range(10)} == {"toys"}


def test_small_tasks_do_not_count_where_large_ones_are_wanted():
    small, large = [draw_task("cells", f"cell-{i}", images=2) for i in range(9)], draw_task("cells", images=8)
    sampler = TaskSampler([*small, large, draw_task("bones", images=8)], frozenset(), 0.0)
    rng = np.random.default_rng(0)
    drawn = Counter(sampler.draw(rng, at_least=5).task.dataset for _ in range(400))
    assert 150 < drawn["cells"] < 250, "a dataset is drawn no less often for its small tasks"
    with pytest.raises(ValueError, match="expected 9 images, got at most 8"):
        sampler.draw(rng, at_least=9)


def test_rows_come_from_different_subjects_first():
    subjects = ["a"] * 5 + ["b"] * 5 + ["c"]
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert {subjects[row] for row in draw_rows(subjects, 3, rng)} == {"a", "b", "c"}
    assert sorted(draw_rows(subjects, 11, rng)) == list(range(11))
    with pytest.raises(ValueError, match="at most 11"):
        draw_rows(subjects, 12, rng)


def test_no_query_sees_its_own_subject_while_others_have_images():
    subjects = [f"s{i % 5}" for i in range(50)]
    rng = np.random.default_rng(2)
    for _ in range(20):
        drawn = [subjects[row] for row in draw_rows(subjects, 32, rng, queries=2)]
        assert len(set(drawn[:2])) == 2
        assert not set(drawn[:2]) & set(drawn[2:])
    assert len(set(draw_rows(subjects, 33, rng, queries=2))) == 33, "then it must"


def test_sizes_fit_the_task_and_reach_supports_of_64():
    config, rng = EpisodeConfig(large_share=0.5), np.random.default_rng(0)
    assert {config.draw_size(3, rng).images for _ in range(50)} == {2, 3}
    sizes = {config.draw_size(100, rng) for _ in range(300)}
    assert sizes == {SetSize(n, min(n, 8) if n > 13 else n) for n in (2, 3, 4, 6, 9, 13, 17, 33, 65)}


def test_large_sets_get_their_share():
    config, rng = EpisodeConfig(large_share=0.2), np.random.default_rng(0)
    large = sum(config.draw_size(100, rng).images > 13 for _ in range(1000))
    assert 150 < large < 250


def test_backgrounds_are_empty_and_come_at_the_stated_rate():
    task, rng = with_absent(20), np.random.default_rng(0)
    sets = [task.draw(SetSize(8, 8), EpisodeConfig(background_rate=0.25), rng) for _ in range(200)]
    empty = np.array([~drawn.labels.any((1, 2)) for drawn in sets])
    assert 0.22 < empty.mean() < 0.28
    assert empty.any(0).all(), "queries and supports alike"
    for drawn in sets:
        assert ((drawn.images[:, 0, 0] < 20) == ~drawn.labels.any((1, 2))).all()
        assert 0 not in drawn.images[:, 0, 0], "the only one of a labelled subject is the last resort"


def test_two_images_of_a_set_keep_their_label():
    rng = np.random.default_rng(0)
    for images in (2, 3, 8):
        drawn = with_absent(20).draw(SetSize(images, images), ALL_ABSENT, rng)
        assert drawn.labels.any((1, 2)).sum() == 2
    assert with_absent(1).draw(SetSize(8, 8), ALL_ABSENT, rng).labels.any((1, 2)).sum() == 7, "one is all there is"


def test_drawing_leaves_the_collection_as_it_is():
    task = with_absent(20)
    task.draw(SetSize(8, 8), ALL_ABSENT, np.random.default_rng(0)).images[:] = 255
    assert task.labels.all()
    assert task.view.images.max() == 27


def test_tensors_scale_intensities():
    images, labels = draw_task("cells", images=52).pick([51, 0]).tensors()
    assert images.shape == labels.shape == (2, 1, 4, 4)
    assert images[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0])
    assert labels.unique().tolist() == [1.0]


def test_what_is_loaded_is_in_the_collection(collection_path):
    collection = Collection(collection_path)
    tasks = load_tasks(collection, collection.tasks(), min_label_px=40)
    for loaded in tasks:
        areas = collection.areas(loaded.task)
        assert loaded.labels.sum((1, 2)).tolist() == areas[areas >= 40].tolist()
        assert (areas[loaded.absent] == 0).all()
        samples = [sample for sample in collection.samples(loaded.task) if sample.area_px >= 40]
        assert loaded.subjects == tuple(sample.subject for sample in samples)
        expected = collection.images(loaded.task, [sample.row for sample in samples])
        assert np.array_equal(loaded.pick(range(len(loaded))).images, expected)
    disc, square = (next(t for t in tasks if t.task.id == f"cells/drawing/2d/{name}") for name in ("disc", "square"))
    assert disc.view is square.view, "tasks of one view share its images"


def test_datasets_of_other_roles_are_not_learned_from(collection_path):
    data = TrainingData.load(collection_path, seed=0)
    assert set(data.licenses) == {t.task.dataset for t in data.tasks} == {"cells", "bones", "toys"}
    assert data.auxiliary == {"toys"}
    with pytest.raises(ValueError, match=r"not for training: .* got \['eyes'\]"):
        TrainingData.load(collection_path, 0, EpisodeConfig(datasets=("cells", "eyes")))


def test_a_choice_of_datasets(collection_path):
    def learned(**fields) -> set[str]:
        return set(TrainingData.load(collection_path, 0, EpisodeConfig(**fields)).licenses)

    assert learned(datasets=("cells", "toys")) == {"cells", "toys"}
    assert learned(leave_out=("cells",)) == {"bones", "toys"}
    with pytest.raises(ValueError, match="Did you mean 'bones'"):
        learned(leave_out=("bone",))
    with pytest.raises(ValueError, match="nothing to learn from"):
        learned(min_label_px=1024)


def test_open_training_is_on_openly_licensed_datasets_alone(collection_path, monkeypatch):
    licenses = {"cells": "CC BY-NC 4.0", "bones": "CC BY 4.0", "toys": None, "eyes": None}
    stated = Collection.card

    def card(self, name):
        return stated(self, name).model_copy(update={"license": licenses[name]})

    monkeypatch.setattr(Collection, "card", card)
    assert TrainingData.load(collection_path, 0).licenses["toys"] == "unstated"
    assert TrainingData.load(collection_path, 0, EpisodeConfig(licence="open")).licenses == {"bones": "CC BY 4.0"}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"set_sizes": (1, 2)}, "expected at least 2, got 1"),
        ({"set_sizes": ()}, "at least 1 item"),
        ({"synthetic_share": 0.7, "superpixel_share": 0.4}, "at most 1, got 1.1"),
    ],
)
def test_contradictions_are_rejected(fields, fault):
    with pytest.raises(ValidationError, match=fault):
        EpisodeConfig(**fields)


def test_dev_queries_are_of_other_subjects_than_the_support(collection_path):
    collection = Collection(collection_path)
    watched = dev_tasks(collection, seed=0)
    assert {t.dataset for t in watched} == {"eyes"}
    for loaded, dev in zip(load_tasks(collection, collection.tasks(roles=["dev"])), watched, strict=True):
        whose = dict(zip((image.tobytes() for image in loaded.view.images), loaded.view.subjects, strict=True))

        def subjects(images, whose=whose):
            return {whose[(image * 255).round().byte().numpy().tobytes()] for image in images}

        assert not subjects(dev.query_images[:, 0]) & subjects(dev.support_images[0, :, 0])


def test_dev_tasks_are_the_same_again_and_larger_supports_hold_the_smaller(collection_path):
    collection = Collection(collection_path)
    for one, again, larger in zip(*(dev_tasks(collection, 0, size) for size in (2, 2, 64)), strict=True):
        assert_same_queries(one, again)
        assert_same_queries(one, larger)
        assert one.support_images.equal(again.support_images)
        assert one.support_images.equal(larger.support_images[:, :2])
        assert larger.support_images.shape[1] > 2


def test_a_dev_task_needs_a_second_subject_for_its_support(collection_path, monkeypatch):
    monkeypatch.setattr(episodes, "load_tasks", lambda *_: [with_absent(0), draw_task("cells")])
    assert [len(task.query_images) for task in dev_tasks(Collection(collection_path), 0)] == [2]


def assert_same_queries(one: DevTask, other: DevTask) -> None:
    assert one.query_images.equal(other.query_images)
    assert one.query_labels.equal(other.query_labels)


def test_some_sets_have_many_images_without_the_label():
    rng = np.random.default_rng(0)
    task, config = with_absent(20), EpisodeConfig(background_rate=0.0, absent_share=0.5)
    counts = [int((~task.draw(SetSize(8, 8), config, rng).labels.any((1, 2))).sum()) for _ in range(200)]
    assert 0.45 < np.mean([count == 0 for count in counts]) < 0.75
    assert max(counts) > 4
    assert min(8 - count for count in counts) >= 2


def test_windows_are_empty_in_tasks_of_which_every_image_shows_the_label():
    pixels = np.zeros((8, 16, 16), np.uint8)
    pixels[:, 2:6, 2:6] = 1
    task = TaskImages(with_absent(0).task, ViewImages(200 * pixels, ("s",) * 8), np.arange(8), pixels, NOTHING_ABSENT)
    drawn = task.draw(SetSize(8, 8), ALL_ABSENT.model_copy(update={"window_share": 1.0}), np.random.default_rng(0))
    assert drawn.labels.any((1, 2)).sum() == 2
    assert drawn.images[~drawn.labels.any((1, 2))].max() < 200
