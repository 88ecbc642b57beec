"""Read an array of an npy or npz file, never unpickling, its declared size checked first."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Shaped

from megamed.readers.faults import check_expansion, one_error
from megamed.readers.memory import check_room
from megamed.readers.source import Source
from megamed.readers.stored import StoredImage
from megamed.unchanged import while_unchanged

File = IO[bytes] | zipfile.ZipExtFile
MAX_BYTES = 2**33
UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, IndexError, TypeError, SyntaxError, RuntimeError, NotImplementedError),
    *(struct.error, zlib.error, tokenize.TokenError, zipfile.BadZipFile),
)
HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read an array; a file of several needs the name of one as `part`.

    Raises:
        ValueError: If the file cannot be decoded, is too large, holds no plain numbers, or several arrays.
    """
    (path,), part = source.files, source.part
    if path.suffix.lower() == ".npz" and not part:
        names = list(array_shapes(path))
        if len(names) != 1:
            msg = f"{path.name} is ambiguous: expected one array, got {names}."
            raise ValueError(msg)
        part = names[0]
    return StoredImage(read_array(path, part))


def read_array(path: Path, part: str = "") -> Shaped[np.ndarray, "..."]:
    """Read an array.

    Args:
        path: An npy or npz file.
        part: The array of an npz, and after a colon the number of one item along its first axis: `train_images:12`.

    Raises:
        ValueError: If the file cannot be decoded, is too large or holds no plain numbers.
    """
    name, _, item = part.partition(":")
    with one_error(path, *UNREADABLE):
        array = _member(path, name)
        return array[int(item)] if item else array


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes of the arrays of an npz file.

    Raises:
        ValueError: If the file cannot be decoded.
    """
    with one_error(path, *UNREADABLE):
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        shapes = {}
        for name in names:
            with _opened(path, name) as file:
                shapes[name], _ = _header(file)
        return shapes


def holds_objects(path: Path) -> bool:
    """Whether an npy file holds objects of Python, as the results of Cellpose, and no array of numbers."""
    with suppress(*UNREADABLE), _opened(path, "") as file:
        return _header(file)[1].hasobject
    return False


@while_unchanged(most=2)  # an image and a label array, from which cases are read one by one
def _member(path: Path, name: str) -> Shaped[np.ndarray, "..."]:
    with _opened(path, name) as file:
        shape, dtype = _header(file)
    if dtype.hasobject or dtype.kind not in "biuf":
        msg = f"expected integers, floats or booleans, got {dtype}"
        raise ValueError(msg)
    if math.prod(shape) * dtype.itemsize > MAX_BYTES:
        msg = f"expected at most {MAX_BYTES} bytes of numbers, got {dtype} {shape}"
        raise ValueError(msg)
    check_expansion(path, math.prod(shape) * dtype.itemsize)
    check_room(math.prod(shape), f"{dtype} {shape}")
    with _opened(path, name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[File]:
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            yield file
    else:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            yield file


def _header(file: File) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in HEADER_READERS:
        msg = f"expected version 1 or 2 of the npy format, got {version}"
        raise ValueError(msg)
    shape, _, dtype = HEADER_READERS[version](file)
    if any(length < 0 for length in shape):
        msg = f"expected lengths of 0 or more, got shape {shape}"
        raise ValueError(msg)
    return shape, dtype
