"""The file of a training's state: what `torch.save` writes, with its hash as the comment of that zip archive."""

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from incontext.networks.sealed import Damaged
from incontext.networks.unpickling import load_pickled
from megamed.files import replace_file, sha256_of

SEAL = b"sha256="
SEAL_BYTES = len(SEAL) + 64
LENGTH_BYTES = 2
"""Bytes at the end of an archive that tell the length of the comment after them."""
FIX = (
    "Move it away to start anew, as well from the weights beside it (--init weights.safetensors), "
    "or choose another output folder."
)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values with their hash; the file is replaced at once or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    seal = SEAL + sha256_of(content).encode()
    replace_file(path, content[:-LENGTH_BYTES] + struct.pack("<H", len(seal)) + seal)


def read_state(path: Path, device: torch.device | str) -> dict[str, Any]:
    """Read what `write_state` wrote, onto a device; nothing is unpickled before the hash was found right.

    Raises:
        ValueError: If the file is cut off, changed, or none of this version's.
    """
    content = path.read_bytes()
    content, seal = content[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if not seal.startswith(SEAL):
        got = "none" if content or seal else "an empty file"
        msg = f"{path} is of another version or program, or cut off: expected a hash at its end, got {got}. {FIX}"
        raise ValueError(msg)
    content, told = content[:-LENGTH_BYTES] + bytes(LENGTH_BYTES), seal.removeprefix(SEAL).decode(errors="replace")
    if (found := sha256_of(content)) != told:
        msg = f"{path} is damaged: expected a content of SHA-256 {told!r}, got {found}. {FIX}"
        raise ValueError(msg)
    try:
        saved = load_pickled(content, device)
    except Damaged as error:
        msg = f"{path} is not readable: expected tensors and plain values, got: {error}. {FIX}"
        raise ValueError(msg) from error
    if not isinstance(saved, dict):
        msg = f"{path} is of another version or program: expected a table, got a {type(saved).__name__}. {FIX}"
        raise ValueError(msg)
    return saved
