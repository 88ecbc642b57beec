"""Labelled examples as people hold them, label maps or masks by name → grey planes and a mask for every class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from incontext.images.arrays import Picture
from incontext.images.channels import Channel
from incontext.images.class_values import ClassValues, check_count, numbered, one_class
from incontext.images.drawn_formats import drawn_format
from incontext.images.source_image import (
    AS_CLASSES,
    NONE,
    Axis,
    ByValue,
    LabelCase,
    SourceImage,
    path_of,
    read_label_image,
    read_source_image,
    stored_values,
)
from megamed.label_colours import Palettes
from megamed.label_values import LabelRules, distinct, is_instances, split_unknown, suspected_void
from megamed.trimaps import are_trimaps

Pictures = Picture | SourceImage | Sequence[Picture | SourceImage]
"""One image, stack or volume, or a list of them of any sizes."""

Parts = tuple[Picture, ...]
"""The label of one image in parts that are united, such as a file for each lesion."""

Labels = Pictures | Sequence[Picture | Parts] | Mapping[str, Picture | Sequence[Picture | Parts | None]]
"""One label map or a list of them; or by the name of each class its masks, None where it was not annotated."""

TAKEN_FOR_UNKNOWN = (
    "it is taken for pixels that nobody judged; say which are, if any, by unknown=, in the shell --unknown."
)
MOST_CLASSES = 255
NOTHING_SAID = LabelRules()
SAMPLED_LABELS = 8
"""Label maps by which all are judged."""
MOST_JUDGED = 64
"""Number of examples that are judged by the others, and of squares of them unless each has one only."""
SAMPLED_CASES = 16
"""Number of support images, and of queries, that the choice of preparation and the warnings are based on."""
SAMPLED_PIXELS = 2**26
"""Pixels of all examples together that stand for the others: a third of a gigabyte."""
SAMPLED_PLANES = 8
"""Planes that stand for a stack or volume where only its kind is asked for."""


class LabelMap(Mapping[int, Bool[np.ndarray, "*grid"]]):
    """The masks of a label map by value, each made when it is asked for: a hundred at once would fill the memory.

    Attributes:
        label: 0 is background, every other value a class.
    """

    def __init__(self, label: UInt8[np.ndarray, "*grid"]) -> None:
        self.label = label
        self._values = [int(value) for value in distinct(label) if value]

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
        colours: Colours by label value as `#rrggbb`, where the label's file tells them.
        unknown: Pixels that nobody judged, where no mask is; None if there are none.
        judged: Planes of a stack or volume that somebody judged, though they may show nothing.
    """

    case: SourceImage
    masks: Mapping[int, Bool[np.ndarray, "N H W"]] = field(repr=False)
    annotated: frozenset[int] | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    colours: Mapping[int, str] = field(default_factory=dict)
    unknown: Bool[np.ndarray, "N H W"] | None = field(default=None, repr=False)
    judged: frozenset[int] = frozenset()

    @property
    def shown(self) -> list[int]:
        """The planes to learn from: of a stack or volume those with a label, as others may not have been annotated."""
        count, is_image = len(self.case.planes), self.case.kind == "image"
        return [index for index in range(count) if is_image or index in self.judged or self.on_plane(index)]

    def on_plane(self, plane: int) -> Mapping[int, Bool[np.ndarray, "H W"]]:
        """The masks of the classes that a plane shows."""
        if isinstance(self.masks, LabelMap):
            return LabelMap(self.masks.label[plane])
        return {value: mask[plane] for value, mask in self.masks.items() if mask[plane].any()}

    @property
    def label_map(self) -> UInt8[np.ndarray, "N H W"]:
        """All masks as one map of label values; of classes that overlap the last one stays."""
        label = np.zeros(self.case.planes.shape, np.uint8)
        for value, mask in self.masks.items():
            label[mask] = value
        return label

    def thinned(self) -> Self:
        """Some of the labelled planes, to stand for all; if there is none, of the others."""
        planes = self.shown or list(range(len(self.case.planes)))
        planes = [planes[place] for place in spread(len(planes), SAMPLED_PLANES)]
        if len(planes) == len(self.case.planes):
            return self
        case = replace(self.case, planes=self.case.planes[planes])
        unknown = None if self.unknown is None else self.unknown[planes]
        judged = frozenset(place for place, plane in enumerate(planes) if plane in self.judged)
        if isinstance(self.masks, LabelMap):
            return replace(self, case=case, masks=LabelMap(self.masks.label[planes]), unknown=unknown, judged=judged)
        masks = {value: mask[planes] for value, mask in self.masks.items()}
        return replace(self, case=case, masks=masks, unknown=unknown, judged=judged)


class Examples(Sequence[Example]):
    """Labelled examples, each read when it is asked for; the last one is kept.

    Args:
        images: What was annotated.
        labels: Label maps, one per image and on its grid, 0 being background; or masks by class name; or one file of
            an annotation tool for all images.
        rules: What the user says of the values of labels; if nothing of unknown ones, 255, 254 or -1 are, where they
            stand apart from the classes.
        channel: The channel to look at of images that have several.
        names: Names of label values that are known: classes of these names have these values.
        level: Level of the resolution of images that have several.

    Raises:
        ValueError: If there are none, or labels and images differ in number.
    """

    def __init__(
        self,
        images: Pictures,
        labels: Labels,
        rules: LabelRules = NOTHING_SAID,
        channel: Channel = None,
        names: ByValue = NONE,
        level: int = 0,
    ) -> None:
        self._given_rules = rules
        self._given_names = names
        self._colours: dict[str, str] = {}
        self._palettes = Palettes()
        self._last: tuple[int, Example] | None = None
        self.channel = channel
        self.level = level
        self.images = as_list(images)
        if not self.images:
            message = "support_images are empty: expected at least one image, got none. Label one image or more."
            raise ValueError(message)
        if isinstance(labels, Mapping):
            _check_names(labels)
            self.by_name = {name: as_list(masks) for name, masks in labels.items()}
            counts = {f"support_labels[{name!r}]": len(masks) for name, masks in self.by_name.items()}
        else:
            self.by_name = {}
            self.maps = _for_all(as_list(labels), len(self.images))
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
        if self._last is None or self._last[0] != index:
            self._last = index, self._read(index)
        return self._last[1]

    def _read(self, index: int) -> Example:
        case = as_source_image(
            self.images[index], called(self.images[index], f"support_images[{index}]"), None, self.channel, self.level
        )
        if not self.by_name:
            argument, values = f"support_labels[{index}]", self._values
            label = _read_label(self.maps[index], argument, case, self.rules, values.drawn or None)
            self._check_colour(label.colour, index)
            if not any(path in self._drawn_files for path in _paths(self.maps[index])):
                name = called(_parts(self.maps[index])[0], argument)
                unlike = "" if self.rules.colours else self._palettes.compare(label.colours, name)
                label = values.meant(replace(label, notes=(*label.notes, unlike) if unlike else label.notes), name)
            masks = label.masks or LabelMap(label.planes)
            notes = (*self._void_notes(index), *label.notes) if label.unknown is not None else label.notes
            notes = notes if index else (*notes, *values.notes)
            return Example(case, masks, None, label.names, notes, label.colours, label.unknown)
        read = {
            self._named[name]: _read_mask(masks[index], name, f"support_labels[{name!r}][{index}]", case, self.rules)
            for name, masks in self.by_name.items()
            if masks[index] is not None
        }
        masks = {value: label.planes > 0 for value, label in read.items() if label.planes.any()}
        notes = tuple(dict.fromkeys(note for label in read.values() for note in label.notes))
        return Example(case, masks, frozenset(read), notes=notes, unknown=_unjudged(list(read.values())))

    def __iter__(self) -> Iterator[Example]:
        return map(self.__getitem__, range(len(self)))

    @cached_property
    def rules(self) -> LabelRules:
        """Rules for all label maps alike: most of them, not each, tell whether their values number objects.

        One that shows 255 or -1 apart from its classes tells what this means in all.
        """
        given = self._given_rules
        if self.by_name:
            return replace(given, instances=False)
        if given.colours or given.divisor:
            return given
        maps = [self._numbers(index) for index in spread(len(self), SAMPLED_LABELS)]
        given = replace(given, trimap=given.unknown is None and are_trimaps(maps))
        unknown = _void(maps) if given.unknown is None else given.unknown
        if given.instances is not None:
            return replace(given, unknown=unknown)
        judged = [split_unknown(each, unknown or ())[0] for each in maps]
        return replace(given, unknown=unknown, instances=is_instances(judged[:1]) and is_instances(judged))

    def sample(self, most: int) -> list[Example]:
        """Evenly spread examples, thinned: at most so many, and of large images only as many as fit into memory."""
        first = self[0].thinned()
        fitting = max(1, SAMPLED_PIXELS // first.case.planes.size)
        return [first, *(self[index].thinned() for index in spread(len(self), min(most, fitting))[1:])]

    def _check_colour(self, colour: str, index: int) -> None:
        """Refuse that labels of one colour each are drawn in several, which may be classes.

        Raises:
            ValueError: If another label had another colour.
        """
        if colour:
            self._colours.setdefault(colour, called(_parts(self.maps[index])[0], f"support_labels[{index}]"))
        if len(self._colours) > 1:
            shown = ", ".join(f"{each} in {name}" for each, name in self._colours.items())
            table = {each: value for value, each in enumerate(sorted(self._colours), start=1)}
            pairs = ",".join(f"{each}={value}" for each, value in table.items())
            msg = (
                f"support_labels are drawn in several colours: expected a table that gives each a class, got {shown}. "
                f"Pass colours={table}, in the shell --colours '{pairs}'."
            )
            raise ValueError(msg)

    @cached_property
    def _named(self) -> dict[str, int]:
        """Values of the classes that have masks of their own."""
        return numbered([dict(enumerate(self.by_name, start=1))], MOST_CLASSES, self._given_names)

    @cached_property
    def _drawn_files(self) -> dict[Path, Mapping[int, str]]:
        """The names of classes, by value, in each file of drawn labels."""
        pairs = zip(self.maps, self.images, strict=True)
        paths = {path: path_of(image) for label, image in pairs for path in _paths(label)}
        return {path: found.names_for(path, image) for path, image in paths.items() if (found := drawn_format(path))}

    @cached_property
    def _values(self) -> ClassValues:
        """One value for each class that files of drawn labels name, as each file may number them in its own way."""
        has_maps = not all(_paths(label) and {*_paths(label)} <= self._drawn_files.keys() for label in self.maps)
        stated = [*self._drawn_files.values()]
        drawn = numbered(stated, MOST_CLASSES, self._given_names, has_maps)
        check_count(drawn, self._drawn_files, MOST_CLASSES)
        return ClassValues(self._given_names, drawn, MOST_CLASSES)

    def _void_notes(self, index: int) -> tuple[str, ...]:
        """A note on the value of a label map that is taken for unknown, though nobody said so."""
        if self._given_rules.unknown is not None or not self.rules.unknown:
            return ()
        name = called(as_list(self.maps[index])[0], f"support_labels[{index}]")
        return (f"{name} has the value {self.rules.unknown[0]} apart from its classes: {TAKEN_FOR_UNKNOWN}",)

    def _numbers(self, index: int) -> Integer[np.ndarray, "..."]:
        """Numbers of a label map before they are checked against its image; none if they are no integers."""
        part = _parts(self.maps[index])[0]
        values = stored_values(part, called(part, f"support_labels[{index}]"))
        return values if values.dtype.kind in "iu" and values.ndim in (2, 3) else np.zeros((1, 1), np.uint8)

    @property
    def names(self) -> dict[int, str]:
        """Class names by label value, if the classes were given by name, or drawn in files that name them."""
        if self.by_name:
            return {value: name for name, value in self._named.items()}
        return self._values.names


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


def as_source_image(
    picture: Picture | SourceImage, name: str, axis: Axis = None, channel: Channel = None, level: int = 0
) -> SourceImage:
    """A case, read if it is not one yet."""
    return picture if isinstance(picture, SourceImage) else read_source_image(picture, name, axis, channel, level)


def as_source_images(pictures: Pictures, channel: Channel = None, level: int = 0) -> Iterator[SourceImage]:
    """Read pictures one by one, each when its turn comes; errors name its file, or the place in `images`."""
    for index, picture in enumerate(as_list(pictures)):
        yield as_source_image(picture, called(picture, f"images[{index}]"), None, channel, level)


def thinned(case: SourceImage) -> SourceImage:
    """Some of the planes, to stand for all."""
    return replace(case, planes=case.planes[spread(len(case.planes), SAMPLED_PLANES)])


def spread(count: int, most: int) -> list[int]:
    """Evenly spread indices among `count`, at most `most` of them."""
    return [i * count // most for i in range(most)] if count > most else list(range(count))


def _read_label(
    source: Picture | Parts,
    argument: str,
    case: SourceImage,
    rules: LabelRules = AS_CLASSES,
    values: Mapping[str, int] | None = None,
) -> LabelCase:
    """Read the label of a case, whose parts are united if it has several; the largest value of a pixel counts."""
    parts = [read_label_image(part, called(part, argument), case, rules, values) for part in _parts(source)]
    return _joined(parts, are_drawn=bool(values))


def _joined(parts: Sequence[LabelCase], are_drawn: bool = False) -> LabelCase:
    """Unite the parts of a label; those that are drawn may overlap."""
    if len(parts) == 1:
        return parts[0]
    names = {value: name for part in parts for value, name in part.names.items()}
    colours = {value: colour for part in parts for value, colour in part.colours.items()}
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    planes = np.maximum.reduce([part.planes for part in parts])
    drawn = _united([part.masks or LabelMap(part.planes) for part in parts], planes) if are_drawn else {}
    colour = next((part.colour for part in parts if part.colour), "")
    unknown = _unjudged(parts)
    return LabelCase(planes, names, notes, drawn, colours, colour, None if unknown is None else unknown & (planes == 0))


def _parts(label: Picture | Parts) -> Parts:
    return label if isinstance(label, tuple) else (label,)


def _paths(label: Picture | Parts) -> list[Path]:
    """The files of a label; none if it is an array."""
    return [Path(part) for part in _parts(label) if isinstance(part, str | Path)]


def _read_mask(
    source: Picture | Parts, class_name: str, argument: str, case: SourceImage, rules: LabelRules
) -> LabelCase:
    """Read the mask of a class: of structures that have names those of its name, else all that is drawn."""
    parts = [
        one_class(read_label_image(part, name := called(part, argument), case, rules), class_name, name)
        for part in _parts(source)
    ]
    return _joined(parts)


def _unjudged(labels: Sequence[LabelCase]) -> Bool[np.ndarray, "N H W"] | None:
    """Unite the unknown pixels of several labels of an image."""
    found = [label.unknown for label in labels if label.unknown is not None]
    return np.logical_or.reduce(found) if found else None


def _void(maps: Sequence[Integer[np.ndarray, "..."]]) -> tuple[int, ...] | None:
    """The value that stands apart in some label map, if it does from the classes of all; None if it does in none."""
    if all(suspected_void(each) is None for each in maps):
        return None
    void = suspected_void(np.unique(np.concatenate([np.zeros(1, np.uint8), *map(distinct, maps)])))
    return () if void is None else (void,)


def _united(
    parts: Sequence[Mapping[int, Bool[np.ndarray, "N H W"]]], planes: UInt8[np.ndarray, "N H W"]
) -> dict[int, Bool[np.ndarray, "N H W"]]:
    """Unite the masks of parts by value; nothing if a label map tells them all."""
    masks: dict[int, Bool[np.ndarray, "N H W"]] = {}
    for part in parts:
        for value, mask in part.items():
            masks[value] = masks[value] | mask if value in masks else mask
    is_flat = sum(map(np.count_nonzero, masks.values())) == np.count_nonzero(planes)
    return {} if is_flat else masks


def _for_all(labels: list, count: int) -> list:
    """Repeat the one file that holds the labels of all images."""
    if len(labels) != 1 or count == 1 or not isinstance(labels[0], str | Path):
        return labels
    found = drawn_format(Path(labels[0]))
    return labels * count if found and found.has_images else labels


def _check_names(labels: Mapping[str, object]) -> None:
    if not 0 < len(labels) <= MOST_CLASSES:
        message = (
            f"support_labels name too few or too many classes: expected 1 to {MOST_CLASSES}, got {len(labels)}. "
            "Segment the rest in a second call."
        )
        raise ValueError(message)
