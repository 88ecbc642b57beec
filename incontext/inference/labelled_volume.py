"""A volume or sequence as a person has it, some of its planes labelled → all its planes segmented, on its own grid.

What `incontext.inference.propagation` does on the network's grid is done for each window that planes are seen by.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Shaped, UInt8
from torch import Tensor

from incontext.images.arrays import Picture, stack_axis
from incontext.images.case_planes import emptied, plane_of
from incontext.images.channels import Channel
from incontext.images.examples import Example, Examples, LabelMap, Parts, as_source_image, called
from incontext.images.frames import Frames, read_frames
from incontext.images.normalisation import apply
from incontext.images.prompts import whole_key, whole_number
from incontext.images.resampling import binary_to_square, to_square
from incontext.images.source_image import (
    AS_CLASSES,
    Axis,
    SourceImage,
    read_label_image,
    stored_values,
)
from incontext.inference.drawn_window import reaches_edge, window_around
from incontext.inference.planes import CasePrediction, Classes, DrawnPlane, Plane
from incontext.inference.propagation import LabelledPlanes, LabelledStructure, Propagation, propagate_all
from incontext.inference.support_pool import Fitted, Preparation
from incontext.networks.protocols import Backend
from incontext.networks.unknown import as_shares
from megamed.label_values import LabelRules
from megamed.squares import Box

FrameMasks = Mapping[str, Mapping[int, Picture | Parts]]
"""Masks of single planes by class name and by the index of the plane."""
PlaneLabels = Mapping[int, Picture | Parts] | FrameMasks | Picture
"""Label maps by the index of their plane, or masks by class name and that index; or one label map of the whole volume,
of which every plane with a class is labelled. Of frames that are passed one by one, also labels in several parts."""


FILM = Propagation(continuity=0.0, stillness=256.0)
"""Parameters for films: stillness was chosen on ultrasound, and changes nothing on laryngoscopy, where all moves."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """A stack or volume, and the label maps of some of its planes by the index of the plane."""

    case: SourceImage
    labels: Mapping[int, UInt8[np.ndarray, "H W"]] = field(repr=False)
    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, str] = field(default_factory=dict)
    unknown: Mapping[int, Bool[np.ndarray, "H W"]] = field(default_factory=dict, repr=False)
    """Pixels that nobody judged, of those planes that have any."""
    notes: tuple[str, ...] = ()
    """Decisions between several senses of the labels' values, a sentence each."""

    @property
    def example(self) -> Example:
        """The labelled planes as an example."""
        indices = list(self.labels)
        case = replace(self.case, planes=self.case.planes[indices])
        drawn = LabelMap(np.stack([self.labels[index] for index in indices]))
        nowhere = np.zeros(drawn.label.shape[1:], bool)
        unknown = np.stack([self.unknown.get(index, nowhere) for index in indices]) if self.unknown else None
        return Example(case, drawn, None, self.names, self.notes, self.colours, unknown)

    @property
    def values(self) -> set[int]:
        """Label values of the classes that were drawn."""
        return {int(value) for label in self.labels.values() for value in np.unique(label) if value}


def read_labelled(
    volume: Picture | SourceImage | Frames,
    labels: PlaneLabels | None,
    axis: Axis = None,
    rules: LabelRules = AS_CLASSES,
    channel: Channel = None,
    level: int = 0,
) -> Labelled:
    """Read a volume or frames, and the labels of some of its planes.

    Args:
        volume: A stack or volume, in any form that `read_source_image` takes, or a list of frames.
        labels: Label maps, each oriented like the plane of the source's array. None or empty if no plane is labelled.
        axis: Axis from plane to plane, as in `read_source_image`; a `SourceImage` and a list of frames have their own.
        rules: Meaning of the values of labels.
        channel: The channel to look at, where there are several.
        level: Level of the resolution, where there are several.

    Raises:
        ValueError: If the volume is a single image, frames differ in size, or a label does not fit.
        OSError: If a file cannot be read.
    """
    if isinstance(volume, list | tuple):
        case = read_frames(volume, channel, level)
    else:
        case = as_source_image(volume, called(volume, "volume"), stack_axis(volume, axis), channel, level)
    if case.kind == "image":
        msg = f"volume has no planes: expected a stack or volume, got an image of {case.shape}. Use predict for images."
        raise ValueError(msg)
    if labels is None:
        return Labelled(case, {})
    if not isinstance(labels, Mapping):
        label = read_label_image(labels, called(labels, "labels"), case, rules)
        drawn = {index: plane for index, plane in enumerate(label.planes) if plane.any()}
        unknown = {} if label.unknown is None else {index: label.unknown[index] for index in drawn}
        notes = (*label.notes, *_drawn_across(label.planes, case, called(labels, "labels")))
        return Labelled(case, drawn, label.names, label.colours, unknown, notes)
    by_name, maps, indices = _by_plane(labels, len(case.planes))
    if (by_name or isinstance(volume, list | tuple)) and indices:
        known = {name: [masks.get(index) for index in indices] for name, masks in by_name.items()}
        frames = volume if isinstance(volume, list | tuple) else None
        drawn_on = [plane_of(case, index) if frames is None else frames[index] for index in indices]
        examples = Examples(drawn_on, known or [maps[index] for index in indices], rules, channel)
        return _of_examples(case, dict(zip(indices, examples, strict=True)), examples.names)
    read = {
        index: read_label_image(label, called(label, f"labels[{index}]"), plane_of(case, index), rules)
        for index, label in sorted(maps.items())
        if not isinstance(label, tuple)
    }
    planes = {index: label.planes[0] for index, label in read.items()}
    unknown = {index: label.unknown[0] for index, label in read.items() if label.unknown is not None}
    notes = tuple(dict.fromkeys(note for label in read.values() for note in label.notes))
    return Labelled(case, planes, unknown=unknown, notes=notes)


def _by_plane(labels: Mapping[Any, Any], planes: int) -> tuple[dict[str, dict[int, Any]], dict[int, Any], list[int]]:
    """Masks by class name and index of the plane, label maps by the index alone, and the indices that are named.

    Raises:
        ValueError: If there are both, or an index is none of a plane.
    """
    by_name = {name: masks for name, masks in labels.items() if isinstance(masks, Mapping)}
    named = [index for masks in by_name.values() for index in masks] or list(labels)
    if wrong := [index for index in named if whole_key(index) not in range(planes)]:
        msg = f"labels name no plane: expected indices from 0 to {planes - 1}, got {wrong}. Correct them."
        raise ValueError(msg)
    if by_name and len(by_name) < len(labels):
        other = next(index for index in labels if index not in by_name)
        msg = (
            "labels are of two kinds: expected label maps by the index of the plane, or masks by class name and index, "
            f"got both, such as {next(iter(by_name))!r} and {other!r}. Pass one kind."
        )
        raise ValueError(msg)
    masks = {str(name): {int(index): mask for index, mask in of.items()} for name, of in by_name.items()}
    maps = {} if by_name else {int(index): label for index, label in labels.items()}
    return masks, maps, sorted(map(int, set(named)))


def _drawn_across(label: UInt8[np.ndarray, "N H W"], case: SourceImage, name: str) -> Iterator[str]:
    """Tell of a label that shows lines, as where it was drawn on planes along another axis."""
    along, *others = (np.asarray(label.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    if (along[2:] & along[1:-1] & along[:-2]).any():
        for axis, shows in zip(case.view.axes[1:], others, strict=True):
            if shows.any() and not (shows[1:] & shows[:-1]).any():
                yield (
                    f"{name} seems to be drawn on slices along axis {axis}: expected areas on slices along axis "
                    f"{case.axis}, got lines on {along.sum()} of them. Choose {axis} as the axis."
                )


def _of_examples(case: SourceImage, examples: Mapping[int, Example], names: Mapping[int, str]) -> Labelled:
    """Put together what was read of single frames of a case: each label lies on its own frame, whatever its file is."""
    each = examples.values()
    return Labelled(
        case,
        {index: example.label_map[0] for index, example in examples.items()},
        {**{value: name for example in each for value, name in example.names.items()}, **names},
        {value: colour for example in each for value, colour in example.colours.items()},
        {index: example.unknown[0] for index, example in examples.items() if example.unknown is not None},
        tuple(dict.fromkeys(note for example in each for note in example.notes)),
    )


def classes_to_seek(labelled: Labelled, fitted: Fitted | None, named: Mapping[int, str], overlap: bool) -> Classes:
    """The classes of labelled planes and of other volumes together.

    Args:
        labelled: The volume and its labelled planes.
        fitted: Labelled squares of other volumes, if there are any.
        named: Names of label values, which precede all others.
        overlap: Whether a pixel may be of several classes at once.
    """
    known = fitted.names if fitted else {}
    told = {**labelled.names, **known, **named}
    names = {value: told.get(value, str(value)) for value in sorted(labelled.values | {*known})}
    return Classes(names, overlap, {**labelled.colours, **(fitted.colours if fitted else {})})


@dataclass(frozen=True)
class Propagator:
    """Segmentation of volumes of which some planes are labelled, window by window.

    Attributes:
        backend: The network, or its exported graphs.
        device: The device to compute on.
        preparation: Normalisation and windows that turn planes into squares.
        classes: The classes to look for.
        temperature: The number that logits are divided by.
        fitted: Labelled squares of other volumes, if there are any.
        config: Parameters of the propagation; by default those that are `suitable` for the volume.
        told: Function that is told how many planes are done, and of how many, the windows of a plane counted apart.
        near: Whether volumes are seen by a window around what was drawn, which a network tuned on whole planes is not.
    """

    backend: Backend
    device: torch.device
    preparation: Preparation
    classes: Classes
    temperature: float = 1.0
    fitted: Fitted | None = field(default=None, repr=False)
    config: Propagation | None = None
    told: Callable[[int, int], object] | None = None
    near: bool = True

    def __call__(self, labelled: Labelled) -> CasePrediction:
        """Segment all planes; those that are labelled stay as they were drawn, where somebody judged."""
        case = labelled.case
        # what is drawn on one plane is sought on the next: an array, too, is one thing here
        scaled = apply(case, replace(self.preparation.normalisation, by_plane=False))
        boxes = self._near(labelled)
        logits = self._windows(scaled, labelled, boxes)
        if len(boxes) == 1 and reaches_edge(logits[:, 0], boxes[0], case.planes.shape[1:]):
            boxes = self.preparation.boxes(case)
            logits = self._windows(scaled, labelled, boxes)
        values = tuple(self.classes.names)
        found = [Plane(case.planes.shape[1:], boxes, each) for each in logits]
        planes: list[Plane | DrawnPlane] = [*found]
        for index, label in labelled.labels.items():
            planes[index] = DrawnPlane(label, values, labelled.unknown.get(index), found[index])
        return CasePrediction(emptied(case), planes)

    def _near(self, labelled: Labelled) -> list[Box]:
        """The windows to see the planes by: one around what was drawn, if a volume has nothing else to go by."""
        case, boxes = labelled.case, self.preparation.boxes(labelled.case)
        margin = (self.config or Propagation()).margin
        if case.kind != "volume" or not self.near or self.fitted or len(boxes) > 1 or not margin:
            return boxes
        return [window_around(labelled.labels.values(), margin, case.spacing_mm[1:] if case.spacing_mm else (1.0, 1.0))]

    def support_of(self, labelled: Labelled) -> str:
        """Describe what a volume is segmented by, for its report."""
        here = f"{len(labelled.labels)} labelled planes and what was found from them"
        others = self.fitted.pool.label_budget if self.fitted else 0
        return f"{here}, {others} labelled images of others" if others else here

    def _windows(
        self, scaled: Float32[np.ndarray, "N H W"], labelled: Labelled, boxes: Sequence[Box]
    ) -> Float[Tensor, "N boxes C size size"]:
        done = _Count(len(labelled.labels) * len(boxes), len(boxes) * len(scaled), self.told)
        return torch.stack([self._window(scaled, labelled, box, done) for box in boxes], dim=1) / self.temperature

    def _window(
        self, scaled: Float32[np.ndarray, "N H W"], labelled: Labelled, box: Box, done: "_Count"
    ) -> Float[Tensor, "N C size size"]:
        planes = np.stack([to_square(plane, self.preparation.size_px, box) for plane in scaled])
        squares = torch.from_numpy(planes)[:, None].to(self.device)
        config = self.config or suitable(labelled.case, box)
        structures = [
            LabelledStructure(self._labels(labelled, value, box), self._others(value)) for value in self.classes.names
        ]
        return propagate_all(self.backend, squares, structures, config, self.classes.overlap, done.add).cpu()

    def _labels(self, labelled: Labelled, value: int, box: Box) -> dict[int, Float32[Tensor, "1 size size"]]:
        """Squares of a class's labels, by the index of their plane.

        None at all of a class that nobody drew here but examples show: it may well be there.
        """
        if value not in labelled.values and self.fitted and value in self.fitted.names:
            return {}
        squares = {
            index: binary_to_square(label == value, labelled.unknown.get(index), self.preparation.size_px, box)
            for index, label in labelled.labels.items()
        }
        return {index: as_shares(torch.from_numpy(square)[None].to(self.device)) for index, square in squares.items()}

    def _others(self, value: int) -> LabelledPlanes | None:
        if self.fitted is None or value not in self.fitted.names:
            return None
        pool, index = self.fitted.pool, list(self.fitted.names).index(value)
        chosen = pool.candidates(index, showing=False)
        labels = pool.labels[chosen, index, None]
        return LabelledPlanes(pool.images[chosen].to(self.device), as_shares(labels.to(self.device)))


@dataclass
class _Count:
    """Number of planes that are done, those that were drawn among them, of which somebody may want to be told."""

    done: int
    total: int
    told: Callable[[int, int], object] | None

    def add(self, planes: int) -> None:
        self.done += planes
        if self.told is not None:
            self.told(self.done, self.total)


def suitable(case: SourceImage, box: Box) -> Propagation:
    """Choose the parameters of propagation by the kind of a source image, its spacing and the window that is seen.

    In a stack, such as the frames of a film, things may move, so that shapes are not interpolated; as far as a frame
    looks like a labelled one, they stay. In a volume they recede with the distance between planes.
    """
    if case.kind != "volume":
        return FILM
    if case.spacing_mm is None:
        return Propagation()
    between, row, column = case.spacing_mm
    return Propagation(step=between / max(box.height * row, box.width * column))


def in_whole(label: Picture, case: SourceImage, plane: int) -> Shaped[np.ndarray, "*grid"]:
    """A label map of a stack or volume, all 0 but for one plane that was labelled.

    Args:
        label: Label values on the grid that the source's array has at that plane.
        case: The stack or volume.
        plane: Index of the plane.

    Raises:
        ValueError: If there is no such plane, or the label has another size.
    """
    values, within, index = stored_values(label, called(label, "label")), plane_of(case, 0).shape, whole_number(plane)
    if index not in range(len(case.planes)) or values.shape != within:
        msg = (
            f"label does not fit a plane: expected {within} and an index from 0 to {len(case.planes) - 1}, got "
            f"{values.shape} and {plane!r}. Pass what was drawn on that plane."
        )
        raise ValueError(msg)
    whole = np.zeros(case.grid, values.dtype)
    np.moveaxis(whole, case.axis, 0)[index] = values
    return whole.reshape(case.shape)
