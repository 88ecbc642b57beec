"""Grey values to [0, 1] as in a collection."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from incontext.images import normalisation
from incontext.images.normalisation import Normalisation, apply, choose, limits
from incontext.images.source_image import SourceImage, read_source_image
from megamed import standardise
from megamed.readers.stored import Geometry
from megamed.squares import CT_WINDOW_HU, PERCENTILES

RNG = np.random.default_rng(0)
HOUNSFIELD = RNG.integers(-1024, 1500, (6, 20, 30)).astype(np.int16)
RESONANCE = (RNG.gamma(2, 100, (6, 20, 30)) * (RNG.random((6, 20, 30)) > 0.4)).astype(np.float32)
EIGHT_BIT = RNG.integers(5, 250, (20, 30)).astype(np.uint8)


def case_of(array: np.ndarray, modality: str | None = None) -> SourceImage:
    """An image, or a volume that is scaled as a whole."""
    case = read_source_image(array, "image")
    kind = "image" if case.kind == "image" else "volume"
    return replace(case, kind=kind, geometry=Geometry(modality=modality) if modality else None)


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


@pytest.mark.parametrize("pixels", [1, 30, 70, 10**6])
def test_bands_of_any_size_are_scaled_alike(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    monkeypatch.setattr(normalisation, "BAND_PIXELS", pixels)
    low, high = EIGHT_BIT.min(), EIGHT_BIT.max()
    expected = ((EIGHT_BIT.astype(float) - low) / (high - low)).astype(np.float32)
    np.testing.assert_array_equal(apply(case_of(EIGHT_BIT), Normalisation("min-max")), expected[None])


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


def test_an_array_of_pictures_is_scaled_as_a_list_of_them() -> None:
    pictures = [RNG.integers(0, 1000, (20, 30)).astype(np.int32) * gain for gain in (1, 2, 3, 5, 20)]
    for scaling in ("auto", "percentile", "window"):
        chosen = choose([case_of(pictures[0]), case_of(pictures[1])], scaling)
        one_by_one = [apply(case_of(picture), chosen)[0] for picture in pictures]
        assert np.array_equal(apply(read_source_image(np.stack(pictures), "image"), chosen), one_by_one)
    assert choose([read_source_image(np.stack(pictures), "image")]) == choose(list(map(case_of, pictures)))


def test_beside_a_file_of_several_planes_an_array_is_one_thing(tmp_path: Path) -> None:
    array = RNG.integers(0, 1000, (5, 20, 30)).astype(np.uint16)
    array[3:] //= 20
    frames = [Image.fromarray(plane) for plane in array]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    examples = [read_source_image(tmp_path / "a.tif", "image")]
    again, chosen = read_source_image(array, "image"), choose(examples)
    assert np.array_equal(apply(again, chosen), apply(examples[0], chosen))
