"""The plugin for napari: planes of an Image layer are segmented by those that a Labels layer shows drawn.

It needs napari for nothing but its viewer; the manifest is `napari.yaml`.
"""

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Integer, Shaped

from incontext.images.prompts import Prompts
from incontext.segmenter import Segmenter

if TYPE_CHECKING:
    import napari


def segment_layers(
    image: "napari.layers.Image",
    labels: "napari.layers.Labels",
    inside: "napari.layers.Points | None" = None,
    outside: "napari.layers.Points | None" = None,
    propagate: bool = False,
) -> "napari.types.LabelsData":
    """Segment what layers of the viewer show as `segment_rest` does, which takes their data.

    napari 0.9 adds no result of a function of bare data of which some is optional and missing.
    """
    said, denied = (None if each is None else each.data for each in (inside, outside))
    return segment_rest(image.data, labels.data, said, denied, propagate)


def segment_rest(
    image: "napari.types.ImageData",
    labels: "napari.types.LabelsData",
    inside: "napari.types.PointsData | None" = None,
    outside: "napari.types.PointsData | None" = None,
    propagate: bool = False,
) -> "napari.types.LabelsData":
    """Segment the planes of an image on which no label is drawn, by those on which one is.

    Args:
        image: Planes (N, H, W) of a stack or volume.
        labels: Labels of the planes; those that are 0 throughout are to be segmented.
        inside: Points of a Points layer that are in the structure, on planes that are to be segmented.
        outside: Points that are not.
        propagate: Whether planes follow each other closely, so that labels travel from plane to plane.

    Returns:
        The labels, and masks on all other planes.

    Raises:
        ValueError: If nothing is labelled, or the layers do not fit each other.
    """
    drawn, rest = _parts(np.asarray(image), np.asarray(labels))
    result, segmenter = np.array(labels, dtype=np.uint8), _segmenter()
    with warnings.catch_warnings(action="ignore"):
        if propagate:
            found = segmenter.propagate(np.asarray(image), {index: result[index] for index in drawn}, axis=0)
            return np.asarray(found.masks[0])
        segmenter.fit([image[index] for index in drawn], [result[index] for index in drawn])
        prompts = [_prompts(index, inside, outside) for index in rest]
        if rest:
            found = segmenter.predict([image[index] for index in rest], prompts=prompts if any(prompts) else None)
            result[rest] = np.stack(found.masks)
    return result


def _parts(image: Shaped[np.ndarray, "..."], labels: Integer[np.ndarray, "..."]) -> tuple[list[int], list[int]]:
    """Tell the planes that are labelled from the others, by their indices."""
    if image.ndim != 3 or image.shape != labels.shape:
        msg = (
            f"layers do not fit: expected an image (N, H, W) and labels like it, got {image.shape} and {labels.shape}."
        )
        raise ValueError(msg)
    is_drawn = labels.any(axis=(1, 2))
    if not is_drawn.any():
        msg = "nothing is labelled: expected a structure drawn on a plane, got none. Draw one in the Labels layer."
        raise ValueError(msg)
    return np.flatnonzero(is_drawn).tolist(), np.flatnonzero(~is_drawn).tolist()


def _prompts(plane: int, inside: Any, outside: Any) -> Prompts | None:
    """Read the points of a plane as clicks."""
    prompts = Prompts()
    for points, is_inside in ((inside, True), (outside, False)):
        for place in [] if points is None else np.asarray(points):
            if round(place[0]) == plane:
                prompts = prompts.click(round(place[1]), round(place[2]), is_inside)
    return prompts or None


@lru_cache(maxsize=1)
def _segmenter() -> Segmenter:
    """Load the packaged weights once."""
    return Segmenter()
