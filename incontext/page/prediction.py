"""A mask that was predicted for an image, as small as it can be kept."""

import math
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from jaxtyping import UInt8

from incontext.inference.segmentation import Segmentation

IMPROBABLE = 0.5
"""Probability below which a class is rather not there."""


@dataclass(frozen=True)
class Prediction:
    """A mask that was predicted, packed.

    Attributes:
        shape: Numbers of planes, rows and columns.
        packed: Values of the classes.
        dice: Predicted Dice: the least of the classes that were found; None if the weights predict none.
        look_first: Whether it is probably poor.
        round: Number of the round of examples by which it was made.
        presence: Probability that the image shows a class, by label value, of those that were judged.
    """

    shape: tuple[int, int, int]
    packed: bytes = field(repr=False)
    dice: float | None
    look_first: bool
    round: int
    presence: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def packing(cls, planes: UInt8[np.ndarray, "N H W"], dice: float | None, look_first: bool, round: int) -> Self:
        """Pack the values of a mask."""
        packed = zlib.compress(np.ascontiguousarray(planes).tobytes(), 1)
        return cls((planes.shape[0], planes.shape[1], planes.shape[2]), packed, dice, look_first, round)

    @classmethod
    def of(cls, result: Segmentation, round: int) -> Self:
        """Pack what was found in one image."""
        case = result.cases[0]
        planes = case.view.planes(result.masks[0].reshape(case.grid))
        dice, look_first = None, False
        with suppress(ValueError):  # weights without a quality model predict no Dice
            by_class, look_first = result.predicted_dice[0], bool(result.look_first)
            shown = np.array([result.layer(0, value).any() for value in result.classes])
            dice = float(by_class[shown].min() if shown.any() else by_class.max())
        judged = [] if result.presence is None else result.presence[0].tolist()
        presence = {value: each for value, each in zip(result.classes, judged, strict=False) if not math.isnan(each)}
        return replace(cls.packing(planes, dice, look_first, round), presence=presence)

    def without(self, value: int, into: int) -> "Prediction | None":
        """Give the pixels of a class another value; None if then nothing is left of a mask that showed it."""
        planes = self.planes
        presence = {each: share for each, share in self.presence.items() if each != value}
        if not (planes == value).any():
            return replace(self, presence=presence)
        left = np.where(planes == value, np.uint8(into), planes)
        packed = zlib.compress(left.tobytes(), 1)
        return replace(self, packed=packed, presence=presence) if left.any() else None

    @property
    def is_absent(self) -> bool:
        """Whether the image probably shows none of the classes that were judged."""
        return bool(self.presence) and max(self.presence.values()) < IMPROBABLE

    @property
    def values(self) -> list[int]:
        """Values that the mask shows."""
        return np.unique(self.planes).tolist()

    @property
    def planes(self) -> UInt8[np.ndarray, "N H W"]:
        """Values of the classes, unpacked."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)
