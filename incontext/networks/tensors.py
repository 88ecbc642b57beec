"""Tensors that come from a file, compared with those that a network expects."""

from collections.abc import Mapping

import torch
from torch import Tensor


def misfit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Name the first tensor that differs in name or shape, with what was expected and got; empty if none does."""
    for name in sorted(expected.keys() | found.keys()):
        want, got = (tuple(state[name].shape) if name in state else "no such tensor" for state in (expected, found))
        if want != got:
            return f"at {_printable(name)}: expected {want}, got {got}"
    return ""


def unusable(tensors: Mapping[str, Tensor]) -> str:
    """Name the first tensor that holds other things than finite numbers, with what was expected; empty if none does."""
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type == "meta" or not tensor.is_floating_point():
            got = f"{tensor.dtype} ({tensor.layout}, {tensor.device})"
            return f"at {_printable(name)}: expected floating-point numbers, got {got}"
        if not tensor.isfinite().all():
            return f"at {_printable(name)}: expected finite numbers, got NaN or infinity"
    return ""


def _printable(name: str) -> str:
    """A name from a file, on one line."""
    return name if name.isprintable() else repr(name)
