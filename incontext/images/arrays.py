"""Arrays and tensors of any number of axes as grey planes or as label values."""

from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from PIL import Image


@runtime_checkable
class Tensor(Protocol):
    """A tensor of torch, which need not be imported to read what is none."""

    dtype: Any
    shape: Any

    def detach(self) -> Self:
        """Return the values without their history."""

    def cpu(self) -> Self:
        """Return the values in the memory of the processor."""

    def float(self) -> Self:
        """Return the values in single precision."""

    def numpy(self) -> Any:
        """Return an array of the values."""


Picture = np.ndarray | Tensor | Image.Image | str | Path
"""Types that a user may pass as one image, stack, volume or label."""

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in a grey value (ITU-R 601, as Pillow)."""

SAME_SHAPE = 0.02
"""Relative difference in height to width below which a label is taken for one of its image in another size."""

COLOURS = (3, 4)
"""Channels of a colour picture, without and with transparency."""


def to_array(source: np.ndarray | Tensor, name: str, finite: bool = True) -> Shaped[np.ndarray, "..."]:
    """An array or tensor as an array of real numbers.

    Args:
        source: What a user passes.
        name: How errors call it.
        finite: Whether to refuse NaN and infinity; in a label, NaN may mean that nobody judged.

    Raises:
        ValueError: If it holds no real numbers, or nothing, or others than finite ones, or if pixels are masked.
    """
    if isinstance(source, np.ma.MaskedArray) and np.ma.is_masked(source):
        msg = (
            f"{name} has masked pixels: expected numbers in all, got none in {np.ma.count_masked(source)}. "
            "Say what they hold: filled(0)."
        )
        raise ValueError(msg)
    if isinstance(source, np.ndarray):
        array = np.asarray(source)  # of a subclass, such as a matrix, the plain array
    else:
        values = source.detach().cpu()
        array = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    if array.dtype.kind not in "buif":
        msg = f"{name} holds no numbers: expected integer or float pixels, got {array.dtype}. Cast it."
        raise ValueError(msg)
    if array.size == 0:
        msg = f"{name} is empty: expected at least one pixel, got shape {array.shape}. Leave empty images out."
        raise ValueError(msg)
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        msg = (
            f"{name} is not finite: expected numbers only, got {bad} NaN or infinite pixels. "
            "Replace them, for instance with numpy.nan_to_num."
        )
        raise ValueError(msg)
    return array


def array_of(source: object, name: str, finite: bool = True) -> Shaped[np.ndarray, "..."]:
    """Take an array or tensor of a user's as an array of real numbers.

    Raises:
        ValueError: If it is something else, or `to_array` refuses it.
    """
    if isinstance(source, np.ndarray | Tensor):
        return to_array(source, name, finite)
    msg = (
        f"{name} is no image: expected an array, a tensor, a PIL image or a path, got "
        f"{type(source).__name__}. Pass one of these, or a list of them."
    )
    raise ValueError(msg)


def grey(array: Shaped[np.ndarray, "..."], name: str, stack: bool = False) -> Float32[np.ndarray, "*grid"]:
    """An array as one grey image (H, W), or as a stack of planes of any axis order (N, H, W).

    Three axes are a colour image if the last holds 3 or 4 channels and either the pixels are 8- or 16-bit or both
    other sides are longer, and a grey one if it has length 1; else they are a stack. Four axes are a stack of colour
    images.

    Args:
        array: Numbers, as `to_array` gives them.
        name: How errors call it.
        stack: Whether three axes are a stack, even where one could be that of channels.

    Raises:
        ValueError: If the axes have no meaning or two, or a value exceeds float32.
    """
    if array.ndim == 3 and not stack and array.shape[-1] == 1 < min(array.shape[:2]):
        array = array[..., 0]
    colour = _is_colour(array, stack)
    unclear = array.ndim == 3 and not stack and _could_be_channels(array.shape)
    if not colour and (array.ndim not in (2, 3) or unclear):
        msg = (
            f"{name} is not one image: expected shape (H, W), (H, W, 3 or 4) for colour or (N, H, W) for a stack, "
            f"got {array.shape}. {_shape_fix(array.shape)}"
        )
        raise ValueError(msg)
    with np.errstate(over="ignore", invalid="ignore"):
        planes = (array[..., :3] if colour else array).astype(np.float32, order="C")
        planes = planes @ LUMINANCE if colour else planes
    if array.dtype.itemsize > planes.itemsize and not np.isfinite(planes).all():
        msg = f"{name} exceeds float32: expected values below 3.4e38, got {np.abs(array).max():g}. Rescale it."
        raise ValueError(msg)
    return planes


def stack_axis(source: object, axis: int | str | None) -> int | str | None:
    """Axis from plane to plane of what is known to be no single image: the one that is given, if one is.

    Else it is the first of an array or tensor of 3 or 4 planes, which could be taken for channels.
    """
    shape = tuple(source.shape) if isinstance(source, np.ndarray | Tensor) else ()
    is_short = len(shape) == 3 and shape[0] in COLOURS and shape[-1] not in COLOURS
    return 0 if axis is None and is_short else axis


def class_values(values: Shaped[np.ndarray, "*grid"], name: str) -> UInt8[np.ndarray, "*grid"]:
    """Label values as classes: 0 is background, every other value a class.

    Raises:
        ValueError: If a value is no whole number in 0–255.
    """
    if values.dtype == np.uint8:
        return values.copy()
    # cut off first, because casting what does not fit is undefined
    label = np.clip(values, 0, np.uint8(255)).astype(np.uint8)
    if not np.array_equal(label, values):
        msg = (
            f"{name} is no label map: expected whole numbers in 0–255, got values from {values.min()} to "
            f"{values.max()} of {values.dtype}. {_values_fix(values)}"
        )
        raise ValueError(msg)
    return label


def fit_label(values: Shaped[np.ndarray, "..."], name: str, shape: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    """A label on its image's grid, without axes of length 1 around it; the channels of colours come after the grid.

    Raises:
        ValueError: If it has another size, or one mask per class.
    """
    if _sides(values.shape) == _sides(shape):
        return values.reshape(shape)
    if values.shape[-1:] in ((3,), (4,)) and _sides(values.shape[:-1]) == _sides(shape):
        return values.reshape(*shape, values.shape[-1])
    found = _sides(values.shape)
    msg = f"{name} does not match its image: expected {shape}, got {found}. {_label_fix(found, shape)}"
    raise ValueError(msg)


def check_colours(channels: Shaped[np.ndarray, "*grid channels"], name: str) -> None:
    """Refuse masks of several classes, one behind the other, that could be taken for colours and their opacity.

    Each pixel of these has a one for its class alone. Of three floats, which may be shares of red, green and blue,
    every pixel must have one.

    Raises:
        ValueError: If they are such masks.
    """
    if not np.isin(channels, (0, 1)).all():
        return
    count = channels.shape[-1]
    marked = np.count_nonzero(channels, axis=-1)
    is_whole = channels.dtype.kind != "f" or count == max(COLOURS)
    used = np.array([channels[..., index].any() for index in range(count)])
    if marked.max(initial=0) == 1 and used[:3].any() and used.sum() > 1 and (is_whole or marked.min() == 1):
        msg = (
            f"{name} holds one mask per class: expected a label map, got {count} masks of 0 and 1. "
            f"{_label_fix(channels.shape, channels.shape[:-1])}"
        )
        raise ValueError(msg)


def _is_colour(array: np.ndarray, stack: bool) -> bool:
    if array.ndim not in (3, 4) or array.shape[-1] not in COLOURS:
        return False
    narrow = array.dtype in (np.uint8, np.uint16)
    return array.ndim == 4 or (not stack and (narrow or min(array.shape[:2]) > array.shape[2]))


def _could_be_channels(shape: tuple[int, ...]) -> bool:
    """Whether an axis of a stack is so short that it may well hold channels."""
    return shape[-1] == 2 < min(shape[:2]) or shape[0] in COLOURS


def _shape_fix(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[-1] == 2:
        return "Choose a channel: image[..., 0]."
    if len(shape) == 3:
        return "For a colour image put the channels last; for a volume pass its slices: list(volume)."
    if len(shape) == 4 and shape[1] == 1:
        return "For a batch pass its images as a list: list(images[:, 0])."
    return "Pass a list of images."


def _label_fix(got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if len(got) > len(expected) and _sides(got[1:]) == _sides(expected):
        return "Of one mask per class make a label map: label.argmax(0), the background first."
    if len(got) > len(expected) and _sides(got[:-1]) == _sides(expected):
        return "Of one mask per class make a label map: label.argmax(-1), the background first."
    if got == expected[::-1]:
        return "It lies on its side: turn it as its image is turned."
    if len(got) == len(expected) == 2 and abs(got[0] * expected[1] / (got[1] * expected[0]) - 1) < SAME_SHAPE:
        return f"Resize it to {expected[0]} × {expected[1]} pixels by nearest neighbour."
    return "Pass the label on its image's grid; this one may belong to another image."


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without axes of length 1 before or after its two sides."""
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _values_fix(values: np.ndarray) -> str:
    if values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1:
        return "Cut probabilities off: label > 0.5."
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        return "Resize label maps by nearest neighbour, so that no class values mix."
    if values.min() == 0 and len(found := np.unique(values).tolist()) <= 8:
        return f"Renumber the classes, alike in all labels: numpy.searchsorted({found}, label)."
    return "Number the classes 1, 2, … and the background 0."
