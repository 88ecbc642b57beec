"""Safetensors files that hold a checksum of themselves, so that damage anywhere in them is noticed before use."""

import errno
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

CHECKSUM = "checksum"
"""Name of the checksum in the metadata: CRC-32, in hexadecimal digits, of the file in which it reads `UNKNOWN`."""
UNKNOWN = "00000000"
CHUNK_BYTES = 2**20
LENGTH_BYTES = 8
"""Bytes before the header, which tell how long it is."""


class Damaged(ValueError):
    """A file that cannot be read as safetensors, or is not as it was written; the message says what was got."""


def save_sealed(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata with their checksum.

    Raises:
        OSError: If the file cannot be written.
    """
    path.touch()
    mode = path.stat().st_mode  # safetensors puts a file in its place that nobody but its owner may read
    try:
        save_file(dict(tensors), path, {**metadata, CHECKSUM: UNKNOWN})
        path.chmod(mode)
    except SafetensorError as error:  # of the system, whose number is in the text alone
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(path)) from error
    checksum = _checksum(path, UNKNOWN)
    with path.open("rb+") as file:
        head = file.read(LENGTH_BYTES + _header_bytes(path))
        file.seek(head.index(_entry(UNKNOWN)))
        file.write(_entry(checksum))


def read_sealed_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a file that is as it was written, as far as a checksum in it tells.

    Raises:
        Damaged: If it is not, or is no safetensors file.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise Damaged(str(error)) from error
    told = metadata.pop(CHECKSUM, None)
    if told is not None and (found := _checksum(path, told)) != told:
        msg = f"a content of checksum {found} in place of {told}: it was changed or damaged since it was written"
        raise Damaged(msg)
    return metadata


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)


def _checksum(path: Path, told: str) -> str:
    """The checksum of a file, whatever it tells of it."""
    with path.open("rb") as file:
        head = file.read(LENGTH_BYTES + _header_bytes(path))
        found = zlib.crc32(head.replace(_entry(told), _entry(UNKNOWN), 1))
        while chunk := file.read(CHUNK_BYTES):
            found = zlib.crc32(chunk, found)
    return f"{found:08x}"


def _header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(LENGTH_BYTES), "little")


def _entry(checksum: str) -> bytes:
    """The checksum as it stands in a header; no text in it looks the same, since quotes within are escaped."""
    return f'"{CHECKSUM}":"{checksum}"'.encode()
