"""Anything a user calls an image or a label → the network's grid, and logits → the user's grid.

An image is min–max scaled to [0, 1], zero-padded to a centred square and resized with antialiasing, as in a
megamed collection; a network then sees at work what it saw in training.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

Picture = np.ndarray | Tensor | Image.Image | str | Path
"""What a user may pass as one image or label."""

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in a grey value (ITU-R 601, as Pillow)."""


def read_image(source: Picture, name: str) -> Float32[np.ndarray, "H W"]:
    """One grey image, min–max scaled to [0, 1]; a constant image becomes 0.

    Args:
        source: (H, W), or (H, W, 3 or 4) for colour, of any dtype; a PIL image; or the path of an image file.
        name: How errors call this argument.

    Raises:
        ValueError: If the array is no single image, or holds NaN or infinity.
        OSError: If the file cannot be read.
    """
    pixels = _pixels(source, name)
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        pixels = pixels[..., :3].astype(np.float32) @ LUMINANCE
    _check_plane(pixels, name)
    low, high = pixels.min(), pixels.max()
    if low == high:
        return np.zeros(pixels.shape, dtype=np.float32)
    # float64, because float32 cannot hold the difference of two extreme values of a wide integer
    return ((pixels.astype(np.float64) - low) / (float(high) - float(low))).astype(np.float32)


def read_label(source: Picture, name: str) -> UInt8[np.ndarray, "H W"]:
    """One label map: 0 is background, every other value a class.

    Args:
        source: (H, W) of bool, integers or whole floats; a PIL image, whose palette indices are the classes;
            or the path of a lossless image file.
        name: How errors call this argument.

    Raises:
        ValueError: If the label is no plane of whole numbers in 0–255, or was stored with loss.
        OSError: If the file cannot be read.
    """
    values = _pixels(source, name, as_label=True)
    if values.ndim == 3 and values.shape[-1] in (3, 4) and (values[..., :3] == values[..., :1]).all():
        values = values[..., 0]
    _check_plane(values, name)
    label = values.astype(np.uint8)
    if not np.array_equal(label, values):
        message = (
            f"{name} is no label map: expected whole numbers in 0–255, got values from {values.min()} to "
            f"{values.max()} of {values.dtype}. Number the classes 1, 2, … and the background 0."
        )
        raise ValueError(message)
    return label


def to_square(plane: Float[np.ndarray, "H W"], size_px: int) -> Float32[np.ndarray, "size size"]:
    """Zero-padded to a centred square, then resized with antialiasing."""
    height, width = plane.shape
    side = max(height, width)
    square = np.zeros((side, side), dtype=np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = plane
    resized = Image.fromarray(square).resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)


def label_to_square(mask: Bool[np.ndarray, "H W"], size_px: int) -> Float32[np.ndarray, "size size"]:
    """One class on the network's grid, in {0, 1}: of the pixels that it covers most, as many as make up its area.

    So thin structures stay whole, and however small, a class does not vanish.
    """
    coverage = to_square(mask.astype(np.float32), size_px)
    if not coverage.any():
        return coverage
    count = max(1, round(float(coverage.sum())))
    return (coverage >= np.partition(coverage, -count, axis=None)[-count]).astype(np.float32)


def to_user_grid(
    logits: Float[Tensor, "classes size size"], height: int, width: int
) -> Float[Tensor, "classes {height} {width}"]:
    """Logits on the image's own grid: the square is resized bilinearly and its padding cut off."""
    side = max(height, width)
    square = F.interpolate(logits[None], size=(side, side), mode="bilinear", antialias=True)[0]
    top, left = (side - height) // 2, (side - width) // 2
    return square[:, top : top + height, left : left + width]


def _pixels(source: Picture, name: str, as_label: bool = False) -> np.ndarray:
    if isinstance(source, str | Path):
        return _read_file(Path(source), name, as_label)
    if isinstance(source, Image.Image):
        return _decode(source, as_label)
    if isinstance(source, Tensor):
        source = source.detach().cpu()
        return (source.float() if source.dtype is torch.bfloat16 else source).numpy()
    if isinstance(source, np.ndarray):
        return source
    message = (
        f"{name} is no image: expected an array, a tensor, a PIL image or a path, got "
        f"{type(source).__name__}. Pass one of these, or a list of them."
    )
    raise ValueError(message)


def _read_file(path: Path, name: str, as_label: bool) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            if as_label and picture.format == "JPEG":
                message = (
                    f"{name} was stored with loss: expected a PNG or TIFF label, got the JPEG {path}. "
                    "Export the label map anew as PNG: JPEG changes class values at edges."
                )
                raise ValueError(message)
            if (frames := getattr(picture, "n_frames", 1)) > 1:
                message = (
                    f"{name} is a stack: expected one image per file, got {frames} in {path}. "
                    "Save its frames as separate files."
                )
                raise ValueError(message)
            return _decode(picture, as_label)
    except UnidentifiedImageError as error:
        message = f"{name} is unreadable: expected an image file, got {path}. Convert it to PNG or TIFF."
        raise OSError(message) from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        message = f"{name} is unreadable: expected an image file, got {path} ({error}). Replace the file."
        raise OSError(message) from error


def _decode(picture: Image.Image, as_label: bool) -> np.ndarray:
    """Palettes are indices in a label and colours in an image; transparency is dropped."""
    if picture.mode in ("P", "PA") and as_label:
        return np.asarray(picture.getchannel(0))
    if picture.mode == "LA":
        return np.asarray(picture.getchannel("L"))
    if picture.mode in ("1", "L", "F", "RGB", "RGBA") or picture.mode.startswith("I"):
        return np.asarray(picture)
    return np.asarray(picture.convert("RGB"))


def _check_plane(plane: np.ndarray, name: str) -> None:
    if plane.ndim != 2 or plane.size == 0:
        message = (
            f"{name} is not one image: expected shape (H, W), or (H, W, 3 or 4) for a colour image, "
            f"got {plane.shape}. {_shape_fix(plane.shape)}"
        )
        raise ValueError(message)
    if plane.dtype.kind not in "buif":
        message = f"{name} holds no numbers: expected integer or float pixels, got {plane.dtype}. Cast it."
        raise ValueError(message)
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        bad = int((~np.isfinite(plane)).sum())
        message = (
            f"{name} is not finite: expected numbers only, got {bad} NaN or infinite pixels. "
            "Replace them, for instance with numpy.nan_to_num."
        )
        raise ValueError(message)


def _shape_fix(shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return "Leave empty images out."
    if len(shape) == 3 and shape[0] == 1:
        return "Drop the channel axis: image[0]."
    if len(shape) == 3 and shape[-1] == 1:
        return "Drop the channel axis: image[..., 0]."
    if len(shape) == 3 and shape[0] in (3, 4):
        return "For a colour image put the channels last; for a volume pass its slices: list(volume)."
    if len(shape) == 3:
        return "For a volume or a stack pass its slices as a list: list(volume)."
    if len(shape) == 4 and shape[1] == 1:
        return "For a batch pass its images as a list: list(images[:, 0])."
    return "Pass a list of images."
