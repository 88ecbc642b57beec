"""A graph that `Segmenter.export` wrote, and the masks that it finds, by an ONNX runtime alone: no torch."""

import io
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float32, UInt8

from incontext.images.case_planes import on_grid
from incontext.images.source_image import SourceImage
from incontext.inference.model_format import fault_of
from megamed.extras import require

GRAPH = "model.onnx"
"""Name of the graph in a BioImage.IO package."""
MOST_PACKED = 50
"""Times that a graph in a package may be as large as it is packed; numbers pack less than twofold, empty bytes a
thousandfold."""
_NO_PACKAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError),  # OSError: bzip2
    *(RuntimeError, KeyError, ValueError),  # RuntimeError: it is encrypted, or packed in an unknown way
)
IMAGE = "image"


@dataclass(frozen=True)
class ExportedModel:
    """A graph that finds probabilities of classes in an image, as `Segmenter.export` wrote it.

    Attributes:
        run: Function from an image (1, 1, H, W) to probabilities (1, C, H, W).
        about: Metadata of the graph by name.
    """

    run: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    about: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a graph, or the one in a BioImage.IO package.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no model of this library.
            ModuleNotFoundError: If onnxruntime is not installed.
        """
        require("run", "Running an exported model", "onnxruntime")
        if not path.is_file():
            msg = f"model is missing: expected a file, got {path}. Check the path."
            raise FileNotFoundError(msg)
        session = _session(path)
        told = session.get_modelmeta().custom_metadata_map
        try:
            about = {name: json.loads(value) for name, value in told.items()}
        except ValueError:
            about = {}
        if "classes" not in about or [each.name for each in session.get_inputs()] != [IMAGE]:
            raise _no_model(path, "another file")
        if fault := fault_of(about):
            msg = f"{path} is no model that this version runs: {fault}. Export it anew, or update incontext-seg."
            raise ValueError(msg)
        return cls(lambda image: session.run(None, {IMAGE: image})[0], about)

    @property
    def classes(self) -> dict[int, str]:
        """Names of the classes by label value."""
        return {int(value): name for value, name in self.about["classes"].items()}

    def mask(self, case: SourceImage) -> UInt8[np.ndarray, "*grid"]:
        """The most probable label value of each pixel, on the grid of the source.

        Raises:
            ValueError: If the graph cannot run on the image, or gives anything but probabilities of the classes.
        """
        return on_grid(np.stack([self._of_plane(plane) for plane in case.planes]), case)

    def _of_plane(self, plane: Float32[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
        found = self._probabilities(plane)
        mask, best = np.zeros(plane.shape, np.uint8), 1 - found.sum(0)
        for value, layer in zip(self.classes, found, strict=True):
            mask[layer > best] = value
            best = np.maximum(best, layer)
        return mask

    def _probabilities(self, plane: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "C H W"]:
        expected = (1, len(self.classes), *plane.shape)
        try:
            found = self.run(np.ascontiguousarray(plane[None, None], dtype=np.float32))
        except _faults() as error:
            msg = f"model cannot run: expected probabilities of shape {expected}, got {error!s:.200}. Export it anew."
            raise ValueError(msg) from error
        if found.shape != expected or not np.isfinite(found).all():
            got = f"shape {found.shape}" if found.shape != expected else "some that are no numbers"
            msg = f"model finds no probabilities: expected some of shape {expected}, got {got}. Export it anew."
            raise ValueError(msg)
        return found[0]


def _session(path: Path) -> Any:
    """Open a graph in a session that reads no other file.

    Raises:
        ValueError: If it is no graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    options.log_severity_level = 3
    # optimising thousands of small nodes takes half a second, more than an image does, and gains little of it
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # a graph may name files that its numbers are in, beside itself or where one stands: here is no folder
    nowhere = str(path.absolute() / "none")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", nowhere)
    content = path.read_bytes()
    if path.suffix.lower() == ".zip":
        content = _unpacked(content, path)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except _faults() as error:
        raise _no_model(path, "another file") from error


def _unpacked(content: bytes, path: Path) -> bytes:
    """Read the graph of a BioImage.IO package."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            info = package.getinfo(GRAPH)
            if info.file_size <= MOST_PACKED * len(content):
                return package.read(info)
    except _NO_PACKAGE as error:
        raise _no_model(path, "another file") from error
    raise _no_model(path, f"a graph of {info.file_size} bytes in {len(content)}")


def _faults() -> tuple[type[Exception], ...]:
    """Errors of an ONNX runtime, whose bindings raise them by many names, and of a graph with other inputs."""
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    raised = (each for each in vars(states).values() if isinstance(each, type) and issubclass(each, Exception))
    return (*raised, RuntimeError, ValueError)


def _no_model(path: Path, got: str) -> ValueError:
    return ValueError(f"{path} is no exported model: expected one of `incontext export --task`, got {got}. Export it.")
