"""The device to compute on, and the memory that is free there."""

import os
import re
from pathlib import Path

import torch

MEMORY = Path("/proc/meminfo")
UNKNOWN_BYTES = 2e9
"""Memory that is assumed to be free where the system does not report it."""


def choose_device(wanted: torch.device | str | None = None) -> torch.device:
    """The device asked for, or by default a GPU if there is one.

    Raises:
        ValueError: If there is no such device.
    """
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        msg = f"Device {str(wanted)!r} cannot be used: {str(error).splitlines()[0]} Choose another, such as cpu."
        raise ValueError(msg) from error
    return torch.device(wanted)


def free_bytes(device: torch.device) -> float:
    """Memory of a device that a process may take without others having to give some up."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if MEMORY.exists() and (found := re.search(r"MemAvailable:\s+(\d+)", MEMORY.read_text())):
        return 1024.0 * int(found[1])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_BYTES
