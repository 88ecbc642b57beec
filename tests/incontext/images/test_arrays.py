"""Arrays and tensors as planes and labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from incontext.images.arrays import class_values, fit_label, grey, to_array
from incontext.images.label_pixels import LabelPixels
from megamed.label_values import LabelRules

RAMP = np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8)

numbers = st.one_of(
    drawn.boolean_dtypes(), drawn.integer_dtypes(), drawn.unsigned_integer_dtypes(), drawn.floating_dtypes()
)


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((5, 7), np.float32, (5, 7)),
        ((1, 1), np.uint8, (1, 1)),
        ((5, 7, 3), np.float32, (5, 7)),
        ((5, 7, 4), np.int64, (5, 7)),
        ((3, 3, 3), np.uint8, (3, 3)),
        ((2, 2, 3), np.uint16, (2, 2)),
        ((5, 3, 3), np.float32, (5, 3, 3)),
        ((5, 7, 9), np.uint8, (5, 7, 9)),
        ((1, 7, 9), np.uint8, (1, 7, 9)),
        ((2, 7, 9), np.uint8, (2, 7, 9)),
        ((7, 2, 2), np.uint8, (7, 2, 2)),
        ((7, 9, 1), np.uint8, (7, 9)),
        ((6, 5, 7, 3), np.float64, (6, 5, 7)),
    ],
)
def test_axes_are_told_apart(shape: tuple[int, ...], dtype: type, expected: tuple[int, ...]) -> None:
    assert grey(np.ones(shape, dtype), "image").shape == expected


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        ((3, 8, 8), "put the channels last"),
        ((4, 8, 8), "put the channels last"),
        ((8, 8, 2), r"Choose a channel"),
        ((6, 1, 8, 8), r"list\(images\[:, 0\]\)"),
        ((8,), "Pass a list of images"),
        ((), "Pass a list of images"),
    ],
)
def test_axes_of_several_meanings_are_refused(shape: tuple[int, ...], fix: str) -> None:
    with pytest.raises(ValueError, match=rf"^images\[2\] is not one image: expected shape .*{fix}"):
        grey(np.ones(shape), "images[2]")


def test_a_short_stack_is_one_when_said_so() -> None:
    assert grey(np.ones((3, 8, 8)), "image", stack=True).shape == (3, 8, 8)
    assert grey(np.ones((8, 8, 3), np.uint8), "image", stack=True).shape == (8, 8, 3)


def test_colour_becomes_luminance() -> None:
    colours = np.array([[[255, 0, 0, 9], [0, 255, 0, 9], [255, 255, 255, 9]]], dtype=np.uint8)
    assert grey(colours, "image") == pytest.approx(np.array([[76.245, 149.685, 255]]))


@settings(deadline=None)
@given(drawn.arrays(numbers, drawn.array_shapes(max_dims=5, max_side=6)))
def test_any_array_is_grey_or_refused(array: np.ndarray) -> None:
    refusal = ""
    try:
        planes = grey(to_array(array, "image"), "image")
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("image ")
        assert "expected" in refusal
    else:
        assert planes.dtype == np.float32
        assert np.isfinite(planes).all()
        assert planes.shape in (array.shape, array.shape[:-1])


@pytest.mark.parametrize(
    ("bad", "fix"),
    [
        (np.zeros((0, 8)), "Leave empty images out"),
        (np.array([[0, np.nan]]), "got 1 NaN or infinite"),
        (np.array([[0, np.inf]]), "nan_to_num"),
        (np.array([["a", "b"]]), "Cast it"),
        (np.array([[1j]]), "Cast it"),
        (np.array([[None]]), "Cast it"),
    ],
)
def test_what_is_no_number_is_refused(bad: np.ndarray, fix: str) -> None:
    with pytest.raises(ValueError, match=rf"^image .*expected .*{fix}"):
        to_array(bad, "image")


def test_what_float32_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="exceeds float32"):
        grey(np.array([[0, 1e39]]), "image")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
def test_tensors_of_any_dtype(dtype: torch.dtype) -> None:
    assert to_array(torch.ones(2, 3).to(dtype), "image").tolist() == [[1, 1, 1]] * 2
    assert to_array(torch.ones(2, 3, requires_grad=True), "image").tolist() == [[1, 1, 1]] * 2


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.float64])
def test_classes_of_any_dtype(dtype: type) -> None:
    label = class_values(np.array([[0, 1]], dtype=dtype), "label")
    assert label.dtype == np.uint8
    assert label.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("bad", "fix"),
    [
        ([[0.0, 0.7, 1.0]], "label > 0.5"),
        ([[0.0, 1.5, 2.0]], "nearest neighbour"),
        ([[0, 300, 1000]], r"numpy.searchsorted\(\[0, 300, 1000\], label\)"),
        ([[-1, 0, 1]], "Number the classes"),
        ([[2**62, 0]], r"searchsorted"),
        ([[1e300, 0.0]], r"searchsorted"),
    ],
)
def test_other_values_are_refused_with_their_fix(bad: list, fix: str) -> None:
    with pytest.raises(ValueError, match=rf"label is no label map: expected whole numbers in 0–255, got .*{fix}"):
        class_values(np.array(bad), "label")


@settings(deadline=None)
@given(drawn.arrays(numbers, (2, 3), elements={"allow_nan": False, "allow_infinity": False}))
def test_classes_are_the_values_or_refused(values: np.ndarray) -> None:
    try:
        label = class_values(values, "label")
    except ValueError:
        assert ((values < 0) | (values > 255) | (values != np.rint(values.astype(np.float64)))).any()
    else:
        assert np.array_equal(label, values)


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (4, 6, 1), (1, 4, 6, 1)], ids=lambda shape: f"{shape}")
def test_labels_lose_axes_that_say_nothing(shape: tuple[int, ...]) -> None:
    label = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert np.array_equal(fit_label(label.reshape(shape), "label", (4, 6)), label)


@pytest.mark.parametrize("channels", [3, 4])
def test_the_colours_of_a_label_come_after_the_grid(channels: int) -> None:
    label = np.arange(24 * channels, dtype=np.uint8).reshape(1, 4, 6, channels)
    assert np.array_equal(fit_label(label, "label", (4, 6)), label[0])


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        ((5, 4, 6), r"label.argmax\(0\)"),
        ((4, 6, 5), r"label.argmax\(-1\)"),
        ((6, 4), "lies on its side: turn it"),
        ((8, 12), "Resize it to 4 × 6 pixels by nearest neighbour"),
        ((5, 6), "on its image's grid; this one may belong to another image"),
        ((24,), "on its image's grid"),
    ],
)
def test_labels_of_other_shapes_are_refused(shape: tuple[int, ...], fix: str) -> None:
    stored = np.arange(np.prod(shape)).reshape(shape)
    with pytest.raises(ValueError, match=rf"label does not match its image: expected \(4, 6\), got .*{fix}"):
        fit_label(stored, "label", (4, 6))


def test_masked_pixels_are_refused_and_matrices_are_arrays() -> None:
    masked = np.ma.masked_greater(RAMP, 200)
    with pytest.raises(ValueError, match=r"image has masked pixels: expected numbers in all, got none in 2\. .*filled"):
        to_array(masked, "image")
    for plain in (np.ma.masked_array(RAMP), RAMP.view(np.matrix)):
        assert type(to_array(plain, "image")) is np.ndarray


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("classes", [3, 4])
def test_masks_one_behind_the_other_are_no_colours(classes: int, dtype: type) -> None:
    masks = np.eye(classes, dtype=dtype)[np.arange(24).reshape(4, 6) % classes]
    expected = rf"label holds one mask per class: expected a label map, got {classes} masks of 0 and 1\. .*argmax\(-1\)"
    with pytest.raises(ValueError, match=expected):
        LabelPixels(masks).read((4, 6), "label", LabelRules())


def test_a_layer_of_black_and_a_picture_of_red_are_no_masks_one_behind_the_other() -> None:
    layer, red = np.zeros((2, 4, 6, 4), np.uint8)
    layer[1:3, 2:5, 3], red[1:3, 2:5, 0], red[..., 3] = 1, 1, 1
    for label in (layer, red, red[..., :3]):
        assert np.count_nonzero(LabelPixels(label).read((4, 6), "label", LabelRules()).values) == 6


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)], ids=["grey", "colour"])
def test_values_beyond_float32_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="image exceeds float32"):
        grey(np.full(shape, 1e39), "image")


def test_a_label_that_is_one_pixel_thin_the_other_way_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(8, 1\), got \(1, 8\)"):
        fit_label(np.zeros((1, 8)), "label", (8, 1))
