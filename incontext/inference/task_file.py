"""A task in one file for a colleague to open: labelled squares, names, preparation, parameters and the weights' hash.

The file is a safetensors one, in which nothing can be executed and no tensor can claim to be larger than the file. It
holds the labelled images, scaled, and samples of them as they were; it holds no paths and no patient's data besides.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Shaped
from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from incontext.images.examples import MOST_CLASSES, Example, LabelMap
from incontext.images.normalisation import Normalisation
from incontext.images.source_image import Kind, SourceImage
from incontext.images.tiling import Tiling
from incontext.inference.growth import without_examples
from incontext.inference.image_source import ImageSource
from incontext.inference.support_pool import Fitted, Pool, Preparation
from incontext.inference.task_codes import codes_of, left_out_of, tensors_of
from incontext.networks.checkpoint import NAMED, locate
from incontext.networks.sealed import Damaged, read_sealed_metadata, read_tensors, save_sealed
from incontext.networks.weights_delta import Tuned, WeightsDelta
from megamed.files import replacing, sha256_of
from megamed.readers.faults import check_no_stream
from megamed.unknown import UNKNOWN

MOST_BYTES = 2**32
"""Largest file of a saved task that is read, in bytes."""
LEAST_SIDE_PX = 8
"""Least side of a tile or of the network's square, in pixels: a large image has endlessly many smaller tiles."""
MOST_SIZE_PX = 4096
MOST_SIDE_PX = 2**17
MOST_IMAGES = 2**20
MOST_DRAWS = 256
"""Most support sets of an ensemble, each of which costs a prediction."""
MOST_SEED = 2**32
MOST_STEPS = 2**20
TUNED = "tuned."
"""Beginning of the names of tensors that the network is moved by."""
LONGEST_NAME = 1000
"""Characters of the name of a class."""
MOST_SAMPLES = 64
NARROW = (np.uint8, np.int16)
"""Types that grey values are stored in if they fit exactly; else float32."""

Side = Annotated[int, Field(ge=LEAST_SIDE_PX, le=MOST_SIDE_PX)]
Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Millimetres = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Value = Annotated[int, Field(ge=1, le=MOST_CLASSES)]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Parameters(_Record):
    """The arguments of a `Segmenter` that do not depend on the machine."""

    support: Literal["all", "nearest", "diverse", "random"]
    support_size: int | None = Field(ge=1, le=MOST_IMAGES)
    ensemble: int = Field(ge=1, le=MOST_DRAWS)
    flips: bool | Literal["auto"]
    overlap: bool
    scaling: Literal["auto", "min-max", "percentile", "window"]
    tiling: Literal["auto", "never", "always"] | Side
    size_px: int = Field(ge=LEAST_SIDE_PX, le=MOST_SIZE_PX)
    backend: Literal["torch", "onnx"]
    seed: int = Field(ge=-MOST_SEED, le=MOST_SEED)
    absent: Literal["auto", "suppress", "mark", "keep"] = "auto"
    channel: int | Name | None = None
    level: Annotated[int, Field(ge=0)] = 0
    tune: Literal["auto"] | Annotated[int, Field(ge=0, le=MOST_STEPS)] = 0


class Weights(_Record):
    """Identification of the weights that a task was made with, by name and content."""

    name: str
    """One of `checkpoint.NAMED` or the name of a file, without its folder."""
    sha256: str

    @classmethod
    def of(cls, weights: str | Path | nn.Module, sha256: str | None) -> Self:
        """Identify weights that come from a file with this hash.

        Raises:
            ValueError: If they come from no file, so that nobody could find them.
        """
        if sha256 is None or isinstance(weights, nn.Module):
            msg = (
                "task cannot be saved: expected weights that come from a file, got a module. "
                "Save it with incontext.networks.checkpoint.save and pass the file: Segmenter(weights=…)."
            )
            raise ValueError(msg)
        return cls(name=str(weights) if str(weights) in NAMED else Path(weights).name, sha256=sha256)

    @model_validator(mode="after")
    def _is_a_bare_name(self) -> Self:
        if not self.name or self.name in (".", "..") or "/" in self.name or "\\" in self.name:
            msg = f"weights have a path for a name: expected a bare name, got {self.name!r}"
            raise ValueError(msg)
        return self


class _Sample(_Record):
    """The properties of an example, besides its pixels, with which new images are compared."""

    kind: Kind
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None
    cut: str | None
    names: dict[Value, Name]
    colours: dict[Value, Colour] = Field(default_factory=dict)
    annotated: list[Value] | None
    values: list[Value] | None
    """Label values of the layers of masks; None where these are one label map."""


class _Head(_Record):
    version: Literal[1, 2, 3, 4, 5] = 1
    """2 if some pixels are unknown, which readers of the first would take for background; 3 if the network was to be
    tuned, which readers of both would read untuned; 4 if there are codes in the place of images; 5 if what examples
    tell of each other is beside these, without which readers of the fourth would draw what is absent."""
    names: dict[Value, Name] = Field(min_length=1)
    has_objects: bool = False
    unknown: tuple[Annotated[int, Field(ge=-(2**31), lt=2**32)], ...] | None = None
    normalisation: Normalisation
    tiling: Tiling
    size_px: int = Field(ge=LEAST_SIDE_PX, le=MOST_SIZE_PX)
    parameters: Parameters
    weights: Weights
    tuning: Annotated[str, Field(max_length=LONGEST_NAME)] | None = None
    """Outcome of tuning in words, if it was asked for; the tensors hold what it has changed."""
    sample: list[_Sample] = Field(max_length=MOST_SAMPLES)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        kind, low, high = self.normalisation.kind, self.normalisation.low, self.normalisation.high
        ends = [end for end in (low, high) if end is not None]
        if (
            len(ends) != (2 if kind == "window" else 0)
            or ends != sorted(set(ends))
            or not all(map(math.isfinite, ends))
        ):
            msg = f"scaling is impossible: expected low < high for a window and none else, got {kind} {low} to {high}"
            raise ValueError(msg)
        side_px = self.tiling.side_px
        if side_px is not None and not LEAST_SIDE_PX <= side_px <= MOST_SIDE_PX:
            msg = f"tiles are impossible: expected a side of {LEAST_SIDE_PX} to {MOST_SIDE_PX} px, got {side_px}"
            raise ValueError(msg)
        return self


class _About(_Record):
    task: Json[_Head]
    author: str = ""
    sources: Json[tuple[ImageSource, ...]] = ()
    format: str | None = None
    """Framework of the tensors, which some programs state."""


@dataclass(frozen=True, eq=False)
class SavedTask:
    """A saved task: everything of a fitted `Segmenter` but its weights, and what these were moved by if it tuned."""

    fitted: Fitted
    parameters: Parameters
    weights: Weights
    tuned: Tuned | None = None
    author: str = ""
    """Maker of the task, in words of their own; empty if not stated."""
    sources: tuple[ImageSource, ...] = ()
    """Datasets that the images come from, as far as it is known of all of them."""


def write_task(path: Path, task: SavedTask) -> Path:
    """Write a task; the file is replaced at once or not at all."""
    fitted, pool = task.fitted, task.fitted.pool
    unknown = pool.labels == UNKNOWN
    head = _Head(
        version=(5 if fitted.left_out else 4) if fitted.codes else 3 if task.tuned else 2 if unknown.any() else 1,
        names=dict(fitted.names),
        has_objects=fitted.has_objects,
        unknown=fitted.unknown,
        normalisation=fitted.preparation.normalisation,
        tiling=fitted.preparation.tiling,
        size_px=fitted.preparation.size_px,
        parameters=task.parameters,
        weights=task.weights,
        tuning=None if task.tuned is None else task.tuned.reason,
        sample=[_described(example) for example in fitted.sample],
    )
    squares = {"images": pool.images, "annotated": pool.annotated, "origins": pool.origins}
    tensors = (
        tensors_of(fitted.codes, fitted.left_out) if fitted.codes else {**squares, "labels": _packed(pool.labels == 1)}
    )
    numbers = {"examples": pool.examples, "subjects": pool.subjects}
    tensors |= {name: each for name, each in numbers.items() if each is not None}
    if unknown.any():
        tensors["unknown"] = _packed(unknown)
    if task.tuned and task.tuned.delta:
        tensors |= {f"{TUNED}{name}": each for name, each in task.tuned.delta.tensors().items()}
    for index, example in enumerate(fitted.sample):
        tensors[f"sample.{index}.planes"] = torch.from_numpy(_narrowed(example.case.planes))
        tensors[f"sample.{index}.masks"] = torch.from_numpy(_masks(example))
    with replacing(path) as partial:
        about = {"task": head.model_dump_json(exclude_defaults=True), "author": task.author}
        if task.sources:
            about["sources"] = json.dumps([each.model_dump() for each in task.sources])
        save_sealed({name: each.contiguous() for name, each in tensors.items()}, partial, about)
    return path


def read_task(path: Path) -> SavedTask:
    """Read a task from a file that need not be trusted: every field and tensor is checked.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no task, is damaged, or of a later version.
    """
    if not path.is_file():
        msg = f"task is missing: expected a file, got {path}. Check the path."
        raise FileNotFoundError(msg)
    try:
        _expect(path.stat().st_size <= MOST_BYTES, f"at most {MOST_BYTES} bytes, got {path.stat().st_size}")
        about = _About.model_validate(read_sealed_metadata(path))
        task = _task(about.task, read_tensors(path))
        return replace(task, author=about.author, sources=about.sources)
    except (Damaged, ValidationError, _Unfit) as error:
        msg = f"{path} is no readable task: {_told(error)}. Save it anew, or update incontext-seg."
        raise ValueError(msg) from error


def is_task(path: Path) -> bool:
    """Whether a file is a task, as its header says."""
    try:
        check_no_stream(path)
        with safe_open(path, "pt") as file:
            return "task" in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False


def describe_task(path: Path) -> dict[str, Any]:
    """Tell what a task segments, by how many labelled images, and how.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no task, is damaged, or of a later version.
    """
    return {**described(read_task(path)), "size_bytes": path.stat().st_size}


def described(task: SavedTask) -> dict[str, Any]:
    """Tell what a task segments, by how many labelled images, and how, as JSON takes it."""
    pool, fitted = task.fitted.pool, task.fitted
    shown = [len(pool.origins[pool.candidates(place, showing=True)].unique()) for place in range(len(fitted.names))]
    return {
        "classes": {
            value: {"name": name, "labelled_images": count}
            for (value, name), count in zip(fitted.names.items(), shown, strict=True)
        },
        "labelled_images": pool.label_budget,
        "codes_only": fitted.codes is not None,
        "author": task.author or None,
        "sources": [each.model_dump() for each in task.sources],
        "weights": task.weights.model_dump(),
        "tuning": task.tuned and task.tuned.reason,
        "parameters": task.parameters.model_dump(),
        "normalisation": str(fitted.preparation.normalisation),
        "tiling": fitted.preparation.tiling.reason,
    }


def find_weights(task: Weights, candidates: Iterable[str | Path]) -> str | Path:
    """Find the weights that a task was made with among named ones and files, by their hash.

    Raises:
        FileNotFoundError: If they are not at hand.
    """
    tried = []
    for candidate in candidates:
        file = locate(candidate)
        if file.is_file():
            if sha256_of(file) == task.sha256:
                return candidate
            tried.append(str(candidate))
    msg = (
        f"weights of the task are not at hand: expected {task.name} of SHA-256 {task.sha256}, got "
        f"{', '.join(tried) or 'none'}. Ask for the file whoever saved the task: load_task(path, weights=…)."
    )
    raise FileNotFoundError(msg)


class _Unfit(ValueError):
    """A file whose parts do not fit together."""


def _expect(true: bool, what: str) -> None:
    if not true:
        msg = f"expected {what}"
        raise _Unfit(msg)


def _told(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "header"
        return f"{place}: {first['msg']}" if place.isprintable() else f"{place!r}: {first['msg']}"
    return str(error)


def _described(example: Example) -> _Sample:
    return _Sample(
        kind=example.case.kind,
        spacing_mm=example.case.spacing_mm,
        cut=example.case.cut,
        names=dict(example.names),
        colours=dict(example.colours),
        annotated=None if example.annotated is None else sorted(example.annotated),
        values=None if isinstance(example.masks, LabelMap) else list(example.masks),
    )


def _narrowed(planes: Shaped[np.ndarray, "N H W"]) -> Shaped[np.ndarray, "N H W"]:
    low, high = planes.min(), planes.max()
    for dtype in NARROW:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max and (planes.astype(dtype) == planes).all():
            return planes.astype(dtype)
    return planes


def _masks(example: Example) -> np.ndarray:
    """The label map (N, H, W), or a layer for each class (V, N, H, W)."""
    if isinstance(example.masks, LabelMap):
        return example.masks.label
    return np.array([*example.masks.values()], dtype=np.uint8).reshape(-1, *example.case.planes.shape)


def _task(head: _Head, tensors: Mapping[str, Tensor]) -> SavedTask:
    tuned, tensors = _tuned(head, tensors)
    if head.version >= 4:
        return SavedTask(_without_images(head, tensors), head.parameters, head.weights, tuned)
    has_unknown = head.version == 2 or (head.version > 2 and "unknown" in tensors)
    names = {"images", "labels", "annotated", "origins", *(["unknown"] if has_unknown else [])}
    names |= {"examples", "subjects"} & tensors.keys()  # which older files lack
    names |= {f"sample.{index}.{part}" for index in range(len(head.sample)) for part in ("planes", "masks")}
    _expect(tensors.keys() == names, f"tensors {', '.join(sorted(names))}, got {', '.join(sorted(tensors))}")
    fitted = Fitted(
        _pool(tensors, len(head.names), head.size_px),
        dict(sorted(head.names.items())),
        Preparation(head.normalisation, head.tiling, head.size_px),
        [
            _example(each, tensors[f"sample.{index}.planes"], tensors[f"sample.{index}.masks"])
            for index, each in enumerate(head.sample)
        ],
        head.has_objects,
        head.unknown,
    )
    return SavedTask(fitted, head.parameters, head.weights, tuned)


def _without_images(head: _Head, tensors: Mapping[str, Tensor]) -> Fitted:
    """Make the state of a task whose images are not in the file."""
    _expect(not head.sample, f"no sample in a task without images, got {len(head.sample)}")
    try:
        left_out, tensors = left_out_of(tensors, len(head.names)) if head.version == 5 else ((), tensors)
        codes = codes_of(tensors, len(head.names))
    except ValueError as error:
        raise _Unfit(str(error).rstrip(".")) from error
    nothing = without_examples(head.names, Preparation(head.normalisation, head.tiling, head.size_px), [])
    return replace(nothing, has_objects=head.has_objects, unknown=head.unknown, codes=codes, left_out=left_out)


def _tuned(head: _Head, tensors: Mapping[str, Tensor]) -> tuple[Tuned | None, dict[str, Tensor]]:
    """Outcome of tuning, and the tensors that are none of it."""
    moved = {name.removeprefix(TUNED): each for name, each in tensors.items() if name.startswith(TUNED)}
    rest = {name: each for name, each in tensors.items() if not name.startswith(TUNED)}
    if head.tuning is None:
        _expect(not moved, f"no tuned network where none is told of, got {len(moved)} tensors of one")
        return None, rest
    try:
        return Tuned(WeightsDelta.read(moved) if moved else None, head.tuning), rest
    except ValueError as error:
        raise _Unfit(str(error).rstrip(".")) from error


def _pool(tensors: Mapping[str, Tensor], classes: int, size_px: int) -> Pool:
    images, count, pixels = tensors["images"], len(tensors["origins"]), size_px**2
    _expect(count > 0, "labelled squares, got none")
    _fits("images", images, torch.float32, (count, 1, size_px, size_px))
    _expect(bool(((images >= 0) & (images <= 1)).all()), "images within 0 and 1, got others")
    _fits("labels", tensors["labels"], torch.uint8, (count, classes, math.ceil(pixels / 8)))
    _fits("annotated", tensors["annotated"], torch.bool, (count, classes))
    _fits("origins", tensors["origins"], torch.int64, (count,))
    shape = count, classes, size_px, size_px
    labels = _unpacked(tensors["labels"], shape)
    shown = (labels.flatten(2).any(-1) & tensors["annotated"]).any(0)
    _expect(bool(shown.all()), "every class in some labelled square, got one in none")
    if "unknown" in tensors:
        _fits("unknown", tensors["unknown"], torch.uint8, (count, classes, math.ceil(pixels / 8)))
        unknown = _unpacked(tensors["unknown"], shape)
        _expect(not (labels & unknown).any(), "unknown pixels outside of labels, got some inside")
        labels += unknown * UNKNOWN
    for name in {"examples", "subjects"} & tensors.keys():
        _fits(name, tensors[name], torch.int64, (count,))
    examples, subjects = tensors.get("examples"), tensors.get("subjects")
    return Pool(images, labels, tensors["annotated"], tensors["origins"], examples, subjects=subjects)


def _packed(bits: Tensor) -> Tensor:
    """Store eight pixels of squares in a byte."""
    return torch.from_numpy(np.packbits(bits.flatten(2).numpy(), axis=-1))


def _unpacked(packed: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """Restore the pixels of squares, as 0 and 1."""
    return torch.from_numpy(np.unpackbits(packed.numpy(), axis=-1, count=shape[2] * shape[3])).reshape(shape)


def _example(head: _Sample, planes: Tensor, masks: Tensor) -> Example:
    _expect(planes.ndim == 3 and planes.numel() > 0, f"planes of a sample, got shape {tuple(planes.shape)}")
    _expect(planes.dtype in (torch.uint8, torch.int16, torch.float32), f"grey values, got {planes.dtype}")
    _expect(bool(planes.isfinite().all()), "finite grey values, got others")
    shape = tuple(planes.shape) if head.values is None else (len(head.values), *planes.shape)
    _fits("masks of a sample", masks, torch.uint8, shape)
    grey, layers = planes.float().numpy(), masks.numpy()
    case = SourceImage(grey, head.kind, grey.shape, grey.dtype, spacing_mm=head.spacing_mm, cut=head.cut)
    known = LabelMap(layers) if head.values is None else dict(zip(head.values, layers > 0, strict=True))
    return Example(
        case, known, None if head.annotated is None else frozenset(head.annotated), head.names, colours=head.colours
    )


def _fits(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    right = tensor.dtype == dtype and tuple(tensor.shape) == shape
    _expect(right, f"{name} of {dtype} {shape}, got {tensor.dtype} {tuple(tensor.shape)}")
