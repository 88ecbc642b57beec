"""Automatic annotation in CVAT: `cvat-cli task auto-annotate` asks this for the masks of each frame.

    cvat-cli task auto-annotate 137 --function-module incontext.page.cvat_function -p task=str:my.task

See https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation/.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from incontext.folders.segmenter_options import SegmenterOptions
from incontext.folders.user_folder import fit_folder
from incontext.segmenter import Segmenter
from megamed.outlines import keyhole, trace


class CvatFunction:
    """A detection function of CVAT's, whose labels are the classes of a segmenter.

    Args:
        segmenter: Segmenter with examples.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter

    @property
    def spec(self) -> Any:
        """The labels, which CVAT matches with those of its task by their names."""
        from cvat_sdk.auto_annotation import DetectionFunctionSpec, label_spec

        names = self._segmenter.fitted.names
        return DetectionFunctionSpec(labels=[label_spec(name, value, type="any") for value, name in names.items()])

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        """Segment a frame.

        Args:
            context: Wishes of the caller, of which one is for polygons in place of masks.
            image: The frame.

        Returns:
            A mask of each class that is there, or its polygons.
        """
        from cvat_sdk.auto_annotation import mask, polygon
        from cvat_sdk.masks import encode_mask

        with warnings.catch_warnings(action="ignore"):
            result = self._segmenter.predict(image)
        layers = {value: result.layer(0, value) for value in result.classes}
        if context.conv_mask_to_poly:
            rings = ((value, keyhole(each)) for value, layer in layers.items() for each in trace(layer))
            return [polygon(value, ring.astype(float).reshape(-1).tolist()) for value, ring in rings]
        return [mask(value, encode_mask(np.asarray(layer, bool))) for value, layer in layers.items() if layer.any()]


def create(task: str = "", support: str = "", weights: str = "") -> CvatFunction:
    """Make the function: CVAT passes what is named by `-p`.

    Args:
        task: File of a saved task.
        support: Folder of labelled images, where there is no saved task.
        weights: `default`, `open` or a checkpoint file.

    Raises:
        ValueError: If neither a task nor a folder is named, or it cannot be used.
        OSError: If it cannot be read.
    """
    if bool(task) == bool(support):
        msg = (
            f"examples are unclear: expected a task or a support, got {task!r} and {support!r}. Pass -p task=str:PATH."
        )
        raise ValueError(msg)
    segmenter = SegmenterOptions(Path(task) if task else None, weights or None).open()
    if support:
        fit_folder(segmenter, Path(support))
    return CvatFunction(segmenter)
