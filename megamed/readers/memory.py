"""Memory that is free, and the check that a file fits into it before it is decoded."""

import math
import os
import re
from pathlib import Path

FACTS = Path("/proc/meminfo")
UNKNOWN_BYTES = 2e9
"""Memory that is assumed to be free where the system does not report it."""
BYTES_PER_VALUE = 8
"""Memory that a value takes while it is decoded and turned to grey."""


def free_bytes() -> float:
    """Memory that a process may take without others having to give some up."""
    if FACTS.exists() and (found := re.search(r"MemAvailable:\s+(\d+)", FACTS.read_text())):
        return 1024.0 * int(found[1])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_BYTES


def check_size(shape: tuple[int, ...], channels: int, most_pixels: int) -> None:
    """Refuse a picture before it is decoded.

    Args:
        shape: Numbers of frames, rows and columns that the header declares.
        channels: Number of values of a pixel.
        most_pixels: The most pixels that it may have.

    Raises:
        ValueError: If it has more pixels, or would not fit into the memory that is free.
    """
    pixels = math.prod(shape)
    sides = " × ".join(map(str, shape))
    if pixels > most_pixels:
        msg = f"expected at most {most_pixels} pixels, got {sides}"
        raise ValueError(msg)
    if (needed := pixels * channels * BYTES_PER_VALUE) > (free := free_bytes()):
        msg = (
            f"expected a picture that fits into the {free / 1e9:.1f} GB of memory that are free, got {sides} pixels, "
            f"which take {needed / 1e9:.1f} GB. Cut it up, or make it smaller"
        )
        raise ValueError(msg)
