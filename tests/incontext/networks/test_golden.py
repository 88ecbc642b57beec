"""The packaged weights compute what they always did: on drawn episodes, to 1e-4 at every pinned pixel."""

import json

import pytest
import torch

from incontext.networks.checkpoint import NAMED, load_pretrained
from incontext.networks.prompted_weights import load_prompted
from tests.incontext.networks import golden

CASES = [
    (weights, support_size, size_px)
    for weights in NAMED
    for support_size in golden.SUPPORT_SIZES
    for size_px in golden.SIZES_PX
]


@pytest.fixture(scope="module")
def networks() -> dict[str, torch.nn.Module]:
    return {name: load_pretrained(name) for name in NAMED}


@pytest.mark.parametrize(("weights", "support_size", "size_px"), CASES, ids=str)
@torch.inference_mode()
def test_packaged_weights_give_the_golden_logits(networks, weights, support_size, size_px):
    queries, images, labels = golden.draw_episode(support_size, size_px)
    network = networks[weights]
    found = golden.pinned(network.segment(queries, network.encode_support(images, labels)))
    for part, expected in golden.expected(golden.case_name(weights, support_size, size_px)).items():
        torch.testing.assert_close(torch.tensor(found[part]), torch.tensor(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize("support_size", golden.PROMPTED_SIZES)
@torch.inference_mode()
def test_the_packaged_network_for_prompts_gives_the_golden_logits(networks, support_size):
    found = golden.pinned(golden.prompted(networks["default"], load_prompted("default"), support_size))
    for part, expected in golden.expected(golden.prompted_name(support_size)).items():
        torch.testing.assert_close(torch.tensor(found[part]), torch.tensor(expected), rtol=0, atol=1e-4)


def test_every_packaged_network_is_pinned_where_it_finds_something():
    kept = json.loads(golden.FILE.read_text(encoding="utf-8"))
    prompted = set(map(golden.prompted_name, golden.PROMPTED_SIZES))
    assert kept.keys() == prompted | {golden.case_name(*case) for case in CASES}
    for each in kept.values():
        assert min(each["pixels"]) < -2
        assert max(each["pixels"]) > 2
