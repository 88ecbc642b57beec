"""Successive frames, each an image of its own, as one stack of planes."""

from pathlib import Path

import numpy as np

from incontext.images.arrays import Picture
from incontext.images.channels import Channel
from incontext.images.examples import as_source_image, called
from incontext.images.source_image import SourceImage

Frames = list[Picture | SourceImage] | list[Path] | list[np.ndarray] | tuple[Picture | SourceImage, ...]
"""Successive frames of one size, in any form that an image may have."""


def read_frames(frames: Frames, channel: Channel = None, level: int = 0) -> SourceImage:
    """Read successive frames as one stack, whose planes they are.

    Args:
        frames: The frames in their order.
        channel: The channel to look at, where there are several.
        level: Level of the resolution of frames that have several.

    Raises:
        ValueError: If there are none, one is no single image, or they differ in size.
        OSError: If a file cannot be read.
    """
    if not frames:
        msg = "frames are missing: expected at least one, got an empty list. Pass the frames in their order."
        raise ValueError(msg)
    planes: list[np.ndarray] = []
    dtype = np.dtype(np.uint8)
    for index, frame in enumerate(frames):
        name = called(frame, f"frames[{index}]")
        case = as_source_image(frame, name, None, channel, level)
        if case.kind != "image":
            msg = f"{name} is no frame: expected a single image, got a {case.kind} of {case.shape}. Pass it by itself."
            raise ValueError(msg)
        if planes and case.shape != planes[0].shape:
            msg = (
                f"{name} is of another size: expected {planes[0].shape} as of the first frame, got {case.shape}. "
                "Crop or resize all frames alike, or propagate through those of each size by themselves."
            )
            raise ValueError(msg)
        planes.append(case.planes[0])
        dtype = np.promote_types(dtype, case.dtype)
    return SourceImage(np.stack(planes), "stack", (len(planes), *planes[0].shape), dtype)
