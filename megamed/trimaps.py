"""Trimaps: label maps of a foreground, a background and a thin band between them that nobody judged."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer, UInt8

FOREGROUND, BACKGROUND, BAND = 1, 2, 3
"""Values of the trimaps that are drawn for pictures of animals, plants and the like; no pixel is 0.

Source: Parkhi et al., Cats and Dogs, CVPR 2012, whose labels have them.
"""
WHITE, BLACK, GREY = 255, 0, 128
"""Values of trimaps as they are drawn for the cutting out of pictures."""
MOST_TOUCHING = 0.02
"""Largest share of the outline of the foreground at which it touches the background."""
THIN_PX, THIN_SHARE = 4.0, 0.05
"""Largest mean width of a band: in pixels, or as a share of the longer side."""


def is_trimap(label: Integer[np.ndarray, "*grid"]) -> bool:
    """Whether a label map of 1, 2 and 3 has 3 as a thin band all around 1, and nothing but 2 beyond."""
    return _has_thin_band(label, FOREGROUND, BACKGROUND, BAND)


def may_be_trimap(label: Integer[np.ndarray, "*grid"]) -> bool:
    """Whether a label map of 0, 128 and 255 has 128 as such a band, which may as well be a class of its own."""
    return _has_thin_band(label, WHITE, BLACK, GREY)


def _has_thin_band(label: Integer[np.ndarray, "*grid"], foreground: int, background: int, band: int) -> bool:
    values = (foreground, background, band)
    if label.ndim < 2 or not label.size or (label.min(), label.max()) != (min(values), max(values)):
        return False
    places = np.select([label == value for value in values], [0, 1, 2], 3).astype(np.uint8)
    contacts = np.zeros((4, 4), np.int64)
    for axis in (label.ndim - 2, label.ndim - 1):
        before, after = np.delete(places, -1, axis), np.delete(places, 0, axis)
        contacts += np.bincount((before * 4 + after).ravel(), minlength=contacts.size).reshape(contacts.shape)
    contacts += contacts.T
    inner, outer = int(contacts[0, 2]), int(contacts[1, 2])
    if (places == 3).any() or not inner or not outer or contacts[0, 1] > MOST_TOUCHING * inner:
        return False
    width_px = np.count_nonzero(places == 2) / ((inner + outer) / 2)
    return bool(width_px <= max(THIN_PX, THIN_SHARE * max(label.shape)))


@dataclass
class TrimapVote:
    """Judgement on whether all label maps of a folder are trimaps: most that show anything are, and none has a 0."""

    shown: int = 0
    found: int = 0
    has_others: bool = False
    """Whether a label map has a value that no trimap has."""

    def add(self, label: Integer[np.ndarray, "..."]) -> bool:
        """Take a label map into account, and return whether it has but the values of a trimap."""
        if not label.any():
            return False
        has_its_values = bool(label.min() > 0 and label.max() <= BAND)
        self.shown += 1
        self.found += has_its_values and is_trimap(label)
        self.has_others |= not has_its_values
        return has_its_values

    @property
    def are_trimaps(self) -> bool:
        """Whether they are."""
        return self.found > self.shown / 2 and not self.has_others


def are_trimaps(labels: Iterable[Integer[np.ndarray, "..."]]) -> bool:
    """Whether label maps that belong together are trimaps."""
    vote = TrimapVote()
    for label in labels:
        vote.add(label)
    return vote.are_trimaps


def trimap_note(name: str) -> str:
    """Say how a trimap is read."""
    return f"{name} is a trimap: 1 is read as its class, 2 as background and 3 as pixels that nobody judged."


def foreground_of(trimap: Integer[np.ndarray, "*grid"]) -> UInt8[np.ndarray, "*grid"]:
    """Return a label map of the foreground, in which `BAND` keeps its value."""
    return np.where(trimap == BACKGROUND, 0, trimap).astype(np.uint8)
