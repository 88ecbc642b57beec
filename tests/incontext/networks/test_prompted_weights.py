"""Weights of prompted networks are found beside those they were trained beside, and fit these alone."""

from pathlib import Path

import pytest
import torch

from incontext.networks import checkpoint
from incontext.networks.prompted import PromptedConfig, PromptedNet
from incontext.networks.prompted_weights import load_prompted, prompted_beside
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.files import sha256_of


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "own.safetensors"
    checkpoint.save(path, SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)), {})
    return path


def save_beside(base: Path, sha256: str | None) -> PromptedNet:
    network = PromptedNet(PromptedConfig(read_channels=(8, 8, 8, 8), channels=(8, 8, 8, 8), matched_channels=4))
    checkpoint.save(prompted_beside(base), network, {"beside": {"sha256": sha256}}, torch.float32)
    return network


def test_what_was_saved_is_loaded(base):
    network, found = save_beside(base, sha256_of(base)), load_prompted(base)
    assert prompted_beside(base).name == "own-prompts.safetensors"
    assert not found.training
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in network.state_dict().items())


def test_weights_without_any_are_told_how_to_train_them(base):
    with pytest.raises(FileNotFoundError, match=r"takes no prompts: .*prompts\.beside"):
        load_prompted(base)


def test_what_was_trained_beside_other_weights_is_refused(base):
    save_beside(base, "0" * 64)
    with pytest.raises(ValueError, match=r"does not fit own\.safetensors: expected to have been trained beside"):
        load_prompted(base)


def test_another_family_in_its_place_is_refused(base):
    prompted_beside(base).write_bytes(base.read_bytes())
    with pytest.raises(ValueError, match="is no prompted network"):
        load_prompted(base)


def test_a_prompted_network_does_not_segment_by_itself(base):
    save_beside(base, sha256_of(base))
    with pytest.raises(ValueError, match=r"cannot segment by itself: .* Pass the weights that it stands beside"):
        checkpoint.load(prompted_beside(base))
