"""Uncertainty by the laws of resampling, and predicted Dice by hand and by law."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from incontext.support_once import ImageCodes, SupportOnceConfig, SupportOnceNet
from incontext.trust import QualityModel, binary_entropy, promised_odds, promises, tally, uncertainty

MODEL = QualityModel(bias=-1.0, confidence=1.0, coverage=0.5, flag_below=0.6)


def new_network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)).eval()


def encode(network: SupportOnceNet, count: int) -> ImageCodes:
    torch.manual_seed(1)
    return network.encode_images(torch.rand(count, 1, 32, 32), (torch.rand(count, 1, 32, 32) > 0.5).float())


class Recorder:
    """Answers with the mean label of its support, as a logit, and remembers how large the supports were."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def segment(self, query_images: Tensor, code: Tensor) -> Tensor:
        self.sizes.append(code.shape[1])
        return code.mean(1).logit().expand_as(query_images)


class Drawn:
    """Labels that pass for codes."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    def select(self, places: Tensor) -> "Drawn":
        return Drawn(self.labels[0, places])

    def pooled(self) -> Tensor:
        return self.labels


def test_one_image_leaves_the_doubt_within_its_prediction() -> None:
    network = new_network()
    pool, queries = encode(network, 1), torch.rand(2, 1, 32, 32)
    expected = binary_entropy((network.segment(queries, pool.pooled()) / 2).sigmoid())
    torch.testing.assert_close(uncertainty(network, queries, pool, temperature=2.0), expected)


def test_the_seed_decides_and_queries_do_not_depend_on_each_other() -> None:
    network = new_network()
    pool, queries = encode(network, 5), torch.rand(3, 1, 32, 32)
    found = uncertainty(network, queries, pool, draws=4, seed=3)
    assert found.shape == queries.shape
    assert torch.equal(found, uncertainty(network, queries, pool, draws=4, seed=3))
    assert not torch.equal(found, uncertainty(network, queries, pool, draws=4, seed=4))
    torch.testing.assert_close(uncertainty(network, queries[1:2], pool, draws=4, seed=3), found[1:2])


def test_examples_that_agree_leave_no_doubt_and_those_that_do_not_do() -> None:
    # Left pixel: all of four examples say foreground. Right pixel: one of two does, so that about half of a support
    # does, and the mean over many supports is near a half.
    labels = torch.tensor([[1.0, 1], [1, 0], [1, 1], [1, 0]]).reshape(1, 4, 1, 1, 2)
    recorder = Recorder()
    left, right = uncertainty(recorder, torch.zeros(1, 1, 1, 2), Drawn(labels), draws=200).flatten().tolist()
    assert recorder.sizes == [4] * 200
    assert left == 0
    assert right > 0.99


def test_no_draws_are_an_error() -> None:
    network = new_network()
    with pytest.raises(ValueError, match="draws are too few: expected at least 1, got 0"):
        uncertainty(network, torch.rand(1, 1, 32, 32), encode(network, 2), draws=0)


def test_entropy_by_hand() -> None:
    quarter = 0.25 * 2 + 0.75 * math.log2(4 / 3)
    assert binary_entropy(torch.tensor([0.0, 0.25, 0.5, 1.0])).tolist() == pytest.approx([0, quarter, 1, 0])


def test_promises_by_hand() -> None:
    # Two pixels in the mask hold 0.9 + 0.7 of the 2.0 in the image: precision 0.8, recall 0.8.
    probabilities, masks = torch.tensor([[0.9, 0.7, 0.3, 0.1]]), torch.tensor([[True, True, False, False]])
    assert promises(probabilities, masks)[0].tolist() == pytest.approx([math.log(4), math.log(4)], rel=1e-5)
    # Odds 4 · 4 ** 0.5 / e.
    odds = 8 / math.e
    assert MODEL.predict(probabilities, masks).item() == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_an_empty_mask_and_a_certain_one_are_judged_too() -> None:
    probabilities, masks = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[False, False], [True, False]])
    empty, certain = MODEL.predict(probabilities, masks).tolist()
    assert 0 < empty < 0.01 < 0.9 < certain < 1
    assert MODEL.flags(torch.tensor([empty, certain, 0.6])).tolist() == [True, False, False]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), sharper=st.floats(1.1, 3))
def test_surer_probabilities_of_the_same_mask_promise_more(seed: int, sharper: float) -> None:
    logits = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    unsure, sure = (promises((scale * logits).sigmoid(), logits > 0) for scale in (1.0, sharper))
    assert (sure > unsure).all()


def test_a_volume_is_judged_as_a_whole_and_no_order_of_its_planes_matters() -> None:
    torch.manual_seed(0)
    volume = torch.rand(1, 5, 8, 8)
    whole = MODEL.predict(volume, volume > 0.5)
    torch.testing.assert_close(MODEL.predict(volume.flip(1), volume.flip(1) > 0.5), whole)
    torch.testing.assert_close(MODEL.predict(volume.reshape(1, 1, 40, 8), volume.reshape(1, 1, 40, 8) > 0.5), whole)


def test_tallies_of_parts_add_up() -> None:
    probabilities = torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(0))
    masks = probabilities > 0.5
    parts = tally(probabilities[:, :2], masks[:, :2]) + tally(probabilities[:, 2:], masks[:, 2:])
    torch.testing.assert_close(promised_odds(parts), promises(probabilities, masks))


def test_a_model_is_json_and_back() -> None:
    model = MODEL.model_copy(update={"measured": {"spearman": 0.8, "spearman_within": None}})
    assert QualityModel.model_validate_json(model.model_dump_json()) == model
