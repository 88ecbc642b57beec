"""The masks that are taken away, one after the other: what is drawn before what was predicted."""

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
from megamed.failures import Attempt


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


class LackingMask(NamedTuple):
    """An image whose mask cannot be taken away, and the reason."""

    name: str
    reason: str


def masked(annotated: AnnotatedFolder, live: Live) -> list[tuple[int, ListedImage]]:
    """List the images that have a mask, with their indices: those that are drawn or predicted."""
    with live.lock:
        found = [*live.predictions]
    return [(index, image) for index, image in enumerate(annotated.images) if image.state != "bare" or index in found]


def count_masks(annotated: AnnotatedFolder, live: Live) -> dict[str, int]:
    """Count the images that have a mask and a file, by where it comes from: `accepted`, `drawn` or `predicted`."""
    states = (image.state for _, image in masked(annotated, live) if not image.is_missing)
    return dict(Counter("predicted" if state == "bare" else state for state in states))


def masks_of(annotated: AnnotatedFolder, live: Live) -> Iterator[MaskToExport | LackingMask]:
    """Yield the masks of all images that have one; in place of those that cannot be read, the reason."""
    files = file_names([image.pair.image for image in annotated.images])
    for index, image in masked(annotated, live):
        with Attempt() as attempt:
            found = _mask_of(annotated, live, index, files[index])
        yield LackingMask(image.name, attempt.reason) if attempt.error else found


def _mask_of(annotated: AnnotatedFolder, live: Live, index: int, file_name: str) -> MaskToExport:
    """The mask of an image: its label or drawing, else what was predicted.

    Raises:
        ValueError: If the image cannot be used.
        OSError: If it cannot be read.
    """
    image = annotated.images[index]
    if image.is_missing:  # though it may be open still: most forms are written beside it
        msg = f"{image.pair.image} is gone: expected the image of a mask. Put it back where it was."
        raise FileNotFoundError(msg)
    with live.lock:
        if image.state != "bare":
            opened = annotated.open(index)
            return MaskToExport(image.name, file_name, image.state, None, opened.case, opened.drawing.planes.copy())
        found = live.predictions[index]
    case = annotated.look.read(image.pair)
    return MaskToExport(image.name, file_name, "predicted", found.dice, case, found.planes)
