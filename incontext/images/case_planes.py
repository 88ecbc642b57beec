"""Planes of a case: one by itself, none but their grid, and values on them brought back to the source's own grid."""

from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from incontext.images.orientation import PlaneLayout
from incontext.images.source_image import SourceImage


def on_grid(planes: Shaped[np.ndarray, "N H W"], case: SourceImage) -> Shaped[np.ndarray, "*grid"]:
    """Values on the planes of a case, brought onto the grid of its source."""
    return np.ascontiguousarray(case.view.array(planes)).reshape(case.shape)


def plane_of(case: SourceImage, place: int) -> SourceImage:
    """A plane of a stack or volume as an image, on the grid that the source's array has there."""
    others = sorted({0, 1, 2} - {case.axis})
    down, across = (1 + others.index(axis) for axis in case.view.axes[1:])
    return replace(
        case,
        planes=case.planes[[place]],
        kind="image",
        shape=tuple(case.grid[axis] for axis in others),
        view=PlaneLayout((0, down, across), (1, *case.view.steps[1:])),
        geometry=None,
    )


def emptied(case: SourceImage) -> SourceImage:
    """A case whose planes take no memory: all that is needed to lay a mask on its grid."""
    return replace(case, planes=np.broadcast_to(np.float32(0), case.planes.shape))
