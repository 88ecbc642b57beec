"""Prediction of source images, with only as many squares in memory as the network computes at a time."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from incontext.images.case_planes import emptied
from incontext.images.source_image import SourceImage
from incontext.inference.planes import CasePrediction, Plane
from incontext.inference.reader import Doubt, Reader
from incontext.inference.support_pool import Preparation

Judge = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function from images (N, 1, H, W), how far the grey values (N, 2) of the planes that they are of reach, and their
log-odds (N, C, H, W) to the probability (N, C) that each class is there."""


def predict_cases(
    cases: Iterable[SourceImage], preparation: Preparation, reader: Reader | Doubt, judge: Judge | None = None
) -> list[CasePrediction]:
    """Compute log-odds of every source image, or its uncertainty if the reader is a `Doubt`.

    Squares are batched across source images. Predictions keep only a copy of each image that is emptied of its pixels,
    so that a lazy iterable of images is never in memory as a whole.
    """
    hollow: list[SourceImage] = []

    def squares() -> Iterator[tuple[np.ndarray, tuple[float, float]]]:
        for case in cases:
            hollow.append(emptied(case))
            yield from preparation.seen(case)

    waiting = squares()
    logits: list[Tensor] = []
    presence: list[Tensor] = []
    while batch := list(islice(waiting, reader.queries_per_batch)):
        seen, reaches = zip(*batch, strict=True)
        images = torch.from_numpy(np.stack(seen))[:, None].to(reader.device)  # once for reader and judge
        logits += (found := reader(images))
        presence += judge(images, torch.tensor(reaches), found) if judge else []
    rest, judged = iter(logits), iter(presence)

    def planes(case: SourceImage) -> Iterator[Plane]:
        boxes = preparation.boxes(case)
        for _ in case.planes:
            squares, probable = list(islice(rest, len(boxes))), list(islice(judged, len(boxes)))
            yield Plane(case.planes.shape[1:], boxes, torch.stack(squares), torch.stack(probable) if judge else None)

    return [CasePrediction(case, list(planes(case))) for case in hollow]
