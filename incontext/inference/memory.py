"""How many squares a network may compute at a time: as many as fit a memory budget, and no more than are of use."""

from typing import Final

import torch

from incontext.networks.devices import free_bytes

MOST_GB = 1.0
"""Budget where none is stated, if twice as much is free."""
BYTES_PER_PIXEL: Final = 640
"""Of a query's square, while the packaged network computes; measured."""
BYTES_PER_SUPPORT_PIXEL: Final = 512
"""Of each support square, if the network reads the support with every query; measured with the cross-block network."""
SUPPORTS_AT_WORK: Final = 8
"""Support squares whose full size such a network has at hand besides."""
USEFUL = {"cpu": 16}
"""Squares beyond which a device is not faster."""
USEFUL_ELSEWHERE = 256


def batch_size(square_px: int, supports: int, memory_gb: float | None, device: torch.device) -> int:
    """Squares to compute at a time, at least one.

    Args:
        square_px: Pixels of a square.
        supports: Support squares that are read with every query; 0 if the support is encoded once.
        memory_gb: Budget; by default half of what is free, and at most 1.
        device: Where to compute.
    """
    budget_gb = min(MOST_GB, free_bytes(device) / 2e9) if memory_gb is None else memory_gb
    pixel_bytes = BYTES_PER_SUPPORT_PIXEL * (supports + SUPPORTS_AT_WORK) if supports else BYTES_PER_PIXEL
    return max(1, min(int(budget_gb * 1e9 / (square_px * pixel_bytes)), USEFUL.get(device.type, USEFUL_ELSEWHERE)))
