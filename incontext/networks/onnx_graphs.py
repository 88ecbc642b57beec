"""The support-once network as two ONNX graphs: one encodes labelled images, the other segments queries."""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F

from incontext.networks.checkpoint import load, locate, read_metadata
from incontext.networks.families import Network, describe
from incontext.networks.support_code import ImageCodes, SupportCode
from incontext.networks.support_once import SupportOnceNet
from megamed.extras import require
from megamed.files import claimed, replacing

ENCODE, SEGMENT = "encode.onnx", "segment.onnx"
CODE_PARTS = ("keys", "values", "prototypes", "moments")
IMAGES = ("images", "labels", "queries", "mean_label")
OPSET = 18
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Packages that write graphs."""


def export(network: nn.Module, folder: Path, metadata: Mapping[str, Any] | None = None) -> None:
    """Write `encode.onnx` and `segment.onnx`, which take any number of images of any size that the network takes.

    The first takes `images` and `labels` (S, 1, H, W) and gives what `ImageCodes` holds; the second takes `queries`
    (N, 1, H, W) and what the `SupportCode` of one set holds, and gives `logits` (N, 1, H, W). Inputs and outputs are
    named like the fields: `keys_0` and so on. Both files hold the configuration and a hash of the weights.

    Args:
        network: Support-once network to export, on any device.
        folder: Folder to write into; made if missing.
        metadata: Provenance and calibration to store in both files: see `checkpoint.read_metadata`.

    Raises:
        ValueError: If the network is not a support-once network.
        ModuleNotFoundError: If the extra `onnx` is not installed.
        OSError: If the folder cannot be written.
    """
    network = exportable(network)
    require("onnx", "Writing ONNX", *PACKAGES)
    told = {**(metadata or {}), "config": describe(network.config), "sha256": fingerprint(network)}
    with torch.inference_mode(False):  # what is made in that mode cannot be traced
        twin = SupportOnceNet(network.config).eval().requires_grad_(False)
        twin.load_state_dict(network.state_dict())
        stride = network.config.stride_px
        images = torch.rand(5, 1, 3 * stride, 2 * stride)
        codes = twin.encode_images(images, images.round())
        encoding = {"images": images, "labels": images.round()}
        code = {name: part for name, part in vars(codes.pooled()).items() if part is not None}
        segmenting = {"queries": images[:3], **code}
        folder.mkdir(parents=True, exist_ok=True)
        _write(_Encode(twin), encoding, tuple(named_parts(codes)), folder / ENCODE, told)
        _write(_Segment(twin), segmenting, ("logits",), folder / SEGMENT, told)


def export_checkpoint(weights: str | Path, folder: Path) -> None:
    """Export network weights, with their metadata, as the two graphs of `export`.

    Args:
        weights: `default`, `open` or a checkpoint file.
        folder: Folder of the graphs.

    Raises:
        ValueError: If the weights are not those of a network that can be exported, or a graph in the folder is
            somebody's own file.
        OSError: If a file cannot be read or written.
        ImportError: If the extra `onnx` is not installed.
    """
    path = locate(weights)
    network, metadata = exportable(load(path)), read_metadata(path)
    require("onnx", "Writing ONNX", *PACKAGES)  # before a folder is made
    with claimed(folder, "export", (ENCODE, SEGMENT)):
        export(network, folder, metadata)


def exportable(network: nn.Module) -> SupportOnceNet:
    """The network, if it can be exported.

    Raises:
        ValueError: If the network is not a support-once network.
    """
    if not isinstance(network, SupportOnceNet):
        msg = (
            f"network cannot be exported: expected a SupportOnceNet, got {type(network).__name__}. "
            "Compute with torch: backend='torch'."
        )
        raise ValueError(msg)
    return network


def fingerprint(network: Network) -> str:
    """A hash of a network's configuration and of its weights in float32."""
    digest = hashlib.sha256(json.dumps(describe(network.config), sort_keys=True).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def named_parts(codes: ImageCodes | SupportCode) -> dict[str, Tensor]:
    """The tensors of codes, but for the labels, under the names that they have in the graphs."""
    return {f"{part}_{i}": tensor for part in CODE_PARTS for i, tensor in enumerate(getattr(codes, part))}


class _Encode(nn.Module):
    def __init__(self, network: SupportOnceNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        stride = self.network.config.stride_px
        codes = self.network.encode_images(F.pixel_shuffle(images, stride), F.pixel_shuffle(labels, stride))
        return (*codes.keys, *codes.values, *codes.prototypes, *codes.moments)


class _Segment(nn.Module):
    def __init__(self, network: SupportOnceNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        queries: Tensor,
        keys: tuple[Tensor, ...],
        values: tuple[Tensor, ...],
        prototypes: tuple[Tensor, ...],
        moments: tuple[Tensor, ...],
        mean_label: Tensor,
    ) -> Tensor:
        stride = self.network.config.stride_px
        code = SupportCode(keys, values, prototypes, moments, F.pixel_shuffle(mean_label, stride))
        return self.network.segment(F.pixel_shuffle(queries, stride), code)


def _write(
    graph: _Encode | _Segment, example: Mapping[str, Any], outputs: Sequence[str], path: Path, told: Mapping[str, Any]
) -> None:
    """Trace a graph with images folded, one channel for each pixel of a stride.

    Then all sizes inside are multiples of symbols, and need not be proven to divide. `_unfold` puts the folding into
    the graph. The tracer runs the network itself, which therefore asks for `shape[0]`: a `len` would be a constant.
    """
    stride = graph.network.config.stride_px
    inputs = {name: F.pixel_unshuffle(each, stride) if name in IMAGES else each for name, each in example.items()}
    with tracing():
        program = torch.export.export(graph, (), inputs, dynamic_shapes=_dynamic_shapes(inputs), strict=False)
        traced = converted(program, output_names=outputs)
    _unfold(traced.model, stride)
    with replacing(path) as partial:
        save(traced, partial, told)


def converted(program: ExportedProgram, **names: Any) -> torch.onnx.ONNXProgram:
    """Convert a traced program to ONNX, which `save` simplifies.

    Args:
        program: Program to convert, in which linear systems are symmetric and positive definite.
        names: Names of inputs and outputs: see `torch.onnx.export`.
    """
    from incontext.networks.onnx_solver import solve

    traced = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        custom_translation_table={torch.ops.aten.linalg_solve.default: solve},
        optimize=False,
        verbose=False,
        **names,
    )
    assert traced is not None
    return traced


def save(traced: torch.onnx.ONNXProgram, path: Path, told: Mapping[str, Any]) -> None:
    """Write a graph, simplified, with its metadata, each value as JSON."""
    for node in traced.model.graph.all_nodes():
        node.metadata_props.clear()  # they contain paths of this machine
    traced.model.metadata_props.update({name: json.dumps(value) for name, value in told.items()})
    traced.save(path)
    _simplify(path)


def session_of(graph: Path | bytes) -> Any:
    """Open a graph for computing, on as many processor threads as torch, without log messages."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _simplify(path: Path) -> None:
    """Compute once what does not depend on the inputs of a graph, and leave out what changes nothing.

    Runtimes do it each time that they open a graph; of a graph of thousands of nodes that takes longer than an image.
    Only what holds on every machine is done, so that the graph keeps to the operations of ONNX.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(path)
    own = [each for each in graph.opset_import if not each.domain]  # it names all that the runtime has
    del graph.opset_import[:]
    graph.opset_import.extend(own)
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _dynamic_shapes(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Axes of each input that may have other lengths than in the example, with bounds that no image exceeds."""
    count, rows, columns = (Dim(name, min=2, max=2**16) for name in ("count", "rows", "columns"))
    tokens = tuple({2: Dim(f"tokens_{i}", min=2, max=2**30)} for i in range(len(inputs.get("keys", ()))))
    shapes: dict[str, Any] = {"mean_label": {2: rows, 3: columns}, "keys": tokens, "values": tokens}
    shapes |= {name: tuple({} for _ in inputs.get(name, ())) for name in ("prototypes", "moments")}
    return {name: shapes.get(name, {0: count, 2: rows, 3: columns}) for name in inputs}


def _unfold(model: Any, stride: int) -> None:
    """Let a graph take images (N, 1, H, W) where it was traced with folded ones (N, stride², h, w)."""
    import onnx_ir

    graph = model.graph
    for index, folded in enumerate(graph.inputs):
        if folded.name in IMAGES:
            name, shape = folded.name, onnx_ir.Shape([folded.shape[0], 1, "H", "W"])
            folded.name = f"{name}_folded"
            image = onnx_ir.Value(name=name, type=folded.type, shape=shape)
            node = onnx_ir.node("SpaceToDepth", [image], {"blocksize": stride})
            folded.replace_all_uses_with(node.outputs[0])
            graph.inputs[index] = image
            graph.insert_before(graph[0], node)


@contextmanager
def tracing() -> Iterator[None]:
    """Silence the exporter, whose messages concern nobody who uses the graphs, and make it faster.

    What it remembers of operations is looked up by all the symbols in their shapes, which takes longer than the
    operations themselves do on shapes.
    """
    from torch._dynamo import config as dynamo  # which takes as long to import as torch

    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), dynamo.patch(fake_tensor_cache_enabled=False):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
