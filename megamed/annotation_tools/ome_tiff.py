"""OME-TIFF labels: label maps, or one mask per named channel, in a TIFF with OME-XML.

The values of a map are numbers of objects or of classes; only names of channels are stated. Axes are as the file has
them.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer

from megamed.annotation_tools.model import LabelClass, LabelLayers
from megamed.files import replacing
from megamed.readers.faults import needs, one_error
from megamed.readers.picture import UNREADABLE
from megamed.readers.stored import Canvas, DrawnLabel, Geometry, Segment
from megamed.readers.tiff_channels import ome_names
from megamed.readers.volume import check_header

SUFFIXES = (".ome.tif", ".ome.tiff")


def recognises(path: Path) -> bool:
    """Whether a file is an OME-TIFF by its name; its pixels tell whether it is a label."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def read_labels(path: Path) -> LabelLayers:
    """Read the first series of a TIFF at full resolution; channels with names are masks of classes.

    Raises:
        ValueError: If the file cannot be decoded, is too large or holds no whole numbers.
        ImportError: If tifffile is not installed.
    """
    with needs("tifffile", "TIFF"):
        import tifffile
    with one_error(path, *UNREADABLE, tifffile.TiffFileError), tifffile.TiffFile(path) as file:
        series = file.series[0]
        dtype = np.dtype(np.uint8) if series.dtype == bool else np.dtype(series.dtype)
        check_header((1, 1, int(np.prod(series.shape, dtype=float))), dtype)
        if dtype.kind not in "iu":
            msg = f"expected whole numbers, got {dtype}"
            raise ValueError(msg)
        # of types that are equal in size, such as long and long long, the one that goes by the size
        array = series.asarray().astype(dtype.newbyteorder("="), copy=False).view(dtype.name)
        axes = series.axes.lower()
        names = ome_names(file.ome_metadata or "")
    if "c" not in axes:
        return LabelLayers((array,), axes)
    layers = tuple(np.moveaxis(array, axes.index("c"), 0))
    classes: tuple[tuple[int, LabelClass], ...] = ()
    if len(names) == len(layers) and all(names):
        classes = tuple((index, LabelClass(name, int(layers[index].max()) or 1)) for index, name in enumerate(names))
    binary = all(np.unique(layer).size <= 2 for layer in layers)
    return LabelLayers(layers, axes.replace("c", ""), classes if binary else ())


def has_named_channels(path: Path) -> bool:
    """Whether a file has several channels with names, which as a label are masks of classes."""
    return len(names_in(path)) > 1


def names_in(path: Path) -> dict[int, str]:
    """Return the names of the channels by their place, from 1; nothing if one has none, or the file is no OME-TIFF.

    Raises:
        ValueError: If the file cannot be decoded.
        ImportError: If tifffile is not installed.
    """
    if not recognises(path):
        return {}
    with needs("tifffile", "TIFF"):
        import tifffile
    with one_error(path, *UNREADABLE, tifffile.TiffFileError), tifffile.TiffFile(path) as file:
        names = ome_names(file.ome_metadata or "")
    return dict(enumerate(names, start=1)) if all(names) else {}


def read_drawn(path: Path, canvas: Canvas) -> DrawnLabel:
    """Read the masks in the channels of a file.

    Raises:
        ValueError: If the file cannot be read, a channel is no mask, or they are not on the grid of the image.
        ImportError: If tifffile is not installed.
    """
    masks = read_labels(path).labels()
    shapes = {mask.shape for mask in masks.values()}
    if shapes != {canvas.shape}:
        got = ", ".join(map(str, sorted(shapes))) or "channels of several values"
        msg = f"{path.name} does not match its image: expected masks of {canvas.shape}, got {got}. Save one per class."
        raise ValueError(msg)
    planes = (-1, *canvas.shape[-2:])
    segments = tuple(
        Segment(place, name, functools.partial(np.reshape, mask.astype(np.uint8), planes))
        for place, (name, mask) in enumerate(masks.items(), start=1)
    )
    return DrawnLabel(Geometry(), segments, dict(enumerate(masks, start=1)), is_complete=True)


def write(path: Path, masks: Mapping[str, Bool[np.ndarray, "..."]], axes: str = "yx") -> None:
    """Write each mask as a channel with its name, so that those which overlap stay whole.

    Raises:
        ImportError: If tifffile is not installed.
    """
    with needs("tifffile", "TIFF"):
        import tifffile
    planes = np.stack([mask.astype(np.uint8) * np.uint8(255) for mask in masks.values()])
    leading = len(axes) - 2
    # OME-TIFF has its channels before rows and columns, after slices and times
    array = np.moveaxis(planes, 0, leading)
    named = {"axes": f"{axes[:leading]}c{axes[leading:]}".upper(), "Channel": {"Name": list(masks)}}
    with replacing(path) as partial:
        tifffile.imwrite(partial, array, ome=True, photometric="minisblack", metadata=named, compression="zlib")


def write_plain(path: Path, labels: Integer[np.ndarray, "..."]) -> None:
    """Write a label map as an ordinary TIFF.

    Raises:
        ImportError: If tifffile is not installed.
    """
    with needs("tifffile", "TIFF"):
        import tifffile
    with replacing(path) as partial:
        tifffile.imwrite(partial, labels, photometric="minisblack", compression="zlib")
