"""Volumes on the page: from the planes that were drawn to all others."""

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import UInt8

from incontext.images.case_planes import plane_of
from incontext.images.source_image import SourceImage
from incontext.page.prediction import Prediction
from incontext.page.store import OpenImage
from incontext.segmenter import Segmenter
from megamed.unknown import UNKNOWN

PROPAGATE = "propagate"
"""Name of propagation among the tools of a drawing."""


@dataclass(frozen=True)
class PropagationTask:
    """A wish to propagate through a volume, with all that is drawn on it by then.

    Attributes:
        case: The volume.
        drawn: Values of the classes in the planes that were drawn on, by the index of the plane.
        names: Names of the classes by label value.
    """

    case: SourceImage
    drawn: Mapping[int, UInt8[np.ndarray, "H W"]]
    names: Mapping[int, str]

    @classmethod
    def of(cls, opened: OpenImage, names: Mapping[int, str]) -> Self:
        """Take what is drawn on a volume.

        Args:
            opened: The volume.
            names: Names of all classes by label value.

        Raises:
            ValueError: If nothing is drawn there, or it has but one plane.
        """
        planes = opened.drawing.planes
        drawn = {index: planes[index].copy() for index in opened.drawing.drawn}
        shown = {int(value) for plane in drawn.values() for value in np.unique(plane)}
        if len(planes) < 2 or not shown - {0, UNKNOWN}:
            msg = (
                "there is nothing to propagate: expected a volume or stack with a structure drawn on a slice, got "
                f"{len(planes)} slices, {len(drawn)} of them drawn on. Draw it on one slice or more."
            )
            raise ValueError(msg)
        return cls(opened.case, drawn, {value: name for value, name in names.items() if value in shown})

    def run(self, segmenter: Segmenter) -> tuple[Prediction, int | None]:
        """Segment all planes.

        Returns:
            The mask, and the index of the plane whose drawing would help most; None if all are drawn.
        """
        flat = plane_of(self.case, 0)
        labels = {
            index: np.ascontiguousarray(flat.view.array(plane[None])).reshape(flat.shape)
            for index, plane in self.drawn.items()
        }
        if any((plane == UNKNOWN).any() for plane in self.drawn.values()):
            segmenter = copy.copy(segmenter).set_params(unknown=(UNKNOWN,))
        result = segmenter.propagate(self.case, labels, self.names)
        following = None
        with suppress(ValueError):  # all planes are drawn
            following = result.next_plane()
        return Prediction.of(result, 0), following


@dataclass(frozen=True)
class Propagated:
    """Outcome of a propagation.

    Attributes:
        count: Number of propagations through this volume since the program began.
        dice: Predicted Dice; None if the weights predict none.
        next_plane: Index of the plane whose drawing would help most; None if all are drawn.
    """

    count: int
    dice: float | None
    next_plane: int | None


def put(opened: OpenImage, found: Prediction) -> None:
    """Put a mask that was propagated into a drawing, but for the planes that were drawn on; it can be taken back."""
    planes = found.planes.copy()
    for index in opened.drawing.drawn:
        planes[index] = opened.drawing.planes[index]
    opened.drawing.replace(planes, PROPAGATE)
