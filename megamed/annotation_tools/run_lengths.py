"""Run-length codes of masks: COCO's counts and their compressed text, CVAT's counts, Label Studio's packed bits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Bool, Integer, UInt8

MAX_PIXELS = 2**28
"""Largest size of a mask that run lengths may declare."""
RUN_SIZES = (3, 4, 8, 16)
"""Bits that Label Studio may store the length of a run in."""
CHANNELS = 4
"""Numbers per pixel of the picture that is a brush stroke of Label Studio: red, green, blue, opacity."""


@dataclass(frozen=True)
class RunMask:
    """A mask as the lengths of runs that are by turns outside and inside of it."""

    counts: Integer[np.ndarray, " runs"]
    """The first of them outside."""
    shape: tuple[int, int]
    order: Literal["C", "F"] = "C"
    """`F` if runs go down the columns, as in COCO, `C` if they go along the rows, as in CVAT."""

    def __post_init__(self) -> None:
        check_pixels(self.shape)
        total = self.counts.sum(dtype=float)
        if self.counts.min(initial=0) < 0 or total != math.prod(self.shape):
            msg = f"expected runs that fill {self.shape[0]} × {self.shape[1]} pixels, got {total:.0f}"
            raise ValueError(msg)

    @classmethod
    def of_counts(cls, counts: Any, shape: tuple[int, int], order: Literal["C", "F"]) -> Self:
        """Check the counts of a file.

        Raises:
            ValueError: If they do not fill the mask exactly, or it is larger than `MAX_PIXELS`.
        """
        try:
            lengths = np.array(counts, np.int64)
        except OverflowError as error:
            msg = f"expected runs that fill {shape[0]} × {shape[1]} pixels, got more"
            raise ValueError(msg) from error
        if lengths.ndim != 1:
            msg = f"expected a list of run lengths, got {lengths.ndim} axes"
            raise ValueError(msg)
        return cls(lengths, shape, order)

    @classmethod
    def of_mask(cls, mask: Bool[np.ndarray, "h w"], order: Literal["C", "F"] = "C") -> Self:
        """Find the runs of a mask."""
        pixels = mask.ravel(order=order)
        changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
        starts = np.concatenate([[0] * (1 + bool(pixels[0])), changes, [pixels.size]])
        return cls(np.diff(starts), (mask.shape[0], mask.shape[1]), order)

    def pixels(self) -> Bool[np.ndarray, "h w"]:
        """Expand the runs."""
        return np.repeat(np.arange(self.counts.size) % 2 == 1, self.counts).reshape(self.shape, order=self.order)


def check_pixels(shape: tuple[int, int]) -> None:
    """Refuse to set memory aside for a mask that no image can have."""
    if min(shape) < 1 or math.prod(shape) > MAX_PIXELS:
        msg = f"expected a mask of 1 to {MAX_PIXELS} pixels, got {shape[0]} × {shape[1]}"
        raise ValueError(msg)


def counts_of_text(text: str) -> list[int]:
    """Expand COCO's compressed counts.

    A character holds six bits: five of a number, lowest first, and whether more follow; from the fourth count on,
    numbers are differences from the last count but one.

    Raises:
        ValueError: If a character is no part of such a code, or the last number is cut off.

    Source:
        rleFrString of pycocotools' maskApi.c.
    """
    counts: list[int] = []
    number = shift = 0
    for character in text.encode():
        bits = character - 48
        if not 0 <= bits < 64 or shift > 60:
            msg = f"expected compressed counts, got {chr(character)!r}"
            raise ValueError(msg)
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (bits & 16) << (shift - 4)  # the highest bit is the sign
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number = shift = 0
    if shift:
        msg = "expected compressed counts, got a number that is cut off"
        raise ValueError(msg)
    return counts


def text_of_counts(counts: Sequence[int]) -> str:
    """Compress counts as `counts_of_text` expands them."""
    text = []
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text.append(chr(bits + 32 * more + 48))
    return "".join(text)


def mask_of_brush(packed: Sequence[int], shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Expand a brush stroke of Label Studio: where a picture of four channels is more than half opaque.

    The code is of the package rle-pack of @thi.ng/umbrella: 32 bits for how many values follow, 5 for the bits of a
    value, less one, four times 4 for the bits of a length, less one. Then runs: 1 bit whether it repeats one value, 2
    which of the four sizes its length has, the length, less one, and the value or values.

    Raises:
        ValueError: If it does not fill the picture exactly, or the picture is larger than `MAX_PIXELS`.
    """
    check_pixels(shape)
    content = np.array(packed, np.int64)
    if content.ndim != 1 or content.size < 8 or content.min() < 0 or content.max() > 255:
        msg = "expected packed runs as numbers from 0 to 255, got others"
        raise ValueError(msg)
    values = _unpacked(_Bits(content.astype(np.uint8)), CHANNELS * math.prod(shape))
    return values.reshape(*shape, CHANNELS)[..., -1] > 127


class _Bits:
    """A stream of bits."""

    def __init__(self, packed: UInt8[np.ndarray, " bytes"]) -> None:
        self._bits = np.unpackbits(packed)
        self._text = (self._bits + ord("0")).tobytes()
        self._at = 0

    def number(self, size: int) -> int:
        """Take the next bits as a number."""
        self._at += size
        if self._at > self._bits.size:
            msg = "expected packed runs, got fewer than declared"
            raise ValueError(msg)
        return int(self._text[self._at - size : self._at], 2)

    def numbers(self, count: int, size: int) -> Integer[np.ndarray, " count"]:
        """Take several numbers."""
        bits = self._bits[self._at : self._at + count * size]
        self._at += count * size
        if bits.size < count * size:
            msg = "expected packed runs, got fewer than declared"
            raise ValueError(msg)
        return bits.reshape(count, size).astype(np.int64) @ (1 << np.arange(size)[::-1])


def _unpacked(bits: _Bits, expected: int) -> Integer[np.ndarray, " values"]:
    """Expand packed runs."""
    declared, size = bits.number(32), bits.number(5) + 1
    if declared != expected:
        msg = f"expected {expected} packed values, {CHANNELS} per pixel, got {declared}"
        raise ValueError(msg)
    sizes = [bits.number(4) + 1 for _ in range(4)]
    values = np.zeros(declared, np.int64)
    at = 0
    while at < declared:
        repeats = bits.number(1)
        stop = at + 1 + bits.number(sizes[bits.number(2)])
        if stop > declared:
            msg = f"expected {declared} packed values, got more"
            raise ValueError(msg)
        values[at:stop] = bits.number(size) if repeats else bits.numbers(stop - at, size)
        at = stop
    return values


def brush_of_mask(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """Pack a mask as `mask_of_brush` expands it; the colour is white."""
    bits = [f"{CHANNELS * mask.size:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in RUN_SIZES)]
    longest = 1 << RUN_SIZES[-1]
    for index, count in enumerate(RunMask.of_mask(mask).counts.tolist()):
        value = "1" * 8 if index % 2 else "0" * 8
        left = CHANNELS * count
        while left:
            length = min(left, longest)
            choice = next(number for number, size in enumerate(RUN_SIZES) if length <= 1 << size)
            bits.append(f"1{choice:02b}{length - 1:0{RUN_SIZES[choice]}b}{value}")
            left -= length
    text = "".join(bits)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()
