"""Backends of the computation: the network itself in torch, or its exported graphs in onnxruntime."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from incontext.networks import onnx_graphs
from incontext.networks.protocols import Backend, SupportEncoder
from incontext.networks.support_code import ImageCodes, SupportCode
from incontext.networks.support_once import SupportOnceConfig, check_queries, check_sides
from megamed.extras import require

SCORES_BYTES: int = 2**26
"""Memory for attention scores at a time: a graph holds them all, where torch's fused attention holds few."""


def backend_of(network: nn.Module, name: str = "torch") -> Backend:
    """Choose the backend that computes with a network.

    Raises:
        ValueError: If there is no such backend, or the network is none that can be exported.
        ModuleNotFoundError: If the extra `onnx` is needed and not installed.
    """
    if name == "onnx":
        return OnnxBackend.of(network)
    if name != "torch":
        msg = f"backend is unknown: expected 'torch' or 'onnx', got {name!r}. Choose one of these."
        raise ValueError(msg)
    return network if isinstance(network, Backend) else WholeSetBackend(network)


def finite(logits: Tensor) -> Tensor:
    """Return logits, or say that they mean nothing.

    Raises:
        FloatingPointError: If one is not finite: a mask of it would be empty, as if nothing were there.
    """
    if not logits.isfinite().all():
        msg = (
            "network has no answer: expected finite logits, got NaN or infinity. "
            "Its weights are damaged or overflow: load others, or compute on another device."
        )
        raise FloatingPointError(msg)
    return logits


@dataclass(frozen=True)
class WholeSets:
    """Labelled images themselves, as the `Codes` of a network that encodes support sets only as a whole."""

    images: Float[Tensor, "B S 1 H W"]
    labels: Float[Tensor, "B S 1 H W"]
    encode: Callable[[Tensor, Tensor], Any]

    @classmethod
    def joined(cls, parts: Sequence["WholeSets"]) -> "WholeSets":
        """Concatenate the images of several sets to one set."""
        images, labels = (torch.cat([getattr(part, name) for part in parts], dim=1) for name in ("images", "labels"))
        return cls(images, labels, parts[0].encode)

    def select(self, indices: Int64[Tensor, "sets size"]) -> "WholeSets":
        """Form support sets from the images of one set, of which each row of indices names some."""
        return WholeSets(self.images[0, indices], self.labels[0, indices], self.encode)

    def pooled(self) -> Any:
        """Encode the support sets by the network."""
        return self.encode(self.images, self.labels)


class WholeSetBackend:
    """Computation with a network that encodes support sets only as a whole.

    Args:
        network: One with `encode_support` and `segment`, or else one to be called as
            `network(query_images, support_images, support_labels)`, which reads the support with every query.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def encode_images(self, images: Float[Tensor, "S 1 H W"], labels: Float[Tensor, "S 1 H W"]) -> WholeSets:
        """Keep labelled images as they are, until support sets are formed of them."""
        encode = self.network.encode_support if isinstance(self.network, SupportEncoder) else _kept
        return WholeSets(images[None], labels[None], encode)

    def segment(self, queries: Float[Tensor, "N 1 H W"], code: Any) -> Float[Tensor, "N 1 H W"]:
        """Logits of queries; the queries of a support set follow one another."""
        if isinstance(self.network, SupportEncoder):
            return self.network.segment(queries, code)
        return self.network(queries, *(each.repeat_interleave(len(queries) // len(each), dim=0) for each in code))


def _kept(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The code of support sets for a network that reads them with every query: the sets themselves."""
    return images, labels


class OnnxBackend:
    """Computes with the graphs that `incontext export` wrote, on as many processor threads as torch.

    Args:
        folder: Folder of the two graphs.

    Attributes:
        metadata: Metadata of the graphs: `config`, `sha256` of the weights and, from a checkpoint, `provenance` and
            `calibration`.

    Raises:
        FileNotFoundError: If a graph is missing.
        ValueError: If the graphs are of different weights, or not of this library.
        ModuleNotFoundError: If onnxruntime is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._encode, self._segment = (_session(folder / name) for name in (onnx_graphs.ENCODE, onnx_graphs.SEGMENT))
        self.metadata, other = _metadata(self._encode), _metadata(self._segment)
        if "sha256" not in self.metadata or self.metadata != other:
            msg = (
                f"{folder} holds no pair of graphs: expected both of the same weights, got "
                f"{self.metadata.get('sha256')} and {other.get('sha256')}. Run `incontext export` again."
            )
            raise ValueError(msg)
        config = {**self.metadata["config"], "channels": tuple(self.metadata["config"]["channels"])}
        self.config = SupportOnceConfig(**{name: value for name, value in config.items() if name != "family"})

    @classmethod
    def of(cls, network: nn.Module, cache: Path | None = None) -> Self:
        """Open the graphs of a network, which are exported the first time that they are asked for.

        Args:
            network: Network to export, which must be a support-once network.
            cache: Folder to keep the graphs in; by default the system's folder for caches.

        Raises:
            ValueError: If the network cannot be exported.
            ModuleNotFoundError: If the extra `onnx` is not installed.
        """
        require("onnx", "Running ONNX", "onnxruntime")
        network = onnx_graphs.exportable(network)
        # Graphs that an earlier version of the library has traced are not those of this one.
        sources = b"".join(path.read_bytes() for path in sorted(Path(onnx_graphs.__file__).parent.glob("*.py")))
        key = f"{onnx_graphs.fingerprint(network)[:16]}-{hashlib.sha256(sources).hexdigest()[:8]}"
        folder = (cache or cache_folder()) / key
        if not all((folder / name).is_file() for name in (onnx_graphs.ENCODE, onnx_graphs.SEGMENT)):
            onnx_graphs.export(network, folder)
        return cls(folder)

    def encode_images(self, images: Float[Tensor, "S 1 H W"], labels: Float[Tensor, "S 1 H W"]) -> ImageCodes:
        """Encode labelled images once for all support sets that they are in.

        Raises:
            ValueError: If labels and images differ in shape, or a side is no multiple of the stride.
        """
        self._check(images, labels)
        found = _run(self._encode, {"images": images, "labels": labels})
        parts = {
            part: tuple(each for name, each in found.items() if name.startswith(part))
            for part in onnx_graphs.CODE_PARTS
        }
        return ImageCodes(**parts, labels=labels[None])

    def segment(self, queries: Float[Tensor, "N 1 H W"], code: SupportCode) -> Float[Tensor, "N 1 H W"]:
        """Logits of N = B·Q queries for the codes of B support sets; the Q queries of a set follow one another.

        Raises:
            ValueError: If the queries do not divide among the sets or differ from them in size.
        """
        check_queries(queries, code)
        known = {**onnx_graphs.named_parts(code), "mean_label": code.mean_label}
        logits = []
        for index, asking in enumerate(queries.chunk(len(code.mean_label))):
            of_set = {name: each[index : index + 1] for name, each in known.items()}
            for level, seen in enumerate(code.seen or ()):  # graphs read all tokens that they are given
                for name in (f"keys_{level}", f"values_{level}"):
                    of_set[name] = of_set[name][:, :, seen[index]]
            for chunk in asking.split(self._at_a_time(code)):
                logits.append(_run(self._segment, {"queries": chunk, **of_set})["logits"])
        return torch.cat(logits)

    def _at_a_time(self, code: SupportCode) -> int:
        height, width = code.mean_label.shape[2:]
        asking = height * width // self.config.attend_from_px**2
        _, heads, tokens, _ = code.keys[0].shape
        return max(1, SCORES_BYTES // (4 * asking * heads * tokens))

    def _check(self, images: Tensor, labels: Tensor) -> None:
        if images.shape != labels.shape:
            msg = (
                f"labels do not match images: expected {tuple(images.shape)}, got {tuple(labels.shape)}. "
                "Pass one label per image."
            )
            raise ValueError(msg)
        check_sides(images, self.config)


def cache_folder(content: str = "onnx") -> Path:
    """Folder for exported graphs, or for other content, in the system's folder for caches."""
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return root / "incontext" / content


def _session(path: Path) -> Any:
    require("onnx", "Running ONNX", "onnxruntime")
    if not path.is_file():
        msg = f"graph is missing: expected a file, got {path}. Run `incontext export` first."
        raise FileNotFoundError(msg)
    return onnx_graphs.session_of(path)


def _metadata(session: Any) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}


def _run(session: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run a graph and return its outputs by name, on the device of the inputs."""
    device = next(iter(inputs.values())).device
    arrays = {name: np.ascontiguousarray(each.detach().cpu().numpy()) for name, each in inputs.items()}
    names = [output.name for output in session.get_outputs()]
    return {
        name: torch.from_numpy(array).to(device) for name, array in zip(names, session.run(names, arrays), strict=True)
    }
