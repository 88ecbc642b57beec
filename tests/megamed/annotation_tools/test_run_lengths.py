"""Run-length codes: by hand, against pycocotools, and against what must not be believed."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from megamed.annotation_tools.run_lengths import (
    RunMask,
    brush_of_mask,
    counts_of_text,
    mask_of_brush,
    text_of_counts,
)


def noise(seed: int, shape: tuple[int, int] = (37, 53)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random(shape) < rng.choice([0.0, 0.01, 0.5, 1.0])


def test_runs_by_hand() -> None:
    mask = np.array([[True, True, False], [False, True, True]])
    assert RunMask.of_mask(mask).counts.tolist() == [0, 2, 2, 2]
    assert RunMask.of_mask(mask, "F").counts.tolist() == [0, 1, 1, 2, 1, 1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("order", ["C", "F"])
def test_expanding_inverts_finding_runs(seed: int, order: str) -> None:
    assert np.array_equal(RunMask.of_mask(noise(seed), order).pixels(), noise(seed))


@pytest.mark.parametrize("seed", range(12))
def test_compressed_counts_are_those_of_pycocotools(seed: int) -> None:
    theirs = coco_mask.encode(np.asfortranarray(noise(seed).astype(np.uint8)))["counts"].decode()
    counts = RunMask.of_mask(noise(seed), "F").counts.tolist()
    assert counts_of_text(theirs) == counts
    assert text_of_counts(counts) == theirs


@pytest.mark.parametrize("seed", range(6))
def test_brush_strokes_come_back(seed: int) -> None:
    assert np.array_equal(mask_of_brush(brush_of_mask(noise(seed)), (37, 53)), noise(seed))


def test_long_runs_of_a_brush_are_split() -> None:
    mask = np.zeros((300, 400), bool)
    mask[100:] = True
    assert np.array_equal(mask_of_brush(brush_of_mask(mask), (300, 400)), mask)


def test_a_brush_may_store_values_one_by_one() -> None:
    values = [0, 0, 0, 200, 0, 0, 0, 0]
    sizes = "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits = f"{len(values):032b}{7:05b}{sizes}" + f"0{0:02b}{len(values) - 1:03b}" + "".join(f"{v:08b}" for v in values)
    packed = np.packbits([int(bit) for bit in bits]).tolist()
    assert mask_of_brush(packed, (1, 2)).tolist() == [[True, False]]


@pytest.mark.parametrize("counts", [[5], [7], [-1, 7], [3.0, float("inf")], [[3, 3]], [2**62, 2**62]])
def test_runs_that_do_not_fill_the_mask_are_refused(counts: list) -> None:
    with pytest.raises((ValueError, OverflowError), match=r"expected|convert"):
        RunMask.of_counts(counts, (2, 3), "F")


def test_sizes_that_no_image_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a mask of 1 to"):
        RunMask.of_counts([2**40], (2**20, 2**20), "F")
    with pytest.raises(ValueError, match=r"expected a mask of 1 to"):
        mask_of_brush([0] * 20, (2**20, 2**20))


@pytest.mark.parametrize("text", ["!", "Ā", "P", "~" * 40])
def test_text_that_is_no_counts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected compressed counts"):
        counts_of_text(text)


@pytest.mark.parametrize("packed", [[], [0] * 6, [0] * 30, [256] * 20, [0, 0, 0, 24, 57, 27, 255, 1]])
def test_packed_runs_that_do_not_fill_the_picture_are_refused(packed: list[int]) -> None:
    with pytest.raises(ValueError, match=r"packed"):
        mask_of_brush(packed, (2, 3))
