"""The masks that are taken away, one after the other: labels before drawings before predictions."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from incontext.images.source_image import SourceImage
from incontext.page.live import Live
from incontext.page.store import AnnotatedFolder, ListedImage
from megamed.annotation_tools.model import file_names


class MaskToExport(NamedTuple):
    """The mask of an image, and where it comes from: `accepted`, `drawn` or `predicted`."""

    name: str
    file_name: str
    state: str
    dice: float | None
    case: SourceImage
    planes: UInt8[np.ndarray, "N H W"]

    @property
    def pixel_size(self) -> float | None:
        """Area of a pixel in mm², or of a stack or volume the volume of a voxel in mm³; None if it is not known."""
        if self.case.kind != "image":
            return self.case.voxel_mm3
        return math.prod(self.case.spacing_mm[1:]) if self.case.spacing_mm else None


def masked(annotated: AnnotatedFolder, live: Live) -> list[tuple[int, ListedImage]]:
    """List the images that have a mask, with their indices: those that are drawn or predicted."""
    with live.lock:
        found = [*live.predictions]
    return [(index, image) for index, image in enumerate(annotated.images) if image.state != "bare" or index in found]


def count_masks(annotated: AnnotatedFolder, live: Live) -> dict[str, int]:
    """Count the images that have a mask, by where it comes from: `accepted`, `drawn` or `predicted`."""
    states = (image.state for _, image in masked(annotated, live))
    return dict(Counter("predicted" if state == "bare" else state for state in states))


def masks_of(annotated: AnnotatedFolder, live: Live) -> Iterator[MaskToExport]:
    """Yield the masks of all images that have one, labels before drawings before predictions."""
    files = file_names([image.pair.image for image in annotated.images])
    for index, image in masked(annotated, live):
        file, found = files[index], live.predictions.get(index)
        if image.state != "bare":
            with live.lock:
                opened = annotated.open(index)
                yield MaskToExport(image.name, file, image.state, None, opened.case, opened.drawing.planes.copy())
        elif found:
            case = annotated.look.read(image.pair)
            yield MaskToExport(image.name, file, "predicted", found.dice, case, found.planes)
