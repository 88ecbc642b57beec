"""Labelled examples as people hold them, label maps or masks by name → grey planes and a mask for every class."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt8

from incontext.images.arrays import Picture
from incontext.images.orientation import PlaneLayout
from incontext.images.source_image import (
    AS_CLASSES,
    LabelCase,
    SourceImage,
    read_label_image,
    read_source_image,
    stored_values,
)
from megamed.label_values import LabelRules, distinct, is_instances, split_unknown, suspected_void

Pictures = Picture | SourceImage | Sequence[Picture | SourceImage]
"""One image, stack or volume, or a list of them of any sizes."""

Parts = tuple[Picture, ...]
"""The label of one image in parts that are united, such as a file for each lesion."""

Labels = Pictures | Sequence[Picture | Parts] | Mapping[str, Picture | Sequence[Picture | Parts | None]]
"""One label map or a list of them; or by the name of each class its masks, None where it was not annotated."""

Unknown = int | Sequence[int] | None
"""Values of pixels that nobody judged; None to find out."""

TAKEN_FOR_UNKNOWN = "it is taken for pixels that nobody judged; pass `unknown` to say which are, if any."
MOST_CLASSES = 255
SAMPLED_LABELS = 8
"""Label maps by which all are judged."""
SAMPLED_PLANES = 8
"""Planes that stand for a stack or volume where only its kind is asked for."""


class LabelMap(Mapping[int, Bool[np.ndarray, "*grid"]]):
    """The masks of a label map by value, each made when it is asked for: a hundred at once would fill the memory.

    Attributes:
        label: 0 is background, every other value a class.
    """

    def __init__(self, label: UInt8[np.ndarray, "*grid"]) -> None:
        self.label = label
        self._values = [int(value) for value in np.unique(label) if value]

    def __getitem__(self, value: int) -> Bool[np.ndarray, "*grid"]:
        if value not in self._values:
            raise KeyError(value)
        return self.label == value

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True)
class Example:
    """A case and the masks of the classes that were found in it.

    Attributes:
        case: The labelled image, stack or volume.
        masks: Binary annotations by label value, one for each class that the case shows.
        annotated: Label values that were looked for; None if all were.
        names: Class names by label value, where the label's file tells them.
        notes: Decisions between several senses of the label's values, a sentence each.
        unknown: Pixels that nobody judged, where no mask is; None if there are none.
    """

    case: SourceImage
    masks: Mapping[int, Bool[np.ndarray, "N H W"]] = field(repr=False)
    annotated: frozenset[int] | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unknown: Bool[np.ndarray, "N H W"] | None = field(default=None, repr=False)

    @property
    def shown(self) -> list[int]:
        """The planes to learn from: of a stack or volume those with a label, as others may not have been annotated."""
        return [i for i in range(len(self.case.planes)) if self.case.kind == "image" or self.on_plane(i)]

    def on_plane(self, plane: int) -> Mapping[int, Bool[np.ndarray, "H W"]]:
        """The masks of the classes that a plane shows."""
        if isinstance(self.masks, LabelMap):
            return LabelMap(self.masks.label[plane])
        return {value: mask[plane] for value, mask in self.masks.items() if mask[plane].any()}

    def thinned(self) -> Self:
        """Some of the labelled planes, to stand for all; if there is none, of the others."""
        planes = self.shown or list(range(len(self.case.planes)))
        planes = [planes[place] for place in spread(len(planes), SAMPLED_PLANES)]
        case = replace(self.case, planes=self.case.planes[planes])
        if isinstance(self.masks, LabelMap):
            return replace(self, case=case, masks=LabelMap(self.masks.label[planes]))
        return replace(self, case=case, masks={value: mask[planes] for value, mask in self.masks.items()})


class Examples(Sequence[Example]):
    """Labelled examples, each read when it is asked for.

    Args:
        images: What was annotated.
        labels: Label maps, one per image and on its grid, 0 being background; or masks by class name.
        unknown: Values of pixels that nobody judged; None for 255 or -1, where it stands apart from the classes.

    Raises:
        ValueError: If there are none, or labels and images differ in number.
    """

    def __init__(self, images: Pictures, labels: Labels, unknown: Unknown = None) -> None:
        self.images = as_list(images)
        self.unknown = label_rules(unknown).unknown
        if not self.images:
            message = "support_images are empty: expected at least one image, got none. Label one image or more."
            raise ValueError(message)
        if isinstance(labels, Mapping):
            _check_names(labels)
            self.by_name = {name: as_list(masks) for name, masks in labels.items()}
            counts = {f"support_labels[{name!r}]": len(masks) for name, masks in self.by_name.items()}
        else:
            self.by_name = {}
            self.maps = as_list(labels)
            counts = {"support_labels": len(self.maps)}
        for name, count in counts.items():
            if count != len(self.images):
                message = (
                    f"{name} do not match support_images: expected {len(self.images)}, got {count}. "
                    "Pass one label per support image."
                )
                raise ValueError(message)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        case = as_source_image(self.images[index], called(self.images[index], f"support_images[{index}]"))
        if not self.by_name:
            label = _read_label(self.maps[index], f"support_labels[{index}]", case, self._rules)
            notes = (*self._void_notes(index), *label.notes) if label.unknown is not None else label.notes
            return Example(case, LabelMap(label.planes), None, label.names, notes, label.unknown)
        rules = label_rules(self.unknown)
        read = {
            value: _read_label(masks[index], f"support_labels[{name!r}][{index}]", case, rules)
            for value, (name, masks) in enumerate(self.by_name.items(), start=1)
            if masks[index] is not None
        }
        masks = {value: label.planes > 0 for value, label in read.items() if label.planes.any()}
        notes = tuple(dict.fromkeys(note for label in read.values() for note in label.notes))
        return Example(case, masks, frozenset(read), {}, notes, _united(label.unknown for label in read.values()))

    def __iter__(self) -> Iterator[Example]:
        return map(self.__getitem__, range(len(self)))

    @cached_property
    def _rules(self) -> LabelRules:
        """Rules for all label maps alike: most of them, not each, tell whether their values number objects.

        One that shows 255 or -1 apart from its classes tells what this means in all.
        """
        unknown = self._void if self.unknown is None else self.unknown
        first, sampled = ([split_unknown(each, unknown or ())[0] for each in maps] for maps in self._looked_at)
        return LabelRules(unknown, instances=is_instances(first) and is_instances(sampled))

    @cached_property
    def _looked_at(self) -> tuple[list[Integer[np.ndarray, "..."]], list[Integer[np.ndarray, "..."]]]:
        """The first label map, and some of all."""
        return [self._numbers(0)], self._sampled_numbers()

    def _void_notes(self, index: int) -> tuple[str, ...]:
        """A note on the value of a label map that is taken for unknown, though nobody said so."""
        if self.unknown is not None or not self._void:
            return ()
        name = called(as_list(self.maps[index])[0], f"support_labels[{index}]")
        return (f"{name} has the value {self._void[0]} apart from its classes: {TAKEN_FOR_UNKNOWN}",)

    @cached_property
    def _void(self) -> tuple[int, ...] | None:
        """The value that stands apart in some label map, if it stands apart from the classes of all."""
        values = np.unique(np.concatenate([distinct(label) for label in self._looked_at[1]] + [np.zeros(1, np.uint8)]))
        void = suspected_void(values)
        return None if void is None or all(suspected_void(each) is None for each in self._looked_at[1]) else (void,)

    def _sampled_numbers(self) -> list[Integer[np.ndarray, "..."]]:
        return [self._numbers(index) for index in spread(len(self), SAMPLED_LABELS)]

    def _numbers(self, index: int) -> Integer[np.ndarray, "..."]:
        """Numbers of a label map before they are checked against its image; none if they are no integers."""
        label = self.maps[index]
        part = label[0] if isinstance(label, tuple) else label
        values = stored_values(part, called(part, f"support_labels[{index}]"))
        return values if values.dtype.kind in "iu" and values.ndim in (2, 3) else np.zeros((1, 1), np.uint8)

    @property
    def names(self) -> dict[int, str]:
        """Class names by label value, if the classes were given by name."""
        return dict(enumerate(self.by_name, start=1))


def label_rules(unknown: Unknown) -> LabelRules:
    """Rules for labels of which numbers are classes, but for some that are unknown."""
    values = (unknown,) if isinstance(unknown, int) else None if unknown is None else tuple(unknown)
    return LabelRules(values, instances=False)


def as_list(pictures: object) -> list:
    """Several pictures as a list, one as a list of one."""
    if isinstance(pictures, Sequence) and not isinstance(pictures, str):
        return list(pictures)
    return [pictures]


def called(picture: object, argument: str) -> str:
    """Name a picture in messages: by its path if it has one, else by the argument that holds it.

    >>> called("scans/a.png", "images[3]"), called(None, "images[3]")
    ('scans/a.png', 'images[3]')
    """
    return str(picture) if isinstance(picture, str | Path) else argument


def as_source_image(picture: Picture | SourceImage, name: str) -> SourceImage:
    """A case, read if it is not one yet."""
    return picture if isinstance(picture, SourceImage) else read_source_image(picture, name)


def as_source_images(pictures: Pictures) -> Iterator[SourceImage]:
    """Read pictures one by one, each when its turn comes; errors name its file, or the place in `images`."""
    for index, picture in enumerate(as_list(pictures)):
        yield as_source_image(picture, called(picture, f"images[{index}]"))


def thinned(case: SourceImage) -> SourceImage:
    """Some of the planes, to stand for all."""
    return replace(case, planes=case.planes[spread(len(case.planes), SAMPLED_PLANES)])


def on_grid(planes: Shaped[np.ndarray, "N H W"], case: SourceImage) -> Shaped[np.ndarray, "*grid"]:
    """Values on the planes of a case, brought onto the grid of its source."""
    return np.ascontiguousarray(case.view.array(planes)).reshape(case.shape)


def plane_of(case: SourceImage, place: int) -> SourceImage:
    """A plane of a stack or volume as an image, on the grid that the source's array has there."""
    others = sorted({0, 1, 2} - {case.axis})
    down, across = (1 + others.index(axis) for axis in case.view.axes[1:])
    return replace(
        case,
        planes=case.planes[[place]],
        kind="image",
        shape=tuple(case.grid[axis] for axis in others),
        view=PlaneLayout((0, down, across), (1, *case.view.steps[1:])),
        geometry=None,
    )


def emptied(case: SourceImage) -> SourceImage:
    """A case whose planes take no memory: all that is needed to lay a mask on its grid."""
    return replace(case, planes=np.broadcast_to(np.float32(0), case.planes.shape))


def spread(count: int, most: int) -> list[int]:
    """Evenly spread indices among `count`, at most `most` of them."""
    return [i * count // most for i in range(most)] if count > most else list(range(count))


def _read_label(source: Picture | Parts, argument: str, case: SourceImage, rules: LabelRules = AS_CLASSES) -> LabelCase:
    """Read the label of a case, whose parts are united if it has several; the largest value of a pixel counts."""
    if not isinstance(source, tuple):
        return read_label_image(source, called(source, argument), case, rules)
    parts = [read_label_image(part, called(part, argument), case, rules) for part in source]
    names = {value: name for part in parts for value, name in part.names.items()}
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    planes = np.maximum.reduce([part.planes for part in parts])
    return LabelCase(planes, names, notes, _united(part.unknown for part in parts))


def _united(unknown: Iterable[Bool[np.ndarray, "N H W"] | None]) -> Bool[np.ndarray, "N H W"] | None:
    """Unite the unknown pixels of several labels of an image; what is drawn there nevertheless is known."""
    found = [each for each in unknown if each is not None]
    return np.logical_or.reduce(found) if found else None


def _check_names(labels: Mapping[str, object]) -> None:
    if not 0 < len(labels) <= MOST_CLASSES:
        message = (
            f"support_labels name too few or too many classes: expected 1 to {MOST_CLASSES}, got {len(labels)}. "
            "Segment the rest in a second call."
        )
        raise ValueError(message)
