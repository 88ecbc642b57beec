"""Messages and arrays of nnInteractive's clients, the latter read only if they fit into memory."""

import json
import math
import struct
from typing import Annotated, Any

import numpy as np
from fastapi import Response
from jaxtyping import Bool, Shaped
from nnInteractive.inference.remote._protocol import CONTENT_TYPE_OCTET_STREAM, META_HEADER
from nnInteractive.inference.remote.serialization import pack_array, unpack_array
from pydantic import BaseModel, Field, FiniteFloat

from incontext.images.source_image import WORKING_BYTES
from megamed.readers.memory import free_bytes
from megamed.readers.volume import MAX_VOXELS

NUMBERS = {
    "bool",
    *(f"float{bits}" for bits in (16, 32, 64)),
    *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)),
}
"""Types of the numbers of arrays, by name."""
BEGINNING = struct.Struct("<4sBBBB")
"""Mark, version, codec, number of axes and length of the type's name, which precedes the lengths of the axes."""
NO_FILTER: list[Any] = []

Place = Annotated[float, Field(ge=-(2**31), le=2**31, allow_inf_nan=False)]
"""Place along an axis of the image, in voxels; fractions belong to the nearest voxel."""
Ends = tuple[Place, Place]
"""First place along an axis, and the one beyond the last."""
Box = tuple[Ends, Ends, Ends]
Spacing = Annotated[FiniteFloat, Field(gt=0)]


class Interaction(BaseModel):
    """A word on the structure; a scribble or lasso may be sent as the box that it fills."""

    include_interaction: bool
    run_prediction: bool = True
    interaction_bbox: Box | None = None


class PointMessage(Interaction):
    """A point that is said to be inside or outside."""

    coordinates: tuple[Place, Place, Place]


class BoxMessage(Interaction):
    """A box that is said to be around the structure, or outside of it."""

    bbox_coords: Box


class BeginningMessage(BaseModel):
    """A mask to begin with, which is to be gone on from at once or later."""

    run_prediction: bool = False


class VolumeProperties(BaseModel):
    """Distances of voxels along the three axes, in millimetres, if they are known."""

    spacing: tuple[Spacing, Spacing, Spacing] | None = None


class VolumeMessage(BaseModel):
    """Properties of a volume."""

    image_properties: VolumeProperties = VolumeProperties()


class BufferMessage(BaseModel):
    """Shape of the mask that a client keeps."""

    shape: tuple[int, int, int]


def unpacked(body: bytes, axes: int) -> Shaped[np.ndarray, "..."]:
    """Read a packed array.

    Args:
        body: Body of a request.
        axes: Number of axes that the array must have.

    Raises:
        ValueError: If it is damaged, too large, or another array.
    """
    most = min(MAX_VOXELS, int(free_bytes() / WORKING_BYTES))
    try:
        *_, count, length = BEGINNING.unpack_from(body)
        kind = body[BEGINNING.size : BEGINNING.size + length].decode("ascii")
        shape = struct.unpack_from(f"<{count}q", body, BEGINNING.size + length)
        if kind in NUMBERS and count == axes and min(shape) > 0 and math.prod(shape) <= most:
            return unpack_array(body)
    except (ValueError, struct.error, RuntimeError) as error:
        msg = f"array is damaged: expected what pack_array makes, got another body: {error}. Send it again."
        raise ValueError(msg) from error
    msg = (
        f"array is not usable: expected {axes} axes of at most {most} numbers, got {kind} {shape}. Send a part of the "
        "image, or give the server more memory."
    )
    raise ValueError(msg)


def changed_box(before: Bool[np.ndarray, "X Y Z"], after: Bool[np.ndarray, "X Y Z"]) -> list[list[int]] | None:
    """First index along each axis of what differs, and the one beyond the last; None if nothing does."""
    differs = before != after
    if not differs.any():
        return None
    along = [np.flatnonzero(differs.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return [[int(each[0]), int(each[-1]) + 1] for each in along]


def answer(ran: bool, before: Bool[np.ndarray, "X Y Z"], after: Bool[np.ndarray, "X Y Z"]) -> Response:
    """Tell a client whether anything was done, and the part of the mask that differs from the one that it has."""
    box = changed_box(before, after)
    told: dict[str, Any] = {"ran_prediction": ran, "bbox": box}
    content = b""
    if box is not None:
        part = after[tuple(slice(*ends) for ends in box)].astype(np.uint8)
        told |= {"dtype": part.dtype.name, "shape": part.shape}
        content = pack_array(part, filters=NO_FILTER)
    return Response(content, media_type=CONTENT_TYPE_OCTET_STREAM, headers={META_HEADER: json.dumps(told)})
