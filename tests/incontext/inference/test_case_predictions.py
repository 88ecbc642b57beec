"""Predictions of source images, batched across them, with a reader whose answers are foreseen."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from incontext.images.normalisation import Normalisation
from incontext.images.source_image import SourceImage, read_source_image
from incontext.images.tiling import Tiling
from incontext.inference.case_predictions import predict_cases
from incontext.inference.reader import Reader
from incontext.inference.support_pool import Preparation

PREPARATION = Preparation(Normalisation("min-max"), Tiling(None, ""), 4)


class Echo(Reader):
    """Answers every query with its own grey values."""

    device = torch.device("cpu")

    def __init__(self, queries_per_batch: int) -> None:
        self.most = queries_per_batch

    @property
    def queries_per_batch(self) -> int:
        return self.most

    def __call__(self, queries: Tensor) -> Tensor:
        assert 0 < len(queries) <= self.most
        return queries


def ramps() -> list[SourceImage]:
    """An image, a stack of three planes and an oblong image, each brighter to the right."""
    shapes = [(8, 8), (3, 9, 8), (8, 12)]
    return [
        read_source_image(
            np.broadcast_to(np.arange(shape[-1]), shape).copy(), "image", axis=0 if len(shape) == 3 else None
        )
        for shape in shapes
    ]


def test_images_are_read_as_they_are_needed() -> None:
    log = []

    class Blank(Reader):
        device = torch.device("cpu")
        queries_per_batch = 2

        def __init__(self) -> None:
            """Knows no pool."""

        def __call__(self, queries: Tensor) -> Tensor:
            log.append(f"segment {len(queries)}")
            return torch.zeros_like(queries)

    def cases() -> Iterator[SourceImage]:
        for shape in [(8, 8), (3, 9, 8), (8, 9)]:
            log.append("read")
            yield read_source_image(np.zeros(shape), "image", axis=0 if len(shape) == 3 else None)

    found = predict_cases(cases(), PREPARATION, Blank())
    assert log == ["read", "read", "segment 2", "segment 2", "read", "segment 1"]
    assert [len(each.planes) for each in found] == [1, 3, 1]


@pytest.mark.parametrize("queries_per_batch", [1, 2, 4, 9])
@pytest.mark.parametrize("tiling", [Tiling(None, ""), Tiling(4, "")])
def test_each_image_gets_the_answers_to_its_own_squares(tiling: Tiling, queries_per_batch: int) -> None:
    preparation = Preparation(PREPARATION.normalisation, tiling, PREPARATION.size_px)
    found = predict_cases(ramps(), preparation, Echo(queries_per_batch))
    for prediction, case in zip(found, ramps(), strict=True):
        expected = np.stack(list(preparation.squares(case)))
        logits = torch.cat([plane.logits for plane in prediction.planes])[:, 0]
        np.testing.assert_array_equal(logits.numpy(), expected)
        assert prediction.case.shape == case.shape


def test_predictions_keep_no_pixels_of_their_image() -> None:
    for prediction in predict_cases(ramps(), PREPARATION, Echo(2)):
        assert not prediction.case.planes.any()
        assert prediction.case.planes.strides == (0, 0, 0)


def test_no_image_has_no_prediction() -> None:
    assert predict_cases([], PREPARATION, Echo(2)) == []


def test_reader_and_judge_are_shown_the_same_squares() -> None:
    """Features that were computed for one serve the other then, on any device."""
    shown: list[Tensor] = []

    class Shown(Echo):
        device = torch.device("meta")

        def __call__(self, queries: Tensor) -> Tensor:
            shown.append(queries)
            return torch.zeros(queries.shape)

    reached: list[list[float]] = []

    def judge(images: Tensor, reaches: Tensor, log_odds: Tensor) -> Tensor:
        assert images is shown[-1]
        reached.extend(reaches.tolist())
        return torch.ones(len(log_odds), 1)

    dark = read_source_image(np.stack([np.full((4, 4), each, np.uint8) for each in (0, 51, 255)]), "image", axis=0)
    predict_cases([*ramps(), dark], PREPARATION, Shown(2), judge)
    assert reached == [[0, 1]] * 5 + [[0, 0], [pytest.approx(0.2)] * 2, [1, 1]]
    assert {each.device.type for each in shown} == {"meta"}
