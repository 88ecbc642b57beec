"""What can be exported, and how graphs are told apart; what they compute is tested with the backends."""

import importlib.util

import pytest
import torch
from torch.nn import functional as F

from incontext.networks import checkpoint, onnx_graphs
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

CONFIG = SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8, fitted_channels=4)


def test_a_network_that_reads_its_support_with_every_query_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"got CrossBlockNet.*backend='torch'"):
        onnx_graphs.export(CrossBlockNet(CrossBlockConfig((2, 2), (2,))), tmp_path)


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"incontext-seg\[onnx\]"):
        onnx_graphs.export(SupportOnceNet(CONFIG), tmp_path)
    with pytest.raises(ModuleNotFoundError, match=r"incontext-seg\[onnx\]"):
        onnx_graphs.export_checkpoint("default", tmp_path / "graphs")
    assert not list(tmp_path.iterdir())


def test_equal_weights_have_equal_fingerprints():
    torch.manual_seed(0)
    network, twin = SupportOnceNet(CONFIG), SupportOnceNet(CONFIG)
    assert onnx_graphs.fingerprint(network) != onnx_graphs.fingerprint(twin)
    twin.load_state_dict(network.state_dict())
    assert onnx_graphs.fingerprint(network) == onnx_graphs.fingerprint(twin)
    with torch.no_grad():
        twin.head.bias[0] += 1e-6
    assert onnx_graphs.fingerprint(network) != onnx_graphs.fingerprint(twin)


@torch.no_grad()
def test_the_network_that_is_traced_computes_the_same():
    torch.manual_seed(0)
    network = SupportOnceNet(CONFIG).eval()
    traced, stride = onnx_graphs._Segment(network), CONFIG.stride_px
    images, labels, queries = torch.rand(1, 4, 1, 32, 48), torch.rand(1, 4, 1, 32, 48).round(), torch.rand(3, 1, 32, 48)
    code = network.encode_support(images, labels)
    parts = code.keys, code.values, code.prototypes, code.moments
    found = traced(F.pixel_unshuffle(queries, stride), *parts, F.pixel_unshuffle(code.mean_label, stride))
    torch.testing.assert_close(found, network.segment(queries, code), rtol=0, atol=1e-6)


def test_a_graph_of_somebody_else_is_not_replaced(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "w.safetensors", SupportOnceNet(CONFIG), {})
    (tmp_path / "encode.onnx").write_text("mine")
    monkeypatch.setattr(onnx_graphs, "export", None)
    with pytest.raises(ValueError, match=r"encode\.onnx is somebody's own: .* Move it away"):
        onnx_graphs.export_checkpoint(tmp_path / "w.safetensors", tmp_path)
    assert (tmp_path / "encode.onnx").read_text() == "mine"
