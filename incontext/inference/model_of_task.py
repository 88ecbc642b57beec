"""A fitted segmenter → the one module that it is exported as, what is told of it, and images to check it by."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from incontext.images.examples import spread
from incontext.images.orientation import PlaneLayout
from incontext.images.source_image import SourceImage
from incontext.inference.loaded_network import LoadedNetwork
from incontext.inference.model_files import Check
from incontext.inference.model_format import FORMAT
from incontext.inference.one_input import OneInput
from incontext.inference.presence import Judgement
from incontext.inference.segmentation import Report
from incontext.inference.support_pool import Fitted, Preparation
from incontext.networks.cross_block import CrossBlockNet
from incontext.networks.support_once import SupportOnceNet

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
        judged = judgement.remover(absent)
        is_kept = judged is None or not judged.off_below(absent).any()
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


def checks_of(fitted: Fitted, predict: Callable[[list[Any]], list[np.ndarray]]) -> list[Check]:
    """Segment some labelled images, or a drawn one where a task has none, and parts of them that have other sides.

    Args:
        fitted: Labelled images, and how images are prepared.
        predict: Function that gives the probabilities of images.
    """
    sample = fitted.sample
    cases = [sample[index].case for index in spread(len(sample), CHECKED)] if sample else []
    planes = [case.planes[len(case.planes) // 2] for case in cases] or [_drawn(fitted.preparation)]
    parts = [plane[: -(-2 * plane.shape[0] // 3), plane.shape[1] // 4 :] for plane in planes]
    images = [np.ascontiguousarray(each) for each in (*planes, *parts)]
    with warnings.catch_warnings(action="ignore"):
        found = predict([_alone(each, cases[0]) if cases else each for each in images])
    return [Check(image, each.reshape(-1, *image.shape)) for image, each in zip(images, found, strict=True)]


def _drawn(preparation: Preparation) -> Float32[np.ndarray, "H W"]:
    """Waves with noise, in the range of the grey values where that is known."""
    side_px, scale = preparation.tiling.side_px or preparation.size_px, preparation.normalisation
    rows, columns = np.mgrid[:side_px, : 3 * side_px // 2] * (9 / side_px)
    waves = np.sin(rows) * np.cos(columns) / 3 + np.random.default_rng(0).normal(0.5, 0.1, rows.shape)
    low, high = (0, 1) if scale.low is None or scale.high is None else (scale.low, scale.high)
    return (low + waves * (high - low)).astype(np.float32)


def _alone(plane: np.ndarray, case: SourceImage) -> SourceImage:
    """A plane as an image that knows of no other plane, and no spacing."""
    return replace(
        case, planes=plane[None], kind="image", shape=plane.shape, view=PlaneLayout(), spacing_mm=None, geometry=None
    )
