"""What was found: laws of log-odds and masks, laziness, grids and files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext.cases import read_case
from incontext.examples import emptied
from incontext.preprocess import letterbox
from incontext.segmentation import Classes, Found, Plane, Report, Segmentation, dice

ONE, TWO = Classes({3: "liver"}), Classes({3: "liver", 8: "spleen"})
BOTH = Classes({3: "liver", 8: "spleen"}, overlap=True)
REPORT = Report("min-max", "all", 2, "the whole image", None)


def segmentation(logits: torch.Tensor, classes: Classes, source: np.ndarray, axis: int | None = None) -> Segmentation:
    """Of one case, whose planes all have the logits (C, size, size)."""
    case = emptied(read_case(source, "image", axis))
    shape = case.planes.shape[1:]
    plane = Plane(shape, [letterbox(shape)], logits[None])
    return Segmentation([Found(case, [plane] * len(case.planes))], classes, REPORT)


def left(value: float, size_px: int = 8) -> torch.Tensor:
    """Logits of a value in the left half and its negative in the right."""
    sign = torch.where(torch.arange(size_px) < size_px // 2, value, -value)
    return sign.expand(size_px, size_px)


@pytest.mark.parametrize("classes", [ONE, TWO, BOTH], ids=["one", "two", "overlapping"])
def test_log_odds_and_probabilities_undo_each_other(classes: Classes) -> None:
    logits = torch.randn(5, len(classes.names), 4, 4, generator=torch.Generator().manual_seed(0))
    probabilities = classes.probabilities(logits)
    assert probabilities.min() > 0
    assert classes.overlap or (probabilities.sum(1) < 1).all()
    torch.testing.assert_close(classes.log_odds(probabilities), logits, atol=1e-3, rtol=1e-3)


def test_log_odds_of_certainty_are_finite() -> None:
    for classes in (ONE, TWO, BOTH):
        certain = torch.zeros(len(classes.names), 2, 2)
        certain[0] = 1
        assert classes.log_odds(certain).isfinite().all()


def test_one_class_is_the_sigmoid_overlapping_or_not() -> None:
    logits = torch.randn(1, 4, 4)
    torch.testing.assert_close(ONE.probabilities(logits), logits.sigmoid())
    torch.testing.assert_close(BOTH.probabilities(logits), logits.sigmoid())


def test_the_mask_is_the_most_probable_class() -> None:
    logits = torch.tensor([[[-1.0, 2.0, 2.0, 0.0]], [[-2.0, 1.0, 3.0, 0.0]]])
    assert TWO.mask(logits).tolist() == [[0, 3, 8, 0]]
    assert BOTH.mask(logits).tolist() == [[[0, 1, 1, 0]], [[0, 1, 1, 0]]]


def test_it_is_a_sequence_of_masks_with_names() -> None:
    result = segmentation(left(5.0)[None], ONE, np.zeros((8, 8)))
    assert len(result) == len(result.probabilities) == 1
    assert result[0] is result.masks[0] is next(iter(result))
    assert result[:1] == result.masks
    assert result.classes == {3: "liver"}
    assert repr(result) == "Segmentation(1 masks of liver)"
    np.testing.assert_array_equal(result[0], np.where(np.arange(8) < 4, 3, 0)[None].repeat(8, axis=0))
    np.testing.assert_allclose(result.probabilities[0][:, 0], 1 / (1 + np.exp(-5)), rtol=1e-5)
    assert len(result.probabilities[:0]) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_masks_of_a_stack_lie_on_its_own_grid(axis: int) -> None:
    stack = np.zeros((5, 12, 20))
    result = segmentation(torch.stack([left(5.0), left(-5.0)]), TWO, stack, axis)
    assert result[0].shape == stack.shape
    assert result.probabilities[0].shape == (2, *stack.shape)
    halves = 2 if axis < 2 else 1
    first, last = result[0].take(0, halves), result[0].take(-1, halves)
    assert (first == 3).all()
    assert (last == 8).all()


def test_overlapping_classes_have_a_mask_each() -> None:
    result = segmentation(torch.stack([left(5.0), left(5.0)]), BOTH, np.zeros((8, 8)))
    assert result[0].shape == (2, 8, 8)
    np.testing.assert_array_equal(result.layer(0, 3), result.layer(0, 8))
    with pytest.raises(ValueError, match="mask cannot be written: expected one label per pixel"):
        result.write(0, Path("mask.png"))


def test_a_mask_is_written_on_its_grid(tmp_path: Path) -> None:
    result = segmentation(left(5.0)[None], ONE, np.zeros((8, 20)))
    assert result.write(0, tmp_path / "mask.png") == tmp_path / "mask.png"
    with Image.open(tmp_path / "mask.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), result[0])


def test_dice_of_drawings() -> None:
    mask, label = np.array([1, 1, 0, 0], dtype=bool), np.array([0, 1, 1, 1], dtype=bool)
    assert dice(mask, label) == pytest.approx(2 / 5)
    assert dice(mask, ~mask) == 0
    assert dice(mask & ~mask, label & ~label) == 1
