"""The packaged network tuned on each support: what it depends on, and how it is named."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.predictors import load_predictor
from benchmarks.predictors.episode import Support
from benchmarks.predictors.tuned import config_of, images_of
from incontext.networks.unknown import UNKNOWN_SHARE
from megamed.unknown import UNKNOWN

UNTUNED = "packaged-tuned"
"""Of fewer than four examples it learns nothing."""
QUICK = "packaged-tuned@steps=1,queries=2,set_size=3,learned=head,learning_rate=0.01"


def of_one_support(episodes: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Two queries that share a support of six."""
    query, images, labels = episodes
    return query, *(each.flatten(0, 1)[None].expand(2, -1, -1, -1, -1) for each in (images, labels))


def test_neither_batch_nor_order_of_the_support_matters(episodes: Any) -> None:
    query, images, labels = of_one_support(episodes)
    order = [3, 0, 5, 1, 4, 2]
    with torch.inference_mode():
        together = load_predictor(QUICK).predict(query, images, labels)
        alone = load_predictor(QUICK).predict(query[1:], images[1:, order], labels[1:, order])
    assert torch.equal(together[1:], alone)


def test_a_network_that_is_not_tuned_is_the_packaged_one(episodes: Any) -> None:
    with torch.inference_mode():
        tuned, packaged = (load_predictor(name).predict(*episodes) for name in (UNTUNED, "packaged"))
    torch.testing.assert_close(tuned, packaged, rtol=1e-4, atol=1e-4)


def test_what_nobody_judged_stays_unknown() -> None:
    labels = torch.tensor([0.0, 1.0, UNKNOWN_SHARE, 0.0]).view(1, 1, 2, 2)
    found = images_of(Support(torch.zeros(1, 1, 2, 2), labels, "")).labels
    assert found.flatten().tolist() == [0, 1, UNKNOWN, 0]


def test_settings_are_part_of_the_identity() -> None:
    usual, quick = (load_predictor(name) for name in ("packaged-tuned", QUICK))
    assert quick.name == QUICK
    assert usual.fingerprint != quick.fingerprint
    assert usual.provenance == load_predictor("packaged").provenance


def test_settings_stand_in_the_name() -> None:
    config = config_of("packaged-tuned@steps=7,learned=head/guess,learning_rate=1e-3")
    assert (config.steps, config.learned, config.learning_rate) == (7, ("head", "guess"), 1e-3)


@pytest.mark.parametrize("settings", ["steps=0", "speed=3", "steps"])
def test_impossible_settings_are_refused(settings: str) -> None:
    with pytest.raises(ValueError, match=r"is no tuning: expected settings among steps, .*Correct what follows @"):
        load_predictor(f"packaged-tuned@{settings}")
