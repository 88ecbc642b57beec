"""The predictors that learn nothing: by hand and by law."""

from typing import Any

import pytest
import torch

from benchmarks.predictors import Predictor, mean_mask, nearest_copy


def test_mean_mask_by_hand() -> None:
    labels = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0]]).reshape(1, 4, 1, 1, 4)
    logits = mean_mask(torch.zeros(1, 1, 1, 4), torch.zeros(1, 4, 1, 1, 4), labels)
    assert (logits >= 0).flatten().tolist() == [True, True, True, False]  # half of the labels is enough


def test_nearest_copy_returns_the_label_of_the_image_itself(episodes: Any) -> None:
    _, images, labels = episodes
    for place in range(3):
        logits = nearest_copy(images[:, place], images, labels)
        assert torch.equal(logits >= 0, labels[:, place] > 0)


@pytest.mark.parametrize("predictor", [mean_mask, nearest_copy])
def test_neither_batch_nor_order_of_the_support_matters(predictor: Predictor, check_exact: Any) -> None:
    check_exact(lambda: predictor)
