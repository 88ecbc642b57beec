"""Structures learned by name from a collection: by the images that are most like the queries, in their grey values."""

from pathlib import Path

import numpy as np
import pytest
import torch

from incontext.images.close_ups import magnified
from incontext.images.examples import as_source_images
from incontext.inference.named_task import LOOKED_AT, ComparedTask, _Candidate, _of_many_subjects
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.segmenter import Segmenter
from megamed.collection import Collection
from megamed.schema import Sample, Task


@pytest.fixture(scope="module")
def network() -> SupportOnceNet:
    """A small network that learnt nothing."""
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), stem_px=2, heads=1, head_channels=8)).eval()


@pytest.fixture(scope="module")
def collection(collection_path: Path) -> Collection:
    """One dataset of discs and squares."""
    return Collection(next(collection_path.glob("bones-*.h5")))


@pytest.fixture(scope="module")
def images(collection: Collection) -> list[np.ndarray]:
    task = collection.tasks()[0]
    return [collection.image(task, sample.row) for sample in collection.samples(task)]


def test_images_are_segmented_by_the_name_alone(
    collection: Collection, images: list[np.ndarray], network: SupportOnceNet
) -> None:
    segmenter = Segmenter.from_collection(collection, "disks", weights=network, size_px=32)
    assert segmenter.fitted.names == {1: "disc"}
    (source,) = segmenter.sources
    assert source.task.label == "disc"
    assert source.likeness is None
    assert "bones/drawing/2d/disc (; licence: CC0; 6 images, Dice on itself 0." in str(source)
    assert [mask.shape for mask in segmenter.predict(images[:2]).masks] == [(32, 32)] * 2
    assert collection.images(source.task, [0]).shape == (1, 32, 32)  # it is open still


@pytest.mark.parametrize("hounsfield", [False, True])
def test_what_is_most_like_the_queries_is_learned_in_their_grey_values(
    collection: Collection, images: list[np.ndarray], network: SupportOnceNet, hounsfield: bool
) -> None:
    asked = images[3].astype(np.float32) / 255
    expected = asked if hounsfield else (asked - asked.min()) / np.ptp(asked)
    in_units = asked * 1500 - 500
    in_units[0, 0] = -500  # air, by which CT is known
    query = list(as_source_images(in_units if hounsfield else images[3]))
    learner = Segmenter(network, support="nearest", size_px=32)
    learned, source = _Candidate(learner, collection, collection.tasks()[0], query).learned()
    assert source.likeness is not None
    assert 0 < source.likeness <= 1
    np.testing.assert_allclose(learned.fitted.pool.images[0, 0], expected, atol=0.12 if hounsfield else 0.01)
    assert learned.fitted.preparation.normalisation.kind == ("window" if hounsfield else "min-max")
    assert learner.scaling == "auto"


@pytest.mark.parametrize("magnification", [0.5, 1.0, 2.0])
def test_labelled_images_are_shown_as_large_as_those_to_segment(
    collection: Collection, images: list[np.ndarray], magnification: float
) -> None:
    task = collection.tasks()[0]
    labels = [collection.label(task, sample.row) for sample in collection.samples(task)]
    asked = [magnified(*pair, magnification)[0] for pair in zip(images, labels, strict=True)]
    segmenter = Segmenter.from_collection(collection, "disc", asked, size_px=32)
    (source,) = segmenter.sources
    assert source.magnification == magnification
    assert (f"{magnification:g} times as large" in str(source)) == (magnification != 1)


@pytest.mark.parametrize("specks", [[(8, 8)], [(2, 2), (29, 29)]], ids=["one", "in two corners"])
def test_what_is_not_seen_at_a_magnification_is_not_shown_at_it(
    collection: Collection, network: SupportOnceNet, specks: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    label = np.zeros((32, 32), np.uint8)
    label[tuple(zip(*specks, strict=True))] = 1
    monkeypatch.setattr(collection, "labels", lambda _, rows: np.repeat(label[None], len(rows), axis=0))
    noise = np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)
    (source,) = Segmenter.from_collection(collection, "disc", noise, weights=network, size_px=32).sources
    assert source.images == 6


def test_images_that_are_cut_into_tiles_are_ordered_as_images(
    collection: Collection, images: list[np.ndarray], network: SupportOnceNet
) -> None:
    learner = Segmenter(network, support="nearest", size_px=16, tiling=16)
    _, source = _Candidate(learner, collection, collection.tasks()[0], list(as_source_images(images[0]))).learned()
    assert source.images == len(images)


def test_a_structure_that_no_task_has_is_refused(collection: Collection) -> None:
    with pytest.raises(ValueError, match="'spleen' is in no task of the collection"):
        Segmenter.from_collection(collection, "spleen")


def test_a_task_is_worth_more_the_better_it_segments_itself_and_the_more_alike_it_is() -> None:
    task = Task.from_id("a/ct/2d/liver")
    signs = [(0.8, 0.9, 0.1), (0.7, 0.9, 0.1), (0.8, 0.8, 0.1), (0.8, 0.9, 0.5)]
    worth = [ComparedTask(task, "", "", 4, *each).worth for each in signs]
    assert worth[0] > max(worth[1:])
    assert ComparedTask(task, "", "", 4, None, 0.9).worth == 0


def test_samples_are_of_as_many_subjects_as_possible() -> None:
    samples = [Sample(row, f"s{row // 50}", "", "train", 1) for row in range(200)]
    chosen = _of_many_subjects(samples, LOOKED_AT)
    assert len(chosen) == LOOKED_AT
    assert [sample.subject for sample in chosen[:4]] == ["s0", "s1", "s2", "s3"]
    assert _of_many_subjects(samples[:5], LOOKED_AT) == samples[:5]
