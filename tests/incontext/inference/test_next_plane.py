"""The plane to draw next."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pytest
import torch

from incontext.images.source_image import SourceImage
from incontext.inference.next_plane import next_plane
from incontext.inference.planes import CasePrediction, Classes, DrawnPlane, Plane
from incontext.inference.segmentation import Report, Segmentation
from megamed.squares import Box

SIDE_PX = 8


def found(doubts: list[float], drawn: Collection[int] = (), classes: int = 1) -> CasePrediction:
    """A stack whose planes are as uncertain as is said: log-odds of 0 in that share of them."""
    planes: list[Plane | DrawnPlane] = []
    for index, doubt in enumerate(doubts):
        logits = torch.full((1, classes, SIDE_PX, SIDE_PX), -9.0)
        logits[:, :, : round(SIDE_PX * doubt)] = 0
        planes.append(Plane((SIDE_PX, SIDE_PX), [Box(0, 0, SIDE_PX, SIDE_PX)], logits))
        if index in drawn:
            planes[-1] = DrawnPlane(np.zeros((SIDE_PX, SIDE_PX), np.uint8), range(1, classes + 1))
    grey = np.zeros((len(doubts), SIDE_PX, SIDE_PX), np.float32)
    return CasePrediction(SourceImage(grey, "stack", grey.shape, grey.dtype), planes)


@pytest.mark.parametrize(
    ("doubts", "drawn", "expected"),
    [
        ([0.5] * 7, (0, 6), 3),
        ([0.5] * 9, (0,), 5),
        ([0.5] * 9, (), 4),
        ([0, 0, 0, 1, 0, 0, 0.25, 0, 0], (0, 8), 3),
        ([0, 1, 0, 0, 0, 0, 0.5, 0, 0], (0, 8), 1),
        ([0, 0.25, 0, 0, 0.5, 0.5, 0, 0, 0], (0, 8), 5),
    ],
)
@pytest.mark.parametrize("classes", [1, 2])
def test_it_is_uncertain_and_far_from_what_was_drawn(
    doubts: list[float], drawn: tuple[int, ...], expected: int, classes: int
) -> None:
    case, names = found(doubts, drawn, classes), Classes({value: str(value) for value in range(1, classes + 1)})
    assert next_plane(case, names) == expected
    assert next_plane(case, Classes(names.names, overlap=True)) == expected
    report = Report("", "", 1, "", None)
    assert Segmentation([case], names, report).next_plane() == expected


def test_prompted_planes_count_as_drawn_and_none_may_be_left() -> None:
    case = found([0.5] * 3, (0, 2))
    assert next_plane(case, Classes({1: "1"})) == 1
    plane = case.planes[1]
    assert isinstance(plane, Plane)
    said = replace(plane, is_prompted=True)
    with pytest.raises(ValueError, match="no plane is left: expected some that nobody drew, got labels of all 3"):
        next_plane(CasePrediction(case.case, [case.planes[0], said, case.planes[2]]), Classes({1: "1"}))
