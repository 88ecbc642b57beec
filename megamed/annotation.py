"""Annotations of one image: labels that may overlap, that may be unknown, and that several people may have drawn."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from megamed.schema import ANNOTATOR_MARK

VALUES = 256


@dataclass(frozen=True)
class Annotation:
    """The labels that one annotator gave one image."""

    layers: tuple[UInt8[np.ndarray, "..."], ...]
    """Label maps; where labels overlap, each is in a map of its own."""
    known: frozenset[int]
    """Label values that were annotated; the others may be anywhere."""

    @property
    def is_empty(self) -> bool:
        """Whether no pixel has any label."""
        return not any(layer.any() for layer in self.layers)

    def union(self, values: Iterable[int]) -> Bool[np.ndarray, "..."] | None:
        """Unite labels to a mask; None if one of them is unknown."""
        values = list(values)
        if not self.known.issuperset(values):
            return None
        wanted = np.zeros(VALUES, bool)
        wanted[values] = True
        first, *others = (wanted[layer] for layer in self.layers)
        for other in others:
            first |= other
        return first

    def cut(self, plane: Callable[[UInt8[np.ndarray, "..."]], UInt8[np.ndarray, "..."]]) -> "Annotation":
        """Take the same plane, or other part, of each label map."""
        return Annotation(tuple(plane(layer) for layer in self.layers), self.known)


def overlay(
    layers: list[UInt8[np.ndarray, "..."]], mask: Bool[np.ndarray, "..."], value: int
) -> list[UInt8[np.ndarray, "..."]]:
    """Add a label to the first map on which it covers no other, or to a new one.

    So a hundred organs need one map, and a tumour in one of them a second.
    """
    for layer in layers:
        if np.isin(layer[mask], (0, value)).all():
            layer[mask] = value
            return layers
    return [*layers, mask.astype(np.uint8) * np.uint8(value)]


def masks_of(
    annotations: Mapping[str, Annotation], wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, Bool[np.ndarray, "..."]]:
    """Make a mask of each wanted union of labels that somebody annotated.

    Args:
        annotations: Annotation of each annotator by name; a single one without a name is "".
        wanted: Label values that each mask unites, by the mask's name.

    Returns:
        The pixels that more than half of the annotators drew, by the mask's name, and the mask of each annotator who
        has a name as `<name>-by-<annotator>`. A mask that nobody annotated is missing.
    """
    masks = {}
    for name, values in wanted.items():
        drawn = {who: mask for who, each in annotations.items() if (mask := each.union(values)) is not None}
        if drawn:
            masks[name] = majority(list(drawn.values()))
            masks |= {f"{name}{ANNOTATOR_MARK}{who}": mask for who, mask in drawn.items() if who}
    return masks


def majority(masks: list[Bool[np.ndarray, "..."]]) -> Bool[np.ndarray, "..."]:
    """Keep the pixels that more than half of the masks have."""
    if len(masks) == 1:
        return masks[0]
    votes = np.zeros(masks[0].shape, np.int32)
    for mask in masks:
        votes += mask
    return 2 * votes > len(masks)
