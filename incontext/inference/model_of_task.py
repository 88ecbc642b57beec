"""A fitted segmenter → the one module that it is exported as, what is told of it, and images to check it by."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from incontext.images.examples import Example, spread
from incontext.images.orientation import PlaneLayout
from incontext.images.source_image import SourceImage
from incontext.inference.loaded_network import LoadedNetwork
from incontext.inference.model_files import Check
from incontext.inference.one_input import OneInput
from incontext.inference.presence import Judgement
from incontext.inference.segmentation import Report
from incontext.inference.support_pool import Fitted, Preparation
from incontext.networks.cross_block import CrossBlockNet
from incontext.networks.support_once import SupportOnceNet

FORMAT = "incontext-model-1"
"""Name of what a model takes and gives, and of the metadata that it has."""
CHECKED = 2
"""Labelled images by which a file is checked, each whole and in part."""


def one_input(judgement: Judgement, loaded: LoadedNetwork, preparation: Preparation, absent: str) -> OneInput:
    """Make one module of a segmenter.

    Args:
        judgement: Judgement on the labelled images, with their reader.
        loaded: Network that the reader computes with.
        preparation: Scaling, windows and size of squares.
        absent: Treatment of classes where they are improbable; see `Segmenter`.

    Raises:
        ValueError: If the network is no family of this library, or each image has a support of its own.
    """
    if not isinstance(loaded.module, SupportOnceNet | CrossBlockNet):
        msg = (
            "network cannot be exported: expected a SupportOnceNet or a CrossBlockNet, got "
            f"{type(loaded.module).__name__}. Export it by torch.export yourself."
        )
        raise ValueError(msg)
    with loaded.evaluating():
        judged = judgement.presence if judgement.may_take_off(absent) else None
        is_kept = judged is None or not judged.taken_off(absent).any()
        return OneInput(loaded.module, judgement.reader, preparation, None if is_kept else judged, absent)


def described(fitted: Fitted, report: Report, overlap: bool) -> dict[str, Any]:
    """Metadata of a model, by name."""
    return {
        "format": FORMAT,
        "classes": {str(value): name for value, name in fitted.names.items()},
        "colours": {str(value): colour for value, colour in fitted.colours.items()},
        "overlap": overlap,
        "input": "image: float32 (1, 1, height, width), grey values as files hold them; colours as ITU-R 601 luminance",
        "output": "probabilities: float32 (1, classes, height, width); unless classes overlap, background has the rest",
        "scaling": report.normalisation,
        "scaled_by_plane": fitted.preparation.normalisation.by_plane,
        "tiling": report.tiling,
        "support": report.support,
        "labelled_images": report.label_budget,
        "weights": report.weights,
        "tuning": report.tuning,
    }


def checks_of(sample: Sequence[Example], predict: Callable[[list[SourceImage]], list[np.ndarray]]) -> list[Check]:
    """Segment some labelled images, and parts of them that have other sides.

    Args:
        sample: Labelled images.
        predict: Function that gives the probabilities of images.
    """
    images = []
    for index in spread(len(sample), CHECKED):
        case = sample[index].case
        plane = case.planes[len(case.planes) // 2]
        images += [plane, plane[: -(-2 * plane.shape[0] // 3), plane.shape[1] // 4 :]]
    cases = [_alone(np.ascontiguousarray(each), sample[0].case) for each in images]
    with warnings.catch_warnings(action="ignore"):
        found = predict(cases)
    return [Check(case.planes[0], each.reshape(-1, *case.shape)) for case, each in zip(cases, found, strict=True)]


def _alone(plane: np.ndarray, case: SourceImage) -> SourceImage:
    """A plane as an image that knows of no other plane, and no spacing."""
    return replace(
        case, planes=plane[None], kind="image", shape=plane.shape, view=PlaneLayout(), spacing_mm=None, geometry=None
    )
