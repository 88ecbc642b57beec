"""Labels of a DICOM series as a folder of pictures, one for each slice, in the order of the names of both."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from megamed.file_names import natural_order
from megamed.readers import picture
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, StoredImage

SUFFIXES = (".png", ".bmp", ".gif")
"""Endings of pictures that lose no values."""


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """List the pictures of slices in a folder, in the order of their names; nothing if it holds others or folders."""
    files = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    are_pictures = all(path.is_file() and path.name.lower().endswith(SUFFIXES) for path in files)
    return tuple(_by_name(files)) if are_pictures else ()


def read(pictures: Sequence[Path], most_pixels: int) -> StoredImage:
    """Read pictures of slices as a stack of them.

    Raises:
        ValueError: If one cannot be read, has colours, or another size than the first.
    """
    slices = [picture.read(Source((path,)), most_pixels) for path in pictures]
    kinds = {(each.axes, each.array.shape) for each in slices}
    if kinds != {("YX", slices[0].array.shape)}:
        msg = f"expected grey pictures of one size, got {sorted(kinds)}"
        raise ValueError(msg)
    return StoredImage(np.stack([each.array for each in slices]), "ZYX", Geometry(files=tuple(pictures)))


def on_slices(label: StoredImage, slices: Sequence[Path], name: str) -> Shaped[np.ndarray, "Z H W"]:
    """Bring pictures into the order of the slices that they are of: the files of a series, by their place.

    Raises:
        ValueError: If there are more or fewer slices, or their names are in no order of places.
    """
    order = [_by_name(slices).index(file) for file in slices]
    steps = {after - before for before, after in itertools.pairwise(order)}
    if len(label.array) != len(slices) or steps not in ({1}, {-1}):
        msg = (
            f"{name} does not match its image: expected a picture for each of {len(slices)} slices, whose files are "
            f"named in their order, got {len(label.array)} pictures. Save them as one volume, such as a DICOM-SEG."
        )
        raise ValueError(msg)
    return label.array[order]


def _by_name(files: Sequence[Path]) -> list[Path]:
    return sorted(files, key=lambda file: natural_order(file.name))
