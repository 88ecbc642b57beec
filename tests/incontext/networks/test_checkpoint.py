"""Saved networks come back as they were, and anything else is refused with a reason."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from incontext.networks import checkpoint
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.families import describe
from incontext.networks.prompted import PromptedNet
from incontext.networks.prompted_weights import ENDING, load_prompted
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

PACKAGED = dict(checkpoint.NAMED)
NETWORKS = {
    "support-once": lambda: SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)),
    "cross-block": lambda: CrossBlockNet(CrossBlockConfig()),
}


@pytest.mark.parametrize("family", NETWORKS)
def test_write_then_read_is_identity_up_to_half_precision(family, tmp_path):
    network = NETWORKS[family]()
    checkpoint.save(tmp_path / "net.safetensors", network, {"seed": 3})
    loaded = checkpoint.load(tmp_path / "net.safetensors")
    assert type(loaded) is type(network)
    assert loaded.config == network.config
    assert not loaded.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.half().float())
    metadata = checkpoint.read_metadata(tmp_path / "net.safetensors")
    assert metadata["config"]["family"] == family
    assert metadata["provenance"] == {"seed": 3}


def test_a_calibration_is_written_into_the_file_and_changes_no_tensor(tmp_path):
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, NETWORKS["support-once"](), {"seed": 3})
    before, tensors = checkpoint.read_metadata(path), load_file(path)
    for temperature in (0.8, 1.2):
        checkpoint.write_calibration(path, {"temperature": temperature})
        assert checkpoint.read_metadata(path) == before | {"calibration": {"temperature": temperature}}
    for name, tensor in load_file(path).items():
        assert tensor.dtype == tensors[name].dtype == torch.float16
        assert torch.equal(tensor, tensors[name])
    assert checkpoint.load(path).config == NETWORKS["support-once"]().config


@pytest.mark.parametrize("path", sorted(checkpoint.PACKAGED.parent.glob("*.safetensors")), ids=lambda path: path.stem)
def test_the_packaged_weights_load_and_say_where_they_come_from(path):
    assert path in checkpoint.KNOWN_SHA256
    if path in checkpoint.NAMED.values():
        assert isinstance(checkpoint.load_pretrained(path.stem), SupportOnceNet)
    else:
        assert isinstance(load_prompted(path.stem.removesuffix(ENDING)), PromptedNet)
    provenance = checkpoint.read_metadata(path)["provenance"]
    assert {"datasets", "commit"} <= set(provenance)
    for part in [each["provenance"] for each in provenance.get("average_of", [])] or [provenance]:
        assert {"datasets", "steps", "seed", "commit"} <= set(part)
    assert path.stat().st_size <= 5 * 2**20


def test_the_packaged_weights_are_small_together():
    assert sum(path.stat().st_size for path in checkpoint.PACKAGED.parent.glob("*.safetensors")) <= 15 * 10**6


@pytest.mark.parametrize("name", checkpoint.NAMED)
@pytest.mark.parametrize("place", [9, 3_000_000, -1], ids=["header", "tensor", "end"])
def test_packaged_weights_that_are_damaged_are_told_with_the_cure(name, place, tmp_path, monkeypatch):
    content = bytearray(checkpoint.NAMED[name].read_bytes())
    content[place] ^= 1
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(content)
    monkeypatch.setitem(checkpoint.NAMED, name, path)
    monkeypatch.setitem(checkpoint.KNOWN_SHA256, path, checkpoint.KNOWN_SHA256[PACKAGED[name]])
    for use in (checkpoint.load_pretrained, lambda name: checkpoint.read_metadata(checkpoint.locate(name))):
        with pytest.raises(ValueError, match=r"is damaged: expected the packaged weights .* pip install") as found:
            use(name)
        assert str(found.value).isprintable()


@pytest.mark.parametrize("weights", [None, "default", Path("default")], ids=str)
def test_weights_that_are_not_named_or_named_default_are_the_packaged_ones(weights):
    assert checkpoint.locate(weights) == checkpoint.PACKAGED


def test_any_other_name_is_a_path(tmp_path):
    assert checkpoint.locate(str(tmp_path / "default")) == tmp_path / "default"


def test_a_foreign_module_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got Linear"):
        checkpoint.save(tmp_path / "net.safetensors", torch.nn.Linear(1, 1), {})


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights are missing"):
        checkpoint.load(tmp_path / "net.safetensors")


def test_bytes_that_are_no_weights_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        checkpoint.load(path)


def test_bare_tensors_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="load_universeg"):
        checkpoint.load(tmp_path / "net.safetensors")


def test_tensors_that_do_not_fit_the_config_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    config = '{"family": "support-once", "channels": [8, 8, 8, 8], "heads": 1, "head_channels": 8}'
    save_file({"a": torch.zeros(1)}, path, {"config": config})
    with pytest.raises(ValueError, match="does not fit its config"):
        checkpoint.load(path)


def test_a_config_that_asks_for_more_than_the_file_holds_takes_no_memory(tmp_path):
    path = tmp_path / "net.safetensors"
    config = {"family": "support-once", "channels": [4096] * 16, "heads": 4096, "head_channels": 4096, "groups": 1}
    save_file({"a": torch.zeros(1)}, path, {"config": json.dumps(config)})
    with pytest.raises(ValueError, match="does not fit its config"):
        checkpoint.load(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_not_finite_are_refused(value, tmp_path):
    path, network = tmp_path / "net.safetensors", NETWORKS["support-once"]()
    with torch.no_grad():
        network.head.weight.view(-1)[0] = value
    checkpoint.save(path, network, {})
    with pytest.raises(
        ValueError, match=r"net\.safetensors .*head\.weight: expected finite numbers, got NaN or infinity"
    ):
        checkpoint.load(path)
    with pytest.raises(ValueError, match="expected finite numbers"):
        checkpoint.adopt(NETWORKS["support-once"](), path)
    with pytest.raises(ValueError, match="expected finite numbers"):
        checkpoint.Checkpoint.read(path).inspect()


def test_a_task_is_no_network(tmp_path):
    save_file({"images": torch.zeros(1)}, tmp_path / "liver.task", {"task": "{}"})
    with pytest.raises(ValueError, match=r"liver\.task is a saved task: .*Pass it as --task\.$"):
        checkpoint.load(tmp_path / "liver.task")


def test_whole_numbers_are_no_weights(tmp_path):
    path, network = tmp_path / "net.safetensors", NETWORKS["support-once"]()
    tensors = {name: tensor.to(torch.int8).contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, {"config": json.dumps(describe(network.config))})
    with pytest.raises(ValueError, match=r"expected floating-point numbers, got torch\.int8"):
        checkpoint.load(path)


def test_a_changed_setting_that_fits_the_tensors_is_noticed(tmp_path):
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, NETWORKS["support-once"](), {"datasets": {"cells": "CC BY-NC"}})
    content = path.read_bytes()
    for old, new in ((b'groups\\": 4', b'groups\\": 2'), (b"CC BY-NC", b"CC BY-SA")):
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        with pytest.raises(ValueError, match="changed or damaged since it was written"):
            checkpoint.load(path)
        with pytest.raises(ValueError, match="changed or damaged since it was written"):
            checkpoint.read_metadata(path)


def test_loading_draws_no_random_numbers(tmp_path):
    checkpoint.save(tmp_path / "net.safetensors", NETWORKS["support-once"](), {})
    before = torch.get_rng_state()
    checkpoint.load(tmp_path / "net.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_that_has_grown_goes_on_computing_the_same(tmp_path):
    small = CrossBlockNet(CrossBlockConfig((4, 4), (4,)))
    checkpoint.save(tmp_path / "small.safetensors", small, {}, torch.float32)
    large = CrossBlockNet(CrossBlockConfig((4, 4), (6,)))
    assert checkpoint.adopt(large, tmp_path / "small.safetensors") == []
    episode = torch.rand(1, 1, 8, 8), torch.rand(1, 2, 1, 8, 8), torch.rand(1, 2, 1, 8, 8)
    torch.testing.assert_close(large(*episode), small(*episode))
    large(*episode).sum().backward()
    assert large.head.weight.grad[:, 4:].abs().min() > 0


def test_what_a_file_lacks_stays_as_it_was(tmp_path):
    shape = {"channels": (8, 8, 8, 8), "heads": 1, "head_channels": 8, "second_fit": False}
    checkpoint.save(tmp_path / "net.safetensors", SupportOnceNet(SupportOnceConfig(**shape, fitted_channels=0)), {})
    network = SupportOnceNet(SupportOnceConfig(**shape, fitted_channels=4))
    missing = checkpoint.adopt(network, tmp_path / "net.safetensors")
    assert missing
    assert all(name.startswith("fits.") for name in missing)


def test_weights_of_another_family_are_not_adopted(tmp_path):
    checkpoint.save(tmp_path / "net.safetensors", CrossBlockNet(CrossBlockConfig((4, 4), (4,))), {})
    with pytest.raises(ValueError, match="expected weights of family support-once, got cross-block"):
        checkpoint.adopt(NETWORKS["support-once"](), tmp_path / "net.safetensors")


def test_an_unknown_family_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "net.safetensors", {"config": '{"family": "mystery"}'})
    with pytest.raises(ValueError, match="unknown family"):
        checkpoint.load(tmp_path / "net.safetensors")


def test_weights_lie_in_memory_as_the_network_laid_them_out() -> None:
    """Other layouts are slower, and round otherwise."""
    loaded = checkpoint.load_pretrained()
    drawn = type(loaded)(loaded.config)
    assert {name: each.stride() for name, each in loaded.state_dict().items()} == {
        name: each.stride() for name, each in drawn.state_dict().items()
    }
    assert {each.dtype for each in loaded.state_dict().values()} == {torch.float32}
