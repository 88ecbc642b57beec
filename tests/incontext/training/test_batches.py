"""Batches depend on their seed and number alone, and hold what the configuration promises."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from incontext.training import batches as module
from incontext.training.augment import AugmentConfig
from incontext.training.batches import Batch, StepBatches
from incontext.training.episodes import EpisodeConfig, LabelledSet, TaskSampler, TrainingData

SMALL = EpisodeConfig(
    images_per_batch=6, set_sizes=(2, 3), large_set_sizes=(5,), queries_per_large_set=2, synthetic_share=0.0
)
AS_THEY_ARE = AugmentConfig.only()


@pytest.fixture(scope="module")
def data(collection_path) -> TrainingData:
    return TrainingData.load(collection_path, seed=0)


def assert_same(batch: Batch, other: Batch) -> None:
    assert batch.queries == other.queries
    assert torch.equal(batch.images, other.images)
    assert torch.equal(batch.labels, other.labels)


def test_a_batch_depends_on_its_seed_and_number_alone(data):
    batches = StepBatches(SMALL, AugmentConfig(), data, seed=0, count=9)
    ahead = batches[4]
    torch.manual_seed(99)
    batches[0]
    assert_same(ahead, batches[4])
    assert_same(ahead, StepBatches(SMALL, AugmentConfig(), data, seed=0, count=99)[4])
    assert not torch.equal(ahead.images[0, 0], batches[5].images[0, 0])
    assert not torch.equal(ahead.images[0, 0], StepBatches(SMALL, AugmentConfig(), data, 1, 9)[4].images[0, 0])


def test_workers_do_not_change_batches_and_a_run_continues_anywhere(data):
    batches = StepBatches(SMALL, AugmentConfig(), data, seed=0, count=6)
    made_elsewhere = DataLoader(batches, batch_size=None, sampler=range(3, 6), num_workers=2)
    for number, made in enumerate(made_elsewhere, start=3):
        assert isinstance(made, Batch)
        assert_same(made, batches[number])


def test_preparing_a_batch_leaves_the_global_generators_alone(data):
    torch.manual_seed(7)
    np.random.seed(7)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    StepBatches(SMALL, AugmentConfig(), data, seed=0, count=1)[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_batches_are_as_large_as_promised(data):
    batches = StepBatches(SMALL.model_copy(update={"large_share": 0.5}), AugmentConfig(), data, seed=0, count=30)
    shapes = Counter((*batch.images.shape[:2], batch.queries) for batch in map(batches.__getitem__, range(30)))
    assert set(shapes) == {(3, 2, 2), (2, 3, 3), (1, 5, 2)}
    assert 8 <= shapes[1, 5, 2] <= 22


def test_the_first_task_may_be_of_any_size_and_the_others_fill_its_sets(data, monkeypatch):
    asked = []

    class Recorder(TaskSampler):
        def draw(self, rng, at_least):
            asked.append(at_least)
            return super().draw(rng, at_least)

    monkeypatch.setattr(module, "TaskSampler", Recorder)
    batches = StepBatches(SMALL, AS_THEY_ARE, data, seed=0, count=1)
    seen = set()
    for number in range(20):
        asked.clear()
        sets, _ = batches.draw(np.random.default_rng(number))
        size = len(sets[0].images)
        assert asked == [2, *[size] * (len(sets) - 1)]
        seen.add(size)
    assert seen == {2, 3, 5}


def test_intensities_and_labels_keep_their_ranges(data):
    batches = StepBatches(SMALL, AugmentConfig(), data, seed=0, count=5)
    for images, labels, _, _ in map(batches.__getitem__, range(5)):
        assert images.shape == labels.shape
        assert 0 <= images.min() <= images.max() <= 1
        assert set(labels.unique().tolist()) <= {0, 1}


def test_labels_are_never_smaller_than_asked_for(collection_path):
    config = SMALL.model_copy(update={"min_label_px": 40, "background_rate": 0.0})
    batches = StepBatches(config, AS_THEY_ARE, TrainingData.load(collection_path, 0, config), seed=0, count=30)
    assert min(batch.labels.sum((-1, -2)).min() for batch in map(batches.__getitem__, range(30))) >= 40


def test_a_batch_without_augmentation_is_what_the_collection_holds(data):
    held = {image.tobytes() for task in data.tasks for image in task.view.images}
    batch = StepBatches(SMALL, AS_THEY_ARE, data, seed=0, count=1)[0]
    assert {(image * 255).round().byte().numpy().tobytes() for image in batch.images.flatten(0, 2)} <= held


def test_made_up_sets_get_their_shares(data, monkeypatch):
    def constant(value: int):
        return lambda _, count, rng: LabelledSet(*np.full((2, count, 32, 32), value, np.uint8))

    monkeypatch.setattr(module, "synthetic_set", lambda count, size_px, rng: constant(7)(size_px, count, rng))
    monkeypatch.setattr(module, "superpixel_set", constant(8))
    config = SMALL.model_copy(update={"synthetic_share": 0.5, "superpixel_share": 0.3})
    batches = StepBatches(config, AS_THEY_ARE, data, seed=0, count=1)
    sets = [drawn for number in range(300) for drawn in batches.draw(np.random.default_rng(number))[0]]
    shares = [np.mean([(drawn.images == value).all() for drawn in sets]) for value in (7, 8)]
    assert shares == pytest.approx([0.5, 0.3], abs=0.05)


@pytest.mark.parametrize("source", ["synthetic_share", "superpixel_share"])
def test_made_up_sets_are_batches_too(data, source):
    batch = StepBatches(SMALL.model_copy(update={source: 1.0}), AugmentConfig(), data, seed=0, count=1)[0]
    assert batch.images.shape[-2:] == batch.labels.shape[-2:] == (32, 32)


def test_partial_labels_are_shown_at_their_share_and_asked_for_whole(data):
    config = SMALL.model_copy(update={"partial_share": 0.5})
    batches = StepBatches(config, AugmentConfig(), data, seed=0, count=20)
    made = list(map(batches.__getitem__, range(20)))
    partial = torch.cat([(batch.shown != batch.labels).flatten(1).any(1) for batch in made])
    assert 0.2 < partial.float().mean() < 0.7
    assert all(set(batch.labels.unique().tolist()) <= {0, 1} for batch in made)
    assert all(
        torch.equal(batch.shown, batch.labels)
        for batch in map(StepBatches(SMALL, AugmentConfig(), data, 0, 9).__getitem__, range(9))
    )
