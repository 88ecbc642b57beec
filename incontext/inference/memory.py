"""Batch size of a network: as many squares as fit a memory budget, and no more than a device makes use of."""

from typing import Final

import torch

from incontext.networks.devices import free_bytes

MOST_GB = 1.0
"""Budget where none is stated, if twice as much is free."""
BYTES_PER_PIXEL: Final = 640
"""Memory per pixel of a query's square while the packaged network computes, as measured."""
BYTES_PER_SUPPORT_PIXEL: Final = 512
"""Memory per pixel of a support square that is read with every query, as measured with the cross-block network."""
SUPPORTS_AT_WORK: Final = 8
"""Support squares that the cross-block network holds at full resolution besides."""
USEFUL = {"cpu": 16}
"""Batch size beyond which a type of device is not faster."""
USEFUL_ELSEWHERE = 256


def batch_size(square_px: int, supports: int, memory_gb: float | None, device: torch.device) -> int:
    """Choose the number of squares to compute at a time, at least one.

    Args:
        square_px: Number of pixels of a square.
        supports: Number of support squares that are read with every query; 0 if the support is encoded once.
        memory_gb: Memory budget; by default half of what is free, and at most 1.
        device: Device to compute on, whose free memory counts.
    """
    budget_gb = min(MOST_GB, free_bytes(device) / 2e9) if memory_gb is None else memory_gb
    pixel_bytes = BYTES_PER_SUPPORT_PIXEL * (supports + SUPPORTS_AT_WORK) if supports else BYTES_PER_PIXEL
    return max(1, min(int(budget_gb * 1e9 / (square_px * pixel_bytes)), USEFUL.get(device.type, USEFUL_ELSEWHERE)))
