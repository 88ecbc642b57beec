"""Unpickling of tensors from files that may be damaged, or no such files at all."""

import io
import pickle
import struct
import warnings
import zipfile
import zlib
from typing import Any

import torch

from incontext.networks.sealed import Damaged

UNPICKLING_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions that `torch.load` raises at damaged files, for its unpickler follows whatever they say."""
LONGEST = 120
"""Characters of a reason that are shown: torch explains at length how to load what should not be trusted."""


def load_pickled(content: bytes, device: torch.device | str = "cpu") -> Any:
    """Load what `torch.save` wrote into a file, if it is tensors and plain values, and as it was written.

    Raises:
        Damaged: If it cannot be read, or holds anything else; the message says why, in one line.
    """
    file = io.BytesIO(content)
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickles of other programs, which are refused anyway
            if zipfile.is_zipfile(file):
                _check_zip(file)
            file.seek(0)
            return torch.load(file, map_location=device, weights_only=True)
    except UNPICKLING_ERRORS as error:
        raise Damaged(_told(error)) from error


def _check_zip(file: io.BytesIO) -> None:
    """Compare the checksums that a zip archive has of its members, which torch passes over, and refuse packed ones.

    Torch packs none; those of others may unpack to a thousand times their size.
    """
    with zipfile.ZipFile(file) as archive:
        if packed := [each.filename for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED]:
            msg = f"a compressed {packed[0]}, where torch compresses nothing"
            raise zipfile.BadZipFile(msg)
        if (damaged := archive.testzip()) is not None:
            msg = f"another checksum of {damaged} than it was written with"
            raise zipfile.BadZipFile(msg)


def _told(error: BaseException) -> str:
    """The reason that an exception gives, in a line, with its class where it says little else."""
    reason = " ".join(str(error).rpartition("WeightsUnpickler error:")[2].split())[:LONGEST].strip(" .")
    return reason if len(reason) > 20 else f"{type(error).__name__} {reason}".strip()
