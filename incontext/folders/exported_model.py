"""Segmentation of images by an exported model, by what reads and writes files and an ONNX runtime alone: no torch."""

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float32, UInt8

from incontext import __version__
from incontext.folders import MASKS, SUMMARY
from incontext.folders.folder_images import read_folder
from incontext.folders.run_folder import places
from incontext.images.case_planes import on_grid
from incontext.images.source_image import SourceImage, mask_suffix, read_source_image, write_mask
from megamed import formats
from megamed.extras import require
from megamed.failures import Attempt
from megamed.files import Unwritable, claimed, make_folder, write_json
from megamed.pairing import ImagePair

GRAPH = "model.onnx"
"""Name of the graph in a BioImage.IO package."""
_NO_PACKAGE = (zipfile.BadZipFile, KeyError, ValueError, TypeError)


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
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults

        if not path.is_file():
            msg = f"model is missing: expected a file, got {path}. Check the path."
            raise FileNotFoundError(msg)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
        options.log_severity_level = 3
        # optimising thousands of small nodes takes half a second, more than an image does, and gains little of it
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            content = path.read_bytes() if path.suffix.lower() != ".zip" else zipfile.ZipFile(path).read(GRAPH)
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            told = session.get_modelmeta().custom_metadata_map
            about = {name: json.loads(value) for name, value in told.items()}
        except (*_NO_PACKAGE, faults.Fail, faults.InvalidArgument, faults.InvalidGraph, faults.InvalidProtobuf):
            about = {}
        if "classes" not in about:
            msg = (
                f"{path} is no exported model: expected one of `incontext export --task`, got another file. Export it."
            )
            raise ValueError(msg)
        return cls(lambda image: session.run(None, {"image": image})[0], about)

    @property
    def classes(self) -> dict[int, str]:
        """Names of the classes by label value."""
        return {int(value): name for value, name in self.about["classes"].items()}

    def mask(self, case: SourceImage) -> UInt8[np.ndarray, "*grid"]:
        """The most probable label value of each pixel, on the grid of the source."""
        return on_grid(np.stack([self._of_plane(plane) for plane in case.planes]), case)

    def _of_plane(self, plane: Float32[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
        found = self.run(np.ascontiguousarray(plane[None, None], dtype=np.float32))[0]
        mask, best = np.zeros(plane.shape, np.uint8), 1 - found.sum(0)
        for value, layer in zip(self.classes, found, strict=True):
            mask[layer > best] = value
            best = np.maximum(best, layer)
        return mask


@dataclass(frozen=True)
class ModelRun:
    """Outcome of a run of a model: masks by the images, reasons of failures by the images, and notes."""

    masks: Mapping[str, str]
    failures: Mapping[str, str]
    notes: Sequence[str]


def segment_by_model(
    model: Path,
    query: Path,
    out: Path,
    mask_format: str | None = None,
    channel: str | None = None,
    level: int | None = None,
    track: Callable[[Sequence[ImagePair]], Iterable[ImagePair]] = iter,
) -> ModelRun:
    """Segment the images of a folder, or one image; write a mask of each into `masks/`, and `summary.json`.

    Args:
        model: File that `Segmenter.export` wrote.
        query: Folder of images, or one image.
        out: Folder to write into.
        mask_format: Suffix of the masks; by default each image's own, where it can hold masks.
        channel: Channel to look at of images that have several.
        level: Level of the resolution of images that have several; by default the full one.
        track: Wraps the images, to show progress.

    Raises:
        ValueError: If the file is no model, its classes overlap, there is no image, or somebody else's file is in the
            way.
        OSError: If a file cannot be read or written.
        ModuleNotFoundError: If onnxruntime is not installed.
    """
    opened = ExportedModel.open(model)
    if opened.about["overlap"]:
        msg = f"{model} has classes that overlap: expected one label per pixel, got several. Run it by onnxruntime."
        raise ValueError(msg)
    found = read_folder(query)
    masks: dict[str, str] = {}
    failures: dict[str, str] = {}
    notes = list(found.notes)
    with claimed(out, "segment"):
        make_folder(out / MASKS)
        for pair in track(found.pairs):
            with Attempt(Unwritable) as attempt:
                case = read_source_image(pair.image, str(pair.image), channel=channel, level=level or 0)
                notes += [each for each in (_scaled_otherwise(case, opened.about),) if each and each not in notes]
                suffix = f".{mask_format.removeprefix('.')}" if mask_format else mask_suffix(case)
                path = out / MASKS / f"{formats.stem(pair.name)}{suffix}"
                make_folder(path.parent)
                write_mask(opened.mask(case), case, path, opened.classes, _colours(opened))
                masks[pair.name] = path.relative_to(out).as_posix()
            if attempt.error:
                failures[pair.name] = attempt.reason
        told = {"incontext": __version__, "model": dict(opened.about), "masks": masks, "failures": failures}
        read = {"folders": places(out, query, None), "parameters": {"channel": channel, "level": level or 0}}
        write_json(out / SUMMARY, {**told, "notes": notes, **read})
    return ModelRun(masks, failures, notes)


def _colours(model: ExportedModel) -> dict[int, str]:
    return {int(value): colour for value, colour in model.about["colours"].items()}


def _scaled_otherwise(case: SourceImage, about: Mapping[str, Any]) -> str:
    """Note on volumes and stacks whose planes a segmenter scales together, as a model cannot."""
    if len(case.planes) == 1 or about["scaled_by_plane"] or about["scaling"].startswith("window"):
        return ""
    return "Each plane of a volume is scaled by itself, where a saved task scales the volume as a whole."
