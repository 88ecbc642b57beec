"""One label map out of masks that may overlap: a value for every combination of labels, as in nnU-Net's regions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer, UInt8

MOST_SHARED = 0.1
"""Share of the smaller of two labels on an image that both may have: edges overlap where masks were resized."""
MOST_VALUES = 255


@dataclass(frozen=True)
class MapCoding:
    """The values of a label map: of each label alone if hardly any overlap, else of each combination of labels."""

    order: tuple[int, ...]
    """Indices of the labels from the largest to the smallest, as they are painted."""
    values: dict[tuple[int, ...], int]
    """The value of each combination of labels, by their indices in rising order."""
    has_regions: bool
    """Whether a label may have several values."""
    overlapping: frozenset[int]
    """Indices of the labels that share more than their edges with others."""
    shared_px: int = 0
    """Number of pixels, over all images, that have several labels of which a map holds only the smallest."""

    def encode(self, masks: Bool[np.ndarray, "labels H W"]) -> UInt8[np.ndarray, "H W"]:
        """Make the label map of masks whose combinations were seen when the values were given."""
        label_map = np.zeros(masks.shape[1:], np.uint8)
        combinations, places = _combinations(masks)
        for place, combination in enumerate(combinations):
            if combination:
                label_map[places == place] = self.values[combination]
        return label_map

    def values_of(self, label: int) -> list[int]:
        """Return the values that a label has."""
        if not self.has_regions:
            return [label + 1]
        return sorted(value for combination, value in self.values.items() if label in combination)

    def painted(self, label: int) -> int:
        """Return the value of a label together with the fewest others; the label must be on some image."""
        return self.values[min((each for each in self.values if label in each), key=len)]


def code_for(images: Iterable[Bool[np.ndarray, "labels H W"]], names: Sequence[str]) -> MapCoding:
    """Give values to labels, or to their combinations where a map of labels alone would lose pixels.

    Args:
        images: The masks of each image, in the order of the names.
        names: Names of the labels.

    Raises:
        ValueError: If there are more values than a map of 8 bits can hold.
    """
    areas, seen = np.zeros(len(names), np.int64), set[tuple[int, ...]]()
    shares: list[tuple[Bool[np.ndarray, "combinations labels"], np.ndarray]] = []
    for masks in images:
        combinations, places = _combinations(masks)
        counts = np.bincount(places.ravel(), minlength=len(combinations))
        members = np.array([[label in each for label in range(len(names))] for each in combinations], bool)
        areas += counts @ members
        seen.update(filter(None, combinations))
        shares.append((members, counts))
    order = tuple(np.argsort(-areas, kind="stable").tolist())
    shared = (overlapping_pairs((members * counts[:, None]).T @ members) for members, counts in shares)
    overlapping = frozenset(label for pairs in shared for pair in pairs for label in pair)
    shared_px = 0 if overlapping else sum(int(counts[members.sum(axis=1) > 1].sum()) for members, counts in shares)
    if overlapping:
        values = {each: value for value, each in enumerate(sorted(seen, key=lambda each: (len(each), each)), start=1)}
    else:
        values = {each: 1 + max(each, key=order.index) for each in seen}
    if max(values.values(), default=0) > MOST_VALUES:
        told = ", ".join(names[label] for label in sorted(overlapping)) or "none"
        msg = (
            f"labels do not fit into one map: expected at most {MOST_VALUES} combinations, got {len(values)}; "
            f"those that overlap others: {told}. Export as png or npz."
        )
        raise ValueError(msg)
    return MapCoding(order, values, bool(overlapping), overlapping, shared_px)


def _combinations(masks: Bool[np.ndarray, "labels H W"]) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """List the combinations of labels on an image, and where each is, by its number in the list."""
    found, places = np.unique(masks.reshape(len(masks), -1), axis=1, return_inverse=True)
    combinations = [tuple(np.flatnonzero(column).tolist()) for column in found.T]
    return combinations, places.reshape(masks.shape[1:])


def overlapping_pairs(shared: Integer[np.ndarray, "labels labels"]) -> list[tuple[int, int]]:
    """Find the labels that share more than edges on an image: a good part of the smaller of the two.

    Args:
        shared: Number of pixels that each two labels share, with the areas of labels on the diagonal.
    """
    areas = np.diagonal(shared)
    smaller = np.minimum(areas[:, None], areas[None])
    first, second = np.nonzero(np.triu(shared > MOST_SHARED * smaller, k=1))
    return list(zip(first.tolist(), second.tolist(), strict=True))
