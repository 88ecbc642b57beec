"""Segmentation of images by an exported model, by what reads and writes files and an ONNX runtime alone: no torch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from incontext import __version__
from incontext.folders import MASKS, SUMMARY
from incontext.folders.folder_images import read_folder
from incontext.folders.model_graph import ExportedModel
from incontext.folders.run_folder import places
from incontext.images.source_image import SourceImage, mask_suffix, read_source_image, write_mask
from megamed import formats
from megamed.failures import Attempt
from megamed.files import Unwritable, claimed, make_folder, write_json
from megamed.pairing import ImagePair


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
