"""Exported graphs compute what the network does, at other sizes than they were traced at."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from incontext.cli import app
from incontext.inference import backends
from incontext.inference.backends import OnnxBackend, WholeSetBackend, backend_of
from incontext.networks import checkpoint, onnx_graphs
from incontext.networks.checkpoint import load_pretrained
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.support_code import ImageCodes
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.unknown import UNKNOWN_SHARE
from tests.checked import unchecked
from tests.incontext.networks import golden

pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.xdist_group("onnx")  # an export takes a minute: one process makes it once

STRIDE = SupportOnceConfig().stride_px
TOLERANCE = {"atol": 1e-4, "rtol": 0}
SIZES = [(1, 1, (2, 2)), (5, 7, (3, 2)), (64, 1, (1, 2)), (2, 3, (1, 1)), (3, 2, (8, 12))]
"""Images, queries, and strides along either side; the trace has 5, 3 and (3, 2)."""


@pytest.fixture(scope="module")
def network() -> SupportOnceNet:
    return load_pretrained("default").eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default weights as graphs."""
    folder = tmp_path_factory.mktemp("onnx") / "graphs"
    with unchecked():
        done = CliRunner().invoke(app, ["export", "--weights", "default", "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def backend(folder: Path) -> OnnxBackend:
    return OnnxBackend(folder)


def draw(count: int, strides: tuple[int, int], seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images with brighter blocks, and these blocks as labels."""
    generator = torch.Generator().manual_seed(seed)
    height, width = (STRIDE * side for side in strides)
    blocks = torch.rand(count, 1, height // 8, width // 8, generator=generator) > 0.7
    labels = blocks.float().repeat_interleave(8, 2).repeat_interleave(8, 3)
    return (labels + torch.rand(labels.shape, generator=generator)) / 2, labels


@torch.inference_mode()
@pytest.mark.parametrize(("support", "queries", "strides"), SIZES, ids=str)
def test_codes_and_logits_equal_those_of_torch(network, backend, support, queries, strides):
    examples, asking = draw(support, strides), draw(queries, strides, seed=2)[0]
    expected, found = network.encode_images(*examples), backend.encode_images(*examples)
    for name, value in onnx_graphs.named_parts(expected).items():
        torch.testing.assert_close(onnx_graphs.named_parts(found)[name], value, **TOLERANCE)
    logits = network.segment(asking, expected.pooled())
    assert logits.std() > 0.01
    torch.testing.assert_close(backend.segment(asking, found.pooled()), logits, **TOLERANCE)


def test_graphs_read_what_was_judged_as_the_network_does(network: SupportOnceNet, backend: OnnxBackend) -> None:
    images, labels = draw(3, (4, 3))
    labels[0, :, : 2 * STRIDE] = UNKNOWN_SHARE
    labels[1, :, 3:19, 5:30] = UNKNOWN_SHARE
    with torch.inference_mode():
        codes = [each.encode_images(images, labels).pooled() for each in (network, backend)]
        expected, found = (each.segment(images, code) for each, code in zip((network, backend), codes, strict=True))
        torch.testing.assert_close(found, expected, **TOLERANCE)
        read_as_background = network.encode_images(images, (labels == 1).float()).pooled()
        assert (network.segment(images, read_as_background) - expected).abs().max() > 0.01


@torch.inference_mode()
def test_several_sets_of_images_encoded_in_parts(network, backend):
    images, labels = draw(5, (2, 2))
    parts = [backend.encode_images(*part) for part in zip(images.split(2), labels.split(2), strict=True)]
    indices, queries = torch.tensor([[3, 0, 1], [2, 3, 4]]), draw(6, (2, 2), seed=2)[0]
    found = backend.segment(queries, ImageCodes.joined(parts).select(indices).pooled())
    expected = network.segment(queries, network.encode_support(images[indices], labels[indices]))
    torch.testing.assert_close(found, expected, **TOLERANCE)


@torch.inference_mode()
def test_memory_changes_no_logits(backend, monkeypatch):
    code, queries = backend.encode_images(*draw(3, (2, 2))).pooled(), draw(5, (2, 2), seed=2)[0]
    together = backend.segment(queries, code)
    runs = []
    run = backends._run
    monkeypatch.setattr(backends, "SCORES_BYTES", 1)
    monkeypatch.setattr(backends, "_run", lambda *arguments: runs.append(1) or run(*arguments))
    torch.testing.assert_close(backend.segment(queries, code), together, atol=1e-5, rtol=0)
    assert len(runs) == 5


def test_graphs_tell_what_they_are(network, backend):
    assert backend.config == network.config
    assert backend.metadata["sha256"] == onnx_graphs.fingerprint(network)
    stored = checkpoint.read_metadata(checkpoint.locate("default"))
    assert stored["provenance"]
    assert stored["calibration"]
    for part in ("provenance", "calibration"):
        assert backend.metadata[part] == stored[part]


def test_a_network_is_exported_once(network, folder, tmp_path, monkeypatch):
    exported = []

    def copied(network: nn.Module, target: Path) -> None:
        exported.append(target)
        shutil.copytree(folder, target)

    monkeypatch.setattr(onnx_graphs, "export", copied)
    for _ in range(2):
        OnnxBackend.of(network, tmp_path)
    assert len(exported) == 1
    other = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8, fitted_channels=4))
    OnnxBackend.of(other, tmp_path)
    assert len(set(exported)) == 2


def test_graphs_of_different_weights_are_refused(folder, tmp_path):
    import onnx

    for name in (onnx_graphs.ENCODE, onnx_graphs.SEGMENT):
        shutil.copy(folder / name, tmp_path)
    graph = onnx.load(tmp_path / onnx_graphs.SEGMENT)
    next(each for each in graph.metadata_props if each.key == "sha256").value = '"0"'
    onnx.save(graph, tmp_path / onnx_graphs.SEGMENT)
    with pytest.raises(ValueError, match="expected both of the same weights"):
        OnnxBackend(tmp_path)


def test_missing_graphs_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="graph is missing"):
        OnnxBackend(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((2, 1, STRIDE, STRIDE), (1, 1, STRIDE, STRIDE), "labels do not match images"),
        ((2, 1, STRIDE, 8), (2, 1, STRIDE, 8), f"sides divisible by {STRIDE}"),
    ],
)
def test_unusable_examples_are_refused(backend, images, labels, message):
    with pytest.raises(ValueError, match=message):
        backend._check(torch.zeros(images), torch.zeros(labels))  # behind the shape annotations that tests enforce


def test_queries_that_do_not_fit_the_code_are_refused(backend):
    code = backend.encode_images(*draw(2, (2, 2))).select(torch.tensor([[0], [1]])).pooled()
    with pytest.raises(ValueError, match="a multiple of 2 images"):
        backend.segment(draw(1, (2, 2))[0], code)
    with pytest.raises(ValueError, match="a multiple of 2 images"):
        backend.segment(draw(2, (2, 1))[0], code)


def test_backends_are_chosen_by_name(network, folder, tmp_path, monkeypatch):
    assert backend_of(network) is network
    assert isinstance(backend_of(CrossBlockNet(CrossBlockConfig((2, 2), (2,)))), WholeSetBackend)
    monkeypatch.setattr(backends, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(onnx_graphs, "export", lambda network, target: shutil.copytree(folder, target))
    assert isinstance(backend_of(network, "onnx"), OnnxBackend)
    with pytest.raises(ValueError, match="backend is unknown"):
        backend_of(network, "tensorflow")


@pytest.mark.parametrize("support_size", golden.SUPPORT_SIZES)
def test_graphs_of_the_packaged_weights_give_the_golden_logits(backend: OnnxBackend, support_size: int) -> None:
    size_px = golden.SIZES_PX[0]
    queries, images, labels = golden.draw_episode(support_size, size_px)
    found = golden.pinned(backend.segment(queries, backend.encode_images(images[0], labels[0]).pooled()))
    for part, expected in golden.expected(golden.case_name("default", support_size, size_px)).items():
        torch.testing.assert_close(torch.tensor(found[part]), torch.tensor(expected), **TOLERANCE)
