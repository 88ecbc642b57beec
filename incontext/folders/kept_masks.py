"""Masks read back from their files, and those that somebody edited told from those that are damaged."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from incontext.images.source_image import SourceImage, read_label_image
from incontext.inference.support_pool import Fitted
from megamed.label_values import LabelRules

ITS_OWN = LabelRules((), instances=False)
"""Meaning of the values of a mask that was written here: each is a class."""

EDITED = "mask was edited since it was written: it is kept, and measured as it stands. Delete it to have it made anew."
"""Warning of a mask that somebody edited."""


def read_back(path: Path, name: str, case: SourceImage, fitted: Fitted) -> UInt8[np.ndarray, "N H W"]:
    """Read a mask's file as label values on the planes of its image.

    Raises:
        ValueError: If the file is damaged, or does not fit the image.
        OSError: If it cannot be read.
    """
    planes = read_label_image(path, name, case, ITS_OWN).planes
    if not name.endswith(".dcm"):
        return planes
    values = np.array([0, *sorted(fitted.names)], dtype=np.uint8)  # a DICOM-SEG counts its segments from 1
    if planes.max(initial=0) >= len(values):
        message = f"{name} holds other segments: expected at most {len(values) - 1}, got number {planes.max()}."
        raise ValueError(message)
    return values[planes]


def read_edited(path: Path, case: SourceImage, fitted: Fitted, ours: bytes) -> UInt8[np.ndarray, "N H W"] | None:
    """Read what somebody made of a mask that was written here; None if it is the same, but damaged or cut off.

    Args:
        path: File of other content than was written.
        case: Image of the mask.
        fitted: Classes of the mask.
        ours: Content that would be written there now.
    """
    if ours.startswith(path.read_bytes()):
        return None
    try:
        return read_back(path, path.name, case, fitted)
    except (ValueError, OSError):
        return None
