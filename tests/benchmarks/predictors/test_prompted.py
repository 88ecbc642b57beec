"""Predictors that take prompts: our networks answer as they should, a user's own is found, and what is none refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.predictors.prompted import PromptedNetworks, load_prompted
from benchmarks.predictors.protocol import NamedPrompted
from incontext.networks import checkpoint
from incontext.networks.prompted import INSIDE, OUTSIDE, PromptedConfig, PromptedNet
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.files import sha256_of

SOURCE = """
class Copier:
    def begin(self, query_images, support_images, support_labels):
        return lambda maps, previous: query_images - 0.5
copier = Copier()
def plain(query_images, support_images, support_labels):
    return query_images
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module of a user in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    monkeypatch.setattr("sys.path_importer_cache", {})
    (tmp_path / "copying.py").write_text(SOURCE)
    return "copying"


def test_a_predictor_of_ones_own_is_found(module: str) -> None:
    loaded = load_prompted(f"{module}:copier")
    images, none = torch.rand(1, 1, 8, 8), torch.zeros(1, 0, 1, 8, 8)
    answer = loaded.predictor.begin(images, none, none)
    assert torch.equal(answer(torch.zeros(1, 3, 8, 8), None), images - 0.5)
    assert loaded.name == "copying:copier"
    assert len(loaded.fingerprint) == 64


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent:copier", "Module 'absent' is missing"),
        ("copying:plain", "copying:plain takes no prompts: expected an object with `begin`, .* got function"),
        ("copying:Copier", "got the class Copier"),
        ("copying:other", "expected an object 'other'"),
    ],
)
def test_what_takes_no_prompts_is_refused(module: str, name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        load_prompted(name)


SMALL = {"channels": (8, 8, 8, 8), "groups": 4}


@pytest.fixture
def pair() -> PromptedNetworks:
    """A network, and one that answers prompts beside it; all of its weights are random."""
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(**SMALL, heads=1, head_channels=8)).eval()
    prompted = PromptedNet(PromptedConfig(**SMALL, read_channels=SMALL["channels"], matched_channels=4)).eval()
    for parameter in prompted.head.parameters():
        torch.nn.init.normal_(parameter)
    return PromptedNetworks(network, prompted)


def clicked(count: int) -> Tensor:
    maps = torch.zeros(count, 3, 32, 32)
    maps[:, INSIDE, 16, 16] = maps[:, OUTSIDE, 3, 4] = 1
    return maps


def test_without_prompts_the_networks_answer_as_the_one_alone(pair: PromptedNetworks, episodes: Any) -> None:
    with torch.inference_mode():
        answer, alone = pair.begin(*episodes), pair.network(*episodes)
        torch.testing.assert_close(answer(torch.zeros(2, 3, 32, 32), None), alone)
        given = answer(clicked(2), None)
    assert (given[:, 0, 16, 16] > 0).all()
    assert (given[:, 0, 3, 4] < 0).all()
    assert not torch.equal(given, alone)


def test_a_batch_is_one_query_at_a_time(pair: PromptedNetworks, episodes: Any) -> None:
    with torch.inference_mode():
        together = pair.begin(*episodes)(clicked(2), None)
        alone = [pair.begin(*(each[[i]] for each in episodes))(clicked(1), None) for i in range(2)]
        torch.testing.assert_close(torch.cat(alone), together, atol=1e-4, rtol=1e-4)
        before = pair.begin(*episodes)(clicked(2), together)
    assert not torch.equal(before, together)


def test_a_labelled_image_is_encoded_once(pair: PromptedNetworks, episodes: Any, monkeypatch: Any) -> None:
    encoded = []
    encode = SupportOnceNet.encode_images
    monkeypatch.setattr(SupportOnceNet, "encode_images", lambda self, *given: encoded.append(1) or encode(self, *given))
    query_images, images, labels = episodes
    with torch.inference_mode():
        for size in (1, 2, 3):
            pair.begin(query_images, images[:, :size], labels[:, :size])
        pair.begin(query_images[:1], images[:1], 1 - labels[:1])
    assert len(encoded) == 6 + 3


def test_a_query_without_examples_is_answered(pair: PromptedNetworks, episodes: Any) -> None:
    with torch.inference_mode():
        answer = pair.begin(episodes[0], episodes[1][:, :0], episodes[2][:, :0])
        assert not answer(torch.zeros(2, 3, 32, 32), None).any()
        assert (answer(clicked(2), None)[:, 0, 16, 16] > 0).all()


def test_either_weights_file_names_both_networks(
    pair: PromptedNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, episodes: Any
) -> None:
    base, other = tmp_path / "tiny.safetensors", tmp_path / "run" / "weights.safetensors"
    checkpoint.save(base, pair.network, {"datasets": {"cells": "3"}}, torch.float32)
    told = {"datasets": {"eyes": "2"}, "beside": {"file": base.name, "sha256": sha256_of(base)}}
    with pytest.raises(FileNotFoundError, match="takes no prompts"):
        load_prompted(str(base))
    other.parent.mkdir()
    checkpoint.save(other, pair.prompted, told, torch.float32)
    shutil.copy(other, tmp_path / "tiny-prompts.safetensors")
    with pytest.raises(ValueError, match="stands beside unknown weights: expected one of default, open, got tiny"):
        load_prompted(str(other))
    monkeypatch.setitem(checkpoint.NAMED, "tiny", base)
    found = [load_prompted(str(path)) for path in (base, other)]
    assert [each.name for each in found] == ["tiny", "weights"]
    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].provenance == {"provenance": {"datasets": ["cells", "eyes"]}}
    with torch.inference_mode():
        logits = [
            each.predictor.begin(*episodes)(clicked(2), None) for each in (*found, NamedPrompted("", pair, "", {}))
        ]
    assert torch.equal(logits[0], logits[1])
    torch.testing.assert_close(logits[0], logits[2])
