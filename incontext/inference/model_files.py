"""A fitted segmenter in one file that other programs run: a graph of ONNX, or a program of PyTorch.

Before such a file takes its place, it has found in some images what the segmenter finds in them.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch.export import Dim, ExportedProgram

from incontext.inference.one_input import OneInput
from incontext.networks import onnx_graphs
from megamed.extras import require
from megamed.files import replacing

TOLERANCE = 1e-4
"""Largest difference of a probability from what the segmenter finds."""
INPUT, OUTPUT = "image", "probabilities"
ABOUT = "about.json"
"""Name of the metadata in a program of PyTorch."""
TRACED_PX = 3
"""Sides of the image that is traced, in tiles or, without these, in squares; none is special."""


@dataclass(frozen=True)
class Check:
    """An image (H, W), and the probabilities (C, H, W) that the segmenter finds in it."""

    image: Float32[np.ndarray, "H W"] = field(repr=False)
    probabilities: Float32[np.ndarray, "C H W"] = field(repr=False)


@dataclass(frozen=True)
class ModelFile:
    """All that a file of a model is made of.

    Attributes:
        model: Module that computes.
        about: Metadata by name: classes, scaling, provenance.
        checks: Images, and what has to be found in them.
        author: Maker of the model, where the file says it; empty if not stated.
    """

    model: OneInput
    about: Mapping[str, Any]
    checks: Sequence[Check]
    author: str = ""

    def write(self, path: Path) -> Path:
        """Write the file, in the format of its suffix; it appears at once, checked, or not at all.

        Raises:
            ValueError: If the suffix is unknown, or the file finds something else than the segmenter.
            ModuleNotFoundError: If the extra for the format is not installed.
            OSError: If the file cannot be written.
        """
        write = writer_of(path)
        with replacing(path) as partial:
            write(self, partial)
        return path


Writer = Callable[[ModelFile, Path], None]


def writer_of(path: Path) -> Writer:
    """Choose what writes a file, by its suffix.

    Raises:
        ValueError: If the suffix is unknown.
        ModuleNotFoundError: If the extra for the format is not installed.
    """
    suffix = next((each for each in WRITERS if path.name.lower().endswith(each)), None)
    if suffix is None:
        msg = (
            f"{path.name} is no file of a model: expected {', '.join(WRITERS)}, got {path.suffix or 'no suffix'}. "
            "Choose one of these."
        )
        raise ValueError(msg)
    if suffix in NEEDS:
        require(*NEEDS[suffix])
    return WRITERS[suffix]


def write_onnx(file: ModelFile, path: Path) -> None:
    """Write a graph of ONNX, whose metadata has JSON values.

    Raises:
        ValueError: If it finds something else than the segmenter.
    """
    with onnx_graphs.tracing():
        traced = onnx_graphs.converted(_program(file.model), input_names=[INPUT], output_names=[OUTPUT])
    _name_axes(traced.model.graph)
    onnx_graphs.save(traced, path, file.about)
    session = onnx_graphs.session_of(path.read_bytes())
    _verify(path, file.checks, lambda image: session.run(None, {INPUT: image})[0])


def write_pt2(file: ModelFile, path: Path) -> None:
    """Write a program for `torch.export.load`, with its metadata as an extra file.

    Raises:
        ValueError: If it finds something else than the segmenter.
    """
    with onnx_graphs.tracing():
        content = io.BytesIO()
        torch.export.save(_program(file.model), content, extra_files={ABOUT: json.dumps(file.about)})
        path.write_bytes(content.getvalue())
        run = torch.export.load(io.BytesIO(path.read_bytes())).module()
    _verify(path, file.checks, lambda image: run(torch.from_numpy(image)).detach().numpy())


def write_bioimage(file: ModelFile, path: Path) -> None:
    """Write a BioImage.IO package: see `bioimage_package`.

    Raises:
        ValueError: If its graph finds something else than the segmenter.
    """
    from incontext.inference.bioimage_package import write_package

    write_package(file, path, write_onnx)


ONNX, PT2, BIOIMAGE = ".onnx", ".pt2", ".bioimage.zip"
WRITERS: dict[str, Writer] = {ONNX: write_onnx, PT2: write_pt2, BIOIMAGE: write_bioimage}
"""Writers of files, by their suffix."""
NEEDS = {
    ONNX: ("onnx", "Writing ONNX", *onnx_graphs.PACKAGES),
    BIOIMAGE: ("bioimage", "Writing a BioImage.IO package", *onnx_graphs.PACKAGES, "bioimageio.spec"),
}
"""Extra, work and packages of the formats that need some, by their suffix."""


def _program(model: OneInput) -> ExportedProgram:
    """Trace a model with an image of which neither side is special."""
    side = TRACED_PX * (model.preparation.tiling.side_px or model.preparation.size_px)
    image, free = torch.rand(1, 1, side + 1, side + 8), {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    with torch.inference_mode(False), torch.no_grad():
        return torch.export.export(model, (image,), dynamic_shapes=(free,), strict=False)


def _name_axes(graph: Any) -> None:
    """Call the free axes of a graph height and width."""
    import onnx_ir

    for value in (*graph.inputs, *graph.outputs):
        value.shape = onnx_ir.Shape([*list(value.shape)[:2], "height", "width"])


def _verify(path: Path, checks: Iterable[Check], run: Callable[[np.ndarray], np.ndarray]) -> None:
    """Make sure that a file finds what the segmenter finds."""
    apart = max(float(np.abs(run(each.image[None, None])[0] - each.probabilities).max()) for each in checks)
    if not apart <= TOLERANCE:
        msg = (
            f"{path.name.removeprefix('.')} does not compute what the segmenter does: expected probabilities within "
            f"{TOLERANCE:g}, got {apart:.1g} apart. Export in another format, or report it with the task."
        )
        raise ValueError(msg)
