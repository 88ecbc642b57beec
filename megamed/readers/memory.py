"""Memory that is free, and the check that a file fits into it before it is decoded."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

FACTS = Path("/proc/meminfo")
STATUS = Path("/proc/self/statm")
CONTAINER = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Folders and files in which each version of control groups tells the limit of memory and what is used of it."""
UNKNOWN_BYTES = 2e9
"""Memory that is assumed to be free where the system does not report it."""
BYTES_PER_VALUE = 8
"""Memory that a value takes while it is decoded and turned to grey."""


def free_bytes() -> float:
    """Memory that a process may take without others having to give some up, and within its own limits."""
    return min(_free_here(), *_left_of_limits())


def _free_here() -> float:
    if FACTS.exists() and (found := re.search(r"MemAvailable:\s+(\d+)", FACTS.read_text())):
        return 1024.0 * int(found[1])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_BYTES


def _left_of_limits() -> Iterator[float]:
    """Yield what is left of the address space of this process, and of the memory of its container."""
    yield math.inf
    if STATUS.exists():
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            yield float(max(most - int(STATUS.read_text().split()[0]) * resource.getpagesize(), 0))
    for folder, most_name, used_name in CONTAINER:
        most_text, used_text = (_text(folder / name) for name in (most_name, used_name))
        if most_text.isdecimal() and used_text.isdecimal():
            idle = re.findall(r"inactive_file (\d+)", _text(folder / "memory.stat"))  # the last one is the total
            yield float(max(int(most_text) - int(used_text) + int(idle[-1] if idle else 0), 0))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


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
        msg = f"expected at most {most_pixels} pixels, got {sides}. Cut it up, make it smaller, or free memory"
        raise ValueError(msg)
    check_room(pixels * channels, f"{sides} pixels")


def check_room(values: int, got: str) -> None:
    """Refuse what would not fit into the memory that is free, before it is decoded.

    Args:
        values: Number of the values that a header declares.
        got: Words for what it declares.

    Raises:
        ValueError: If they would not fit.
    """
    if (needed := values * BYTES_PER_VALUE) > (free := free_bytes()):
        msg = (
            f"expected an image that fits into the {free / 1e9:.1f} GB of memory that are free, got {got}, "
            f"which take {needed / 1e9:.1f} GB. Cut it up, or make it smaller"
        )
        raise ValueError(msg)
