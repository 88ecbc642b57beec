"""The probe tells a network that reads its support from networks that do not."""

import pytest
import torch
from torch import Tensor, nn

from incontext.networks.checkpoint import load_pretrained
from incontext.training.episodes import DevTask
from incontext.training.probe import objections, probe


class Reader(nn.Module):
    """Segments the brightness that the support labels; without labels, nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def encode_support(self, support_images: Tensor, support_labels: Tensor) -> Tensor:
        found = [images[labels > 0] for images, labels in zip(support_images, support_labels, strict=True)]
        return torch.stack([values.mean() if values.numel() else torch.tensor(-1.0) for values in found])

    def segment(self, query_images: Tensor, code: Tensor) -> Tensor:
        return 0.25 - (query_images - code).abs()


class Ignorer(Reader):
    """Segments what is bright, whatever the support says."""

    def encode_support(self, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return torch.ones(1)


class Flooder(Reader):
    """Segments everything as soon as most of the support is labelled; else what is bright."""

    def segment(self, query_images: Tensor, code: Tensor) -> Tensor:
        return torch.ones_like(query_images) if code < 0.5 else query_images - 0.5


def stripes(dataset: str, place: int, support_size: int = 3) -> DevTask:
    """Bright stripes of two rows, at a place of their own in each image, in 8×8."""
    labels = torch.zeros(support_size + 2, 1, 8, 8)
    for i, label in enumerate(labels):
        row = (place + 2 * i) % 8
        label[:, row : row + 2] = 1
    support, queries = labels[None, :-2], labels[-2:]
    return DevTask(dataset, support, support, queries, queries)


TASKS = [stripes("a", 0), stripes("a", 0, support_size=2), stripes("b", 4)]


def test_a_reader_passes() -> None:
    scores = probe(Reader(), TASKS)
    assert scores == pytest.approx(
        {"true": 1, "blank": 0, "shuffled": 0, "inverted": 1, "restored": 1, "wrong": 0}, abs=1e-6
    )
    assert objections(scores) == []


def test_an_ignorer_fails_both_ways() -> None:
    scores = probe(Ignorer(), TASKS)
    assert scores["true"] == scores["blank"] == scores["shuffled"] == scores["wrong"] == 1
    assert scores["inverted"] == scores["restored"] == 0
    assert len(objections(scores)) == 2


def test_finding_everything_foreground_is_no_inversion() -> None:
    scores = probe(Flooder(), TASKS)
    assert scores["true"] == 1
    assert scores["inverted"] == pytest.approx(2 * 48 / (48 + 64))  # of 64 pixels 48 are no stripe
    assert scores["restored"] == 0
    assert ["inverted support labels do not invert the mask" in text for text in objections(scores)] == [True]


def test_scores_are_means_over_datasets_of_means_over_tasks() -> None:
    # The image shows nothing of the second task of `a`: 0 there, 1 in the others.
    dark = DevTask("a", *(torch.zeros(1, 2, 1, 8, 8),) * 2, torch.zeros(2, 1, 8, 8), TASKS[0].query_labels)
    assert probe(Reader(), [TASKS[0], dark, TASKS[2]])["true"] == pytest.approx((0.5 + 1) / 2)


def test_one_task_has_no_wrong_labels_and_none_has_no_scores() -> None:
    alone = probe(Reader(), TASKS[:1])
    assert "wrong" not in alone
    assert objections(alone) == []
    assert probe(Reader(), []) == {}


def test_wrong_labels_come_from_another_dataset_and_are_cycled() -> None:
    seen: list[Tensor] = []

    class Watcher(Reader):
        def encode_support(self, support_images: Tensor, support_labels: Tensor) -> Tensor:
            seen.append(support_labels)
            return super().encode_support(support_images, support_labels)

    probe(Watcher(), [stripes("a", 0), stripes("a", 2), stripes("b", 4, support_size=2)])
    per_task = len(seen) // 3
    expected = stripes("b", 4, support_size=2).support_labels[:, [0, 1, 0]]
    assert any(torch.equal(labels, expected) for labels in seen[:per_task])


def shapes(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images (count, 1, 128, 128) of a bright disc and a dark square on grey noise, and the labels of each."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    centres = torch.randint(24, 104, (2, count, 2, 1, 1), generator=generator)
    squares = (rows - centres[0, :, :1]).abs().maximum((columns - centres[0, :, 1:]).abs()) <= 16
    discs = ((rows - centres[1, :, :1]) ** 2 + (columns - centres[1, :, 1:]) ** 2 <= 18**2) & ~squares
    noise = 0.05 * torch.randn(count, 1, 128, 128, generator=generator)
    images = (0.5 + 0.4 * discs.float() - 0.4 * squares.float() + noise).clamp(0, 1)
    return images, discs.float(), squares.float()


def test_the_packaged_weights_pass() -> None:
    images, discs, squares = shapes(8)
    tasks = [
        DevTask(name, images[None, :6], labels[None, :6], images[6:], labels[6:])
        for name, labels in (("discs", discs), ("squares", squares))
    ]
    scores = probe(load_pretrained(), tasks)
    assert objections(scores) == []
    assert scores["true"] > 0.8
    assert scores["wrong"] < 0.2
    assert scores["blank"] < scores["true"] - 0.2  # without a support, what stands out is found


def test_messages_state_the_figures() -> None:
    found = objections({"true": 0.6, "wrong": 0.5, "restored": 0.3})
    assert found == [
        "labels of another task cost too little: expected at least 20 Dice, got 10.0.",
        "inverted support labels do not invert the mask: expected at least 45.0 Dice once it is exchanged back, "
        "got 30.0.",
    ]
