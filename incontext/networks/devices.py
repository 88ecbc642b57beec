"""The device to compute on, and the memory that is free there."""

import torch

from megamed.readers import memory


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
    return memory.free_bytes()
