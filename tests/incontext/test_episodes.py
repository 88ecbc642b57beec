"""Hierarchical sampling and its guarantees, on drawn tasks and on a small collection."""

import zlib
from collections import Counter

import numpy as np
import pytest

from incontext.episodes import TaskImages, TaskSampler, dev_tasks, draw_rows, load_tasks
from megamed import Collection, Task


def task(dataset: str, label: str = "disc", images: int = 4) -> TaskImages:
    pixels = np.full((images, 4, 4), 51, np.uint8)
    return TaskImages(
        Task(dataset=dataset, modality="drawing", axis="2d", label=label),
        pixels,
        (pixels > 0).astype(np.uint8),
        tuple(f"s{i // 2}" for i in range(images)),
    )


def test_draws_are_uniform_over_datasets_not_labels():
    tasks = [task("cells"), *(task("bones", f"bone-{i}") for i in range(9))]
    rng = np.random.default_rng(0)
    sampler = TaskSampler(tasks, frozenset(), 0.0)
    drawn = Counter(sampler.draw(rng, at_least=2).task.dataset for _ in range(400))
    assert 150 < drawn["cells"] < 250


def test_auxiliary_datasets_get_their_share():
    sampler = TaskSampler([task("cells"), task("toys")], frozenset({"toys"}), 0.1)
    rng = np.random.default_rng(0)
    drawn = Counter(sampler.draw(rng, at_least=2).task.dataset for _ in range(1000))
    assert 60 < drawn["toys"] < 140


def test_a_collection_of_auxiliary_datasets_alone_can_be_drawn_from():
    sampler = TaskSampler([task("toys")], frozenset({"toys"}), 0.1)
    assert sampler.draw(np.random.default_rng(0), at_least=2).task.dataset == "toys"


def test_small_tasks_are_passed_over():
    sampler = TaskSampler([task("cells", images=2), task("bones", images=8)], frozenset(), 0.0)
    rng = np.random.default_rng(0)
    assert {sampler.draw(rng, at_least=5).task.dataset for _ in range(20)} == {"bones"}
    with pytest.raises(ValueError, match="no task is large enough"):
        sampler.draw(rng, at_least=9)


def test_rows_come_from_different_subjects_first():
    subjects = ["a"] * 5 + ["b"] * 5 + ["c"]
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert {subjects[row] for row in draw_rows(subjects, 3, rng)} == {"a", "b", "c"}
    assert sorted(draw_rows(subjects, 11, rng)) == list(range(11))
    with pytest.raises(ValueError, match="at most 11"):
        draw_rows(subjects, 12, rng)


def test_pick_scales_intensities():
    images, labels = task("cells").pick([0, 2])
    assert images.shape == labels.shape == (2, 1, 4, 4)
    assert images.unique().tolist() == pytest.approx([0.2])
    assert labels.unique().tolist() == [1.0]


def test_tasks_of_other_roles_stay_out(collection_path):
    tasks = load_tasks(Collection(collection_path), ("train", "auxiliary"))
    assert {t.task.dataset for t in tasks} == {"cells", "bones", "toys"}
    assert all(t.labels.any((1, 2)).all() for t in tasks)
    with pytest.raises(ValueError, match="heldout"):
        load_tasks(Collection(collection_path), ("heldout",))


def test_dev_queries_are_of_other_subjects_than_the_support(collection_path):
    collection = Collection(collection_path)
    watched = dev_tasks(collection, seed=0)
    assert {t.dataset for t in watched} == {"eyes"}
    for loaded, dev in zip(load_tasks(collection, ("dev",)), watched, strict=True):
        rows = {zlib.crc32(image.tobytes()): loaded.subjects[i] for i, image in enumerate(loaded.images)}

        def subjects(images, rows=rows):
            return {rows[zlib.crc32((image * 255).round().byte().numpy().tobytes())] for image in images}

        assert not subjects(dev.query_images[:, 0]) & subjects(dev.support_images[0, :, 0])
    again = dev_tasks(collection, seed=0)
    assert all(a.query_images.equal(b.query_images) for a, b in zip(watched, again, strict=True))
