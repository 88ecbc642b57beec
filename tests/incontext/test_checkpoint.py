"""Saved networks come back as they were, and anything else is refused with a reason."""

import pytest
import torch
from safetensors.torch import save_file

from incontext import checkpoint
from incontext.model import CrossBlockConfig, CrossBlockNet
from incontext.support_once import SupportOnceConfig, SupportOnceNet

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


def test_the_packaged_weights_load_and_say_where_they_come_from():
    network = checkpoint.load_pretrained()
    assert isinstance(network, SupportOnceNet)
    provenance = checkpoint.read_metadata(checkpoint.PACKAGED)["provenance"]
    assert {"datasets", "steps", "seed", "commit"} <= set(provenance)
    assert checkpoint.PACKAGED.stat().st_size <= 5 * 2**20


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


def test_an_unknown_family_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "net.safetensors", {"config": '{"family": "mystery"}'})
    with pytest.raises(ValueError, match="unknown family"):
        checkpoint.load(tmp_path / "net.safetensors")
