"""Masks and metrics of logits by hand, and the doubt that rounding leaves."""

import torch

from benchmarks.scoring.measurements import Measured, at_rounding, at_threshold
from benchmarks.scoring.metrics import METRICS
from incontext.networks.measures import BINS


def column(found: Measured, name: str) -> list[list[float]]:
    """Values by ensemble and prediction."""
    return found.values[..., 2 + list(METRICS).index(name)].tolist()


def test_an_ensemble_is_judged_draw_by_draw_and_by_its_mean() -> None:
    """The first draw is sure of the left of two pixels, the second leans to the right one: the mean finds the left."""
    logits = torch.tensor([[9.0, -1], [-1, 0.5]]).reshape(2, 1, 1, 2)
    labels = (torch.tensor([[1, 0], [1, 0]]) > 0).reshape(2, 1, 1, 2)
    found = Measured.of(logits, labels, draws=2)
    assert found.masks.flatten(2).tolist() == [[[True, False], [False, True]]]
    assert column(found, "dice") == [[1, 0, 1]]
    assert found.values[0, :, :2].tolist() == [[1, 1], [1, 1], [1, 1]]


def test_what_is_replaced_is_replaced_wholly() -> None:
    labels = torch.ones(2, 1, 1, 2) > 0
    empty, full = (Measured.of(torch.full((2, 1, 1, 2), logit), labels, draws=1) for logit in (-5.0, 5.0))
    one = Measured.of(torch.full((1, 1, 1, 2), 5.0), labels[:1], draws=1)
    mixed = empty.replaced([1], one)
    assert column(mixed, "dice") == [[0], [1]]
    assert mixed.masks.flatten(1).any(dim=1).tolist() == [False, True]
    assert column(empty, "dice") == [[0], [0]]
    assert torch.equal(empty.replaced([0, 1], full).values, full.values)


def test_doubt_covers_thresholds_alone() -> None:
    edge = torch.logit(torch.tensor(3 / BINS)).item()
    logits = torch.tensor([0.0, 1e-5, -1e-5, 1e-4, edge + 1e-5, edge - 1e-5, edge + 1e-4, -30.0, 30.0])
    found = at_threshold(logits.reshape(-1, 1, 1, 1).sigmoid())
    assert found.tolist() == [False, True, True, False, True, True, False, False, False]
    means = {"ece": torch.tensor([0.01235, 0.0123, 0.01236]), "brier": torch.tensor([0.2, 0.01235001, 0.3])}
    assert at_rounding(means).tolist() == [True, True, False]
