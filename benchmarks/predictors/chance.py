"""Random numbers seeded by an image's content: the same in any batch, order and process, and on any device."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

STEP = -7046029254386353131
"""2⁶⁴ over the golden ratio, as a signed number: multiples of it are spread evenly."""
DIGITS = 23
"""Bits of a random number: with a half added, single precision still holds it."""


def fingerprints(images: Float[Tensor, "*N 1 H W"], seed: int) -> Int64[Tensor, "*N"]:
    """Hash each image's intensities, in steps of 1/255, with a seed."""
    pixels = (images * 255).round().long().flatten(-3) + 1
    weights = mixed(_steps(pixels.shape[-1], images.device))
    return mixed((pixels * weights).sum(-1) ^ mixed(_steps(1, images.device) * (seed + 1)))


def uniform(names: Int64[Tensor, "*N"], count: int) -> Float[Tensor, "*N count"]:
    """Draw `count` uniform numbers above 0 and below 1 for each fingerprint."""
    numbers = _shifted(mixed(names[..., None] + _steps(count, names.device)), 64 - DIGITS)
    return (numbers.float() + 0.5) / 2**DIGITS


def normal(names: Int64[Tensor, "*N"], count: int) -> Float[Tensor, "*N count"]:
    """Draw `count` normally distributed numbers of mean 0 and variance 1 for each fingerprint."""
    return math.sqrt(2) * torch.erfinv(2 * uniform(names, count) - 1)


def mixed(numbers: Int64[Tensor, "*N"]) -> Int64[Tensor, "*N"]:
    """Scatter numbers over all 2⁶⁴, so that each bit depends on all bits.

    Source:
        Steele et al., Fast splittable pseudorandom number generators, OOPSLA 2014 (SplitMix64).
    """
    numbers = (numbers ^ _shifted(numbers, 30)) * -4658895280553007687
    numbers = (numbers ^ _shifted(numbers, 27)) * -7723592293110705685
    return numbers ^ _shifted(numbers, 31)


def _steps(count: int, device: torch.device) -> Int64[Tensor, " count"]:
    """The first multiples of `STEP`."""
    return STEP * torch.arange(1, count + 1, device=device)


def _shifted(numbers: Int64[Tensor, "*N"], bits: int) -> Int64[Tensor, "*N"]:
    """Shift right, with zeros from the left."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)
