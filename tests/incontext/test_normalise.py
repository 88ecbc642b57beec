"""Grey values to [0, 1] as in a collection, and warnings of what looks wrong."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from incontext.cases import Case, read_case
from incontext.examples import Example
from incontext.grids import Geometry
from incontext.normalise import CT_WINDOW_HU, PERCENTILES, Normalisation, apply, choose, limits, warn_about
from megamed import standardise

RNG = np.random.default_rng(0)
HOUNSFIELD = RNG.integers(-1024, 1500, (6, 20, 30)).astype(np.int16)
RESONANCE = (RNG.gamma(2, 100, (6, 20, 30)) * (RNG.random((6, 20, 30)) > 0.4)).astype(np.float32)
EIGHT_BIT = RNG.integers(5, 250, (20, 30)).astype(np.uint8)


def case_of(array: np.ndarray, modality: str | None = None) -> Case:
    return replace(read_case(array, "image"), geometry=Geometry(modality=modality) if modality else None)


def test_the_constants_are_those_of_a_collection() -> None:
    assert CT_WINDOW_HU == standardise.CT_WINDOW_HU
    assert PERCENTILES == standardise.MR_PERCENTILES


@pytest.mark.parametrize(
    ("array", "modality", "kind"),
    [
        (EIGHT_BIT, None, "min-max"),
        (EIGHT_BIT > 100, None, "min-max"),
        (EIGHT_BIT, "CT", "min-max"),
        (EIGHT_BIT / 255, None, "min-max"),
        (EIGHT_BIT.astype(np.uint16) * 200, None, "min-max"),
        (HOUNSFIELD, None, "window"),
        (HOUNSFIELD.astype(np.float64), None, "window"),
        (HOUNSFIELD.clip(-100, 300), "CT", "window"),
        (HOUNSFIELD.clip(-100, 300), None, "min-max"),
        (HOUNSFIELD * 20.0, None, "min-max"),
        (RESONANCE, None, "percentile"),
        (RESONANCE.astype(np.uint16), None, "percentile"),
        (RESONANCE.clip(0, 300), "MR", "percentile"),
        (EIGHT_BIT - 1000.0, "MR", "percentile"),
    ],
)
def test_the_kind_follows_the_data(array: np.ndarray, modality: str | None, kind: str) -> None:
    chosen = choose([case_of(array, modality)])
    assert chosen.kind == kind
    assert kind in str(chosen)
    assert chosen.reason in str(chosen)


def test_the_most_of_the_examples_decide() -> None:
    body, air_free = case_of(HOUNSFIELD), case_of(HOUNSFIELD.clip(-100, 300))
    assert choose([body, body, air_free]).kind == "window"
    assert choose([body, air_free, air_free]).kind == "min-max"


@pytest.mark.parametrize("kind", ["min-max", "percentile", "window"])
def test_what_is_asked_for_is_taken(kind: str) -> None:
    assert choose([case_of(EIGHT_BIT)], kind).kind == kind


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scaling is unknown: expected auto, min-max, percentile, window, got 'z'"):
        choose([case_of(EIGHT_BIT)], "z")


@pytest.mark.parametrize(
    ("array", "modality"), [(HOUNSFIELD, "CT"), (RESONANCE, "MRI"), (EIGHT_BIT, "CT"), (RESONANCE, "X-ray")]
)
def test_values_are_those_of_a_collection(array: np.ndarray, modality: str) -> None:
    dicom = {"MRI": "MR", "CT": "CT"}.get(modality)
    case = case_of(array, dicom)
    normalisation = choose([case]) if dicom else choose([case], "min-max")
    expected = standardise.unit_range(array, modality).reshape(case.planes.shape)
    assert apply(case, normalisation) == pytest.approx(expected, abs=1e-5)


def test_a_window_is_the_same_for_all() -> None:
    normalisation = choose([case_of(HOUNSFIELD.clip(-2000, 400)), case_of(HOUNSFIELD.clip(-2000, 300))], "window")
    assert (normalisation.low, normalisation.high) == (-500, 400)
    fat = case_of(np.array([[-50, -50], [-500, 900]], np.int16))
    assert apply(fat, normalisation)[0] == pytest.approx(np.array([[0.5, 0.5], [0, 1]]))


def test_a_window_on_other_values_is_what_they_fill() -> None:
    assert limits(case_of(EIGHT_BIT), choose([case_of(EIGHT_BIT)], "window")) == (EIGHT_BIT.min(), EIGHT_BIT.max())
    high = case_of(np.array([[5000, 6000]], np.int16))
    assert limits(high, choose([high], "window")) == CT_WINDOW_HU


def test_a_volume_is_scaled_as_a_whole() -> None:
    case = case_of(np.stack([np.full((6, 7), value, np.uint8) for value in (0, 50, 100, 150, 200)]))
    assert apply(case, choose([case]))[:, 0, 0] == pytest.approx([0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize("kind", ["min-max", "percentile"])
def test_constant_images_are_black(kind: str) -> None:
    case = case_of(np.full((4, 5), 7.0))
    assert not apply(case, Normalisation(kind)).any()


def test_percentiles_without_a_range_are_extremes() -> None:
    case = case_of(np.array([[0, 0, 0, 9]], np.int16))
    assert apply(case, Normalisation("percentile")).tolist() == [[[0, 0, 0, 1]]]


def test_percentiles_of_values_around_zero_are_those_of_all() -> None:
    array = RNG.normal(size=(40, 50))
    low, high = limits(case_of(array), Normalisation("percentile"))
    assert (low, high) == pytest.approx(np.percentile(array, PERCENTILES), abs=1e-5)


finite = {"allow_nan": False, "allow_infinity": False}


@settings(deadline=None)
@given(
    arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=5), elements=finite),
    st.sampled_from(["auto", "min-max", "percentile", "window"]),
)
def test_any_image_becomes_zero_to_one(array: np.ndarray, asked: str) -> None:
    case = case_of(array)
    scaled = apply(case, choose([case], asked))
    assert scaled.shape == case.planes.shape
    assert scaled.dtype == np.float32
    assert scaled.min() >= 0
    assert scaled.max() <= 1


@settings(deadline=None)
@given(arrays.arrays(np.float32, (4, 5), elements={**finite, "min_value": -1e6, "max_value": 1e6}))
def test_scaling_keeps_the_order(array: np.ndarray) -> None:
    case = case_of(array)
    scaled = apply(case, choose([case]))[0]
    assert (np.diff(scaled.ravel()[np.argsort(array, axis=None, kind="stable")]) >= 0).all()


def disc(radius: float, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - 30) ** 2 + (columns - 40) ** 2 <= radius**2


def looks(seed: int) -> np.ndarray:
    """A bright disc on a dark ground."""
    return (120 * disc(15) + np.random.default_rng(seed).integers(0, 60, (60, 80))).astype(np.uint8)


def examples_of(count: int, mask: np.ndarray | None = None, value: int = 1) -> list[Example]:
    mask = disc(15) if mask is None else mask
    return [Example(case_of(looks(seed)), {value: mask[None]} if mask.any() else {}) for seed in range(count)]


QUERIES = [case_of(looks(seed)) for seed in (100, 101)]


@pytest.mark.parametrize("count", [1, 6])
def test_what_fits_is_not_warned_about(count: int) -> None:
    assert warn_about(examples_of(count), QUERIES) == []
    assert warn_about(examples_of(count), []) == []


@pytest.mark.parametrize(
    ("queries", "warning"),
    [
        ([case_of(255 - looks(100))], "images look like negatives of support_images.*Invert"),
        ([case_of(looks(100).astype(np.float32) ** 8)], "negatives|differ from support_images in contrast.*same kind"),
        (
            [case_of(RNG.integers(0, 255, (60, 80), np.uint8).clip(0, 250))],
            "images differ from support_images in contrast",
        ),
        ([case_of(np.full((60, 80), 9, np.uint8))], "images show nothing: .*got one in 1 of 1"),
        ([case_of(looks(100)[:, :20])], "images differ from support_images in height to width: expected 0.75"),
        ([case_of(np.kron(looks(100), np.ones((5, 5), np.uint8)))], "in longer side: expected 80 to 80, got 400"),
    ],
    ids=["inverted", "gamma", "noise", "constant", "crop", "large"],
)
def test_unlike_images_are_warned_about(queries: list[Case], warning: str) -> None:
    messages = warn_about(examples_of(6), queries)
    assert any(re.search(warning, message) for message in messages), messages


def test_values_outside_the_window_show_nothing() -> None:
    examples = [Example(case_of(HOUNSFIELD), {1: np.ones(HOUNSFIELD.shape, bool) & (HOUNSFIELD > 0)})]
    (message,) = (each for each in warn_about(examples, [case_of(EIGHT_BIT + 5000.0)]) if "show nothing" in each)
    assert "window" in message


def test_a_few_bright_pixels_show_something() -> None:
    sparse = np.zeros((500, 500), np.uint8)
    sparse[7, 9] = 200
    assert not [message for message in warn_about(examples_of(1), [case_of(sparse)]) if "show nothing" in message]


def test_classes_on_planes_left_out_are_no_matter() -> None:
    (example,) = examples_of(1)
    assert warn_about([replace(example, masks={**example.masks, 2: np.zeros((1, 60, 80), bool)})], QUERIES) == []


def test_planes_along_another_axis_are_warned_about() -> None:
    examples = [replace(each, case=replace(each.case, cut="axial")) for each in examples_of(2)]
    sagittal = [replace(case, cut="sagittal") for case in QUERIES]
    assert [message for message in warn_about(examples, sagittal) if "expected axial planes, got sagittal" in message]
    assert warn_about(examples, [replace(case, cut="axial") for case in QUERIES]) == []


@pytest.mark.parametrize(
    ("mask", "warning"),
    [
        (
            disc(0),
            "support_labels of class 3 are nearly empty: expected at least 10 pixels in an image, got a median of 1",
        ),
        (~disc(1), "support_labels of class 3 cover nearly everything: .*100%.*background the value 0"),
        (disc(0) & False, "support_labels are mostly empty: .*got none in 4 of 4"),
    ],
    ids=["tiny", "full", "empty"],
)
def test_odd_areas_are_warned_about(mask: np.ndarray, warning: str) -> None:
    messages = warn_about(examples_of(4, mask, value=3), QUERIES)
    assert len(messages) == 1
    assert re.search(warning, messages[0])


def test_names_of_classes_are_used() -> None:
    (example,) = examples_of(1, disc(1))
    (message,) = warn_about([replace(example, names={1: "liver"})], QUERIES)
    assert message.startswith("support_labels of liver are nearly empty")


def test_one_class_under_two_numbers_is_warned_about() -> None:
    assert "Make them alike" in warn_about([*examples_of(3), *examples_of(3, value=255)], QUERIES)[0]
    both = [replace(each, masks={1: disc(15)[None], 255: ~disc(20)[None]}) for each in examples_of(2)]
    assert warn_about(both, QUERIES) == []


def test_smoothed_labels_are_warned_about() -> None:
    distance = np.hypot(*(np.mgrid[:60, :80] - np.array([30, 40])[:, None, None]))
    smoothed = (255 * (15.5 - distance).clip(0, 1)).astype(np.uint8)
    masks = {int(value): (smoothed == value)[None] for value in np.unique(smoothed) if value}
    assert len(masks) > 9
    messages = warn_about([Example(case_of(looks(0)), masks)], QUERIES)
    assert [message for message in messages if "occur along edges only" in message]


def test_many_solid_classes_are_fine() -> None:
    values = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((20, 20), int))
    masks = {value: (values == value)[None] for value in range(1, 13)}
    assert warn_about([Example(case_of(looks(0)), masks)], QUERIES) == []
