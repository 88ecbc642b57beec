"""Agreement by hand on drawings of a few pixels, as MONAI measures it, and the laws that hold for any masks."""

from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scoring.metrics import (
    METRICS,
    areas_px,
    contour_measures,
    contours,
    measure,
    overlap_measures,
)

LENGTHS = [name for name, metric in METRICS.items() if metric.unit == "length"]
SYMMETRIC = ["dice", "iou", *LENGTHS, "nsd_1", "nsd_2"]


def drawing(*rows: str) -> torch.Tensor:
    """A (1, 1, H, W) mask; `#` is foreground."""
    return torch.tensor([[pixel == "#" for pixel in row] for row in rows])[None, None]


def draw_masks(seed: int, count: int = 4, density: float = 0.4) -> torch.Tensor:
    """Random (count, 1, 9, 12) masks, the first of them empty."""
    masks = torch.rand(count, 1, 9, 12, generator=torch.Generator().manual_seed(seed)) < density
    masks[0] = False
    return masks


def square(top: int, left: int, size_px: int = 5) -> torch.Tensor:
    """A (1, 1, 24, 24) mask."""
    mask = torch.zeros(1, 1, 24, 24, dtype=torch.bool)
    mask[..., top : top + size_px, left : left + size_px] = True
    return mask


def single(figures: dict[str, torch.Tensor]) -> dict[str, float]:
    """The values of the only image."""
    return {name: values.item() for name, values in figures.items()}


LABEL = drawing("##..", "##..", "....")
EMPTY = drawing("....", "....", "....")


@pytest.mark.parametrize(
    ("mask", "label", "expected"),
    [  # Dice, IoU, sensitivity, precision, area error
        (LABEL, LABEL, (1, 1, 1, 1, 0)),
        (drawing("....", "..##", "..##"), LABEL, (0, 0, 0, 0, 0)),
        (drawing(".##.", ".##.", "...."), LABEL, (1 / 2, 1 / 3, 1 / 2, 1 / 2, 0)),  # 2 shared pixels of 4 and 4
        (drawing("#...", "....", "...."), LABEL, (2 / 5, 1 / 4, 1 / 4, 1, -6 / 5)),  # 1 shared pixel of 1 and 4
        (EMPTY, EMPTY, (1, 1, 1, 1, 0)),
        (EMPTY, LABEL, (0, 0, 0, 0, -2)),
        (LABEL, EMPTY, (0, 0, 0, 0, 2)),
    ],
    ids=["equal", "apart", "beside", "inside", "both empty", "mask empty", "label empty"],
)
def test_overlap_by_hand(mask: torch.Tensor, label: torch.Tensor, expected: tuple[float, ...]) -> None:
    assert tuple(single(overlap_measures(mask, label)).values()) == pytest.approx(expected)


def test_areas_by_hand() -> None:
    assert areas_px(torch.cat([LABEL, EMPTY])).tolist() == [4, 0]


def test_contours_by_hand() -> None:
    solid = drawing("#####", "#####", "#####", ".###.", "##.##")
    edges = drawing("#####", "#...#", "#...#", ".###.", "##.##")
    assert torch.equal(contours(solid), edges)


def test_distances_by_hand() -> None:
    """A row of 21 pixels, of which the first alone is annotated: its distances are 0 to 20 one way, 0 the other."""
    mask = torch.ones(1, 1, 1, 21, dtype=torch.bool)
    label = mask.clone()
    label[..., 1:] = False
    expected = {"hd": 20, "hd95": 19, "assd": 210 / 22, "nsd_1": 3 / 22, "nsd_2": 4 / 22}
    assert single(contour_measures(mask, label)) == pytest.approx(expected)
    fine = torch.tensor([[1.0, 0.25]])  # mm: 0, 0.25 … 5; five are within 1, nine within 2
    expected = {"hd": 5, "hd95": 4.75, "assd": 52.5 / 22, "nsd_1": 6 / 22, "nsd_2": 10 / 22}
    assert single(contour_measures(mask, label, fine)) == pytest.approx(expected)


def test_a_distance_equal_to_the_tolerance_counts() -> None:
    spacing = torch.tensor([[0.1, 0.1]])
    assert single(contour_measures(square(2, 2, 1), square(2, 12, 1), spacing))["nsd_1"] == 1
    assert single(contour_measures(square(2, 2, 1), square(2, 13, 1), spacing))["nsd_1"] == 0


def test_rounding_takes_no_distance_beyond_the_tolerance_and_slack_brings_none_within() -> None:
    rounded = torch.tensor([[1 / 7, 2.3]])  # seven rows are 1.0000001 in float32
    moved = contour_measures(square(2, 2, 1), square(9, 2, 1), rounded)
    assert moved["hd"] > 1
    assert moved["nsd_1"] == 1
    longer = torch.tensor([[1.0001 / 7, 2.3]])
    assert contour_measures(square(2, 2, 1), square(9, 2, 1), longer)["nsd_1"] == 0


def test_one_empty_is_as_far_apart_as_the_image_is_wide() -> None:
    blank, drawn = torch.cat([EMPTY, EMPTY, LABEL]), torch.cat([EMPTY, LABEL, EMPTY])
    figures = contour_measures(blank, drawn, torch.tensor([[1.0, 1.0], [1.0, 1.0], [4.0, 4.0]]))
    for name in ("hd", "hd95", "assd"):
        assert figures[name].tolist() == [0, 5, 20]  # 3 rows and 4 columns
    assert figures["nsd_1"].tolist() == figures["nsd_2"].tolist() == [1, 0, 0]


GOLDEN_MASK = drawing("#.......", "#..##...", "#...#...", "#####..#", "........", "..#.....")
GOLDEN_LABEL = drawing("........", ".####...", ".#####..", ".#####..", "..###...", "........")


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [  # Dice, IoU, HD, HD95, ASSD, NSD at 1 and at 2
        ((1.0, 1.0), (0.466667, 0.304348, 2.0, 1.648528, 0.808926, 0.916667, 1.0)),
        ((1.5, 0.7), (0.466667, 0.304348, 1.655295, 1.562118, 0.756471, 0.708333, 1.0)),
    ],
    ids=["pixels", "millimetres"],
)
def test_drawings_as_monai_measures_them(spacing: tuple[float, float], expected: tuple[float, ...]) -> None:
    """Values of MONAI 1.6.1, rounded, by `monai_measures(GOLDEN_MASK, GOLDEN_LABEL, spacing)`."""
    figures = measure(GOLDEN_MASK, GOLDEN_LABEL, GOLDEN_MASK.float(), torch.tensor([spacing]))
    assert [figures[name].item() for name in SYMMETRIC] == pytest.approx(expected, abs=1e-6)


def monai_measures(masks: torch.Tensor, labels: torch.Tensor, spacing: tuple[float, float]) -> dict[str, torch.Tensor]:
    """What MONAI says of masks and labels that are not empty."""
    monai = pytest.importorskip("monai.metrics")
    pair = {"y_pred": masks.float(), "y": labels.float(), "include_background": True}
    figures = {
        "dice": monai.compute_dice(**pair),
        "iou": monai.compute_iou(**pair),
        "hd": monai.compute_hausdorff_distance(**pair, spacing=spacing),
        "hd95": monai.compute_hausdorff_distance(**pair, spacing=spacing, percentile=95),
        "assd": monai.compute_average_surface_distance(**pair, spacing=spacing, symmetric=True),
        "nsd_1": monai.compute_surface_dice(**pair, spacing=spacing, class_thresholds=[1.0]),
        "nsd_2": monai.compute_surface_dice(**pair, spacing=spacing, class_thresholds=[2.0]),
    }
    return {name: values.squeeze(1) for name, values in figures.items()}


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 2.3)], ids=str)
@pytest.mark.parametrize("density", [0.06, 0.3, 0.9])
@pytest.mark.filterwarnings("ignore::FutureWarning")  # MONAI uses what it deprecates
def test_random_masks_as_monai_measures_them(density: float, spacing: tuple[float, float]) -> None:
    masks, labels = (draw_masks(seed, count=9, density=density)[1:] for seed in (1, 2))
    figures = measure(masks, labels, masks.float(), torch.tensor([spacing] * len(masks)))
    for name, expected in monai_measures(masks, labels, spacing).items():
        assert figures[name].tolist() == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-6), name


def test_every_metric_is_described() -> None:
    assert list(measure(LABEL, LABEL, LABEL.float())) == list(METRICS)


@given(seed=st.integers(0, 10**6), density=st.floats(0, 1))
@settings(max_examples=10, deadline=None)
def test_the_label_itself_is_perfect(seed: int, density: float) -> None:
    labels = draw_masks(seed, density=density)
    for name, values in measure(labels, labels, labels.float()).items():
        assert (values == METRICS[name].perfect).all(), name


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_mask_and_label_may_change_places(seed: int) -> None:
    masks, labels = draw_masks(seed), draw_masks(seed + 1)
    there, back = measure(masks, labels, masks.float()), measure(labels, masks, labels.float())
    assert all(torch.equal(there[name], back[name]) for name in SYMMETRIC)
    assert torch.equal(there["sensitivity"], back["precision"])
    assert torch.equal(there["area_error"], -back["area_error"])


@given(seed=st.integers(0, 10**6), order=st.permutations(range(5)))
@settings(max_examples=10, deadline=None)
def test_batched_equals_one_at_a_time_in_any_order(seed: int, order: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks, labels = draw_masks(seed, count=5), draw_masks(seed + 1, count=5).flip(0)
    probabilities, spacing = torch.rand(masks.shape, generator=generator), torch.rand(5, 2, generator=generator) + 0.1
    together = measure(masks[order], labels[order], probabilities[order], spacing[order])
    for place, image in enumerate(order):
        one = slice(image, image + 1)
        alone = measure(masks[one], labels[one], probabilities[one], spacing[one])
        assert all(torch.equal(alone[name], values[place : place + 1]) for name, values in together.items())


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.001, 0.3, 7.0]))
@settings(max_examples=10, deadline=None)
def test_spacing_scales_distances(seed: int, scale: float) -> None:
    masks, labels = draw_masks(seed), draw_masks(seed + 1, density=0.1)
    pixels, scaled = contour_measures(masks, labels), contour_measures(masks, labels, torch.full((4, 2), scale))
    for name in LENGTHS:
        assert scaled[name].tolist() == pytest.approx((scale * pixels[name]).tolist(), rel=1e-5)


@given(rows=st.integers(-9, 9), columns=st.integers(-9, 9))
@settings(max_examples=10, deadline=None)
def test_a_moved_square_is_as_far_away_as_it_moved(rows: int, columns: int) -> None:
    figures = single(contour_measures(square(9 + rows, 9 + columns), square(9, 9)))
    assert figures["hd"] == pytest.approx(sqrt(rows**2 + columns**2))
    assert figures["assd"] <= figures["hd95"] <= figures["hd"]
