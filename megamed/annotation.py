"""Annotations of one image: labels that may overlap, that may be unknown, and that several people may have drawn."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from megamed.schema import ANNOTATOR_MARK
from megamed.unknown import agreed, foreground, marked, possible

VALUES = 256


@dataclass(frozen=True)
class Annotation:
    """The labels that one annotator gave one image."""

    layers: tuple[UInt8[np.ndarray, "..."], ...]
    """Label maps; where labels overlap, each is in a map of its own."""
    known: frozenset[int]
    """Label values that were annotated; the others may be anywhere."""
    unknown: Bool[np.ndarray, "..."] | None = None
    """Pixels that nobody judged; None if there are none. What is drawn there nevertheless counts."""

    @property
    def is_empty(self) -> bool:
        """Whether no pixel has any label."""
        return not any(layer.any() for layer in self.layers)

    def union(self, values: Iterable[int]) -> UInt8[np.ndarray, "..."] | None:
        """Unite labels to a binary one, with `UNKNOWN` where nobody judged; None if one of them is unknown."""
        values = list(values)
        if not self.known.issuperset(values):
            return None
        wanted = np.zeros(VALUES, bool)
        wanted[values] = True
        first, *others = (wanted[layer] for layer in self.layers)
        for other in others:
            first |= other
        return marked(first, self.unknown)

    def cut(self, plane: Callable[[Shaped[np.ndarray, "..."]], Shaped[np.ndarray, "..."]]) -> "Annotation":
        """Take the same plane, or other part, of each label map."""
        unknown = None if self.unknown is None else plane(self.unknown)
        return Annotation(tuple(plane(layer) for layer in self.layers), self.known, unknown)


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
    annotations: Mapping[str, Annotation], wanted: Mapping[str, tuple[int, ...]], consensus: str = ""
) -> dict[str, UInt8[np.ndarray, "..."]]:
    """Make a binary label of each wanted union of labels that somebody annotated.

    Args:
        annotations: Annotation of each annotator by name; a single one without a name is "".
        wanted: Label values that each mask unites, by the mask's name.
        consensus: Name of the annotator whose masks are what the others agreed on; empty if there is none.

    Returns:
        The pixels that more than half of the annotators drew, or those of the consensus where it drew any, by the
        mask's name; and the mask of each other annotator who has a name as `<name>-by-<annotator>`. A mask that nobody
        annotated is missing. Pixels that nobody judged, or of which those who did not could decide, are `UNKNOWN`.
    """
    masks = {}
    for name, values in wanted.items():
        drawn = {who: mask for who, each in annotations.items() if (mask := each.union(values)) is not None}
        agreed_on = drawn.pop(consensus, None) if consensus else None
        if agreed_on is not None:
            masks[name] = agreed_on
        elif drawn:
            masks[name] = majority(list(drawn.values()))
        masks |= {f"{name}{ANNOTATOR_MARK}{who}": mask for who, mask in drawn.items() if who}
    return masks


def majority(labels: list[UInt8[np.ndarray, "..."]]) -> UInt8[np.ndarray, "..."]:
    """Keep the pixels that more than half of the labels have; unknown are those that unknown ones would decide."""
    if len(labels) == 1:
        return labels[0]
    least, most = np.zeros((2, *labels[0].shape), np.int32)
    for label in labels:
        least += foreground(label)
        most += possible(label)
    return agreed(2 * least > len(labels), 2 * most > len(labels))
