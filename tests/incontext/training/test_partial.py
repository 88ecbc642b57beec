"""Labels that are shown in part."""

import numpy as np
import torch

from incontext.training.partial import PARTIAL, partly_known
from megamed.unknown import UNKNOWN_SHARE


def squares(count: int) -> torch.Tensor:
    labels = torch.zeros(count, 1, 32, 32)
    labels[:, :, 8:20, 10:24] = 1
    return labels


def test_what_is_known_is_true_and_the_rest_unknown() -> None:
    labels = squares(200)
    before = labels.clone()
    shown = partly_known(labels, np.random.default_rng(0))
    assert torch.equal(labels, before)
    known = shown != UNKNOWN_SHARE
    assert (shown[known] == labels[known]).float().mean() > 0.99, "but for boxes that are drawn in haste"
    whole = known.flatten(1).all(1)
    assert 0.2 < whole.float().mean() < 1.3 - PARTIAL
    assert known.flatten(1).any(1).all()
    assert ((shown == 1) & known).flatten(1).any(1).float().mean() > 0.8, "all but boxes show some of the structure"


def test_nothing_is_invented_where_nothing_is() -> None:
    shown = partly_known(torch.zeros(50, 1, 32, 32), np.random.default_rng(0))
    assert not (shown == 1).any()
    assert (shown == 0).flatten(1).any(1).all()
