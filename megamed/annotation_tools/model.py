"""Content of an annotation tool's file: for each image shapes and masks by class, whoever drew them.

Coordinates are x to the right and y down, in pixels, where (0, 0) is the *corner* of the first pixel, so that its
centre is (0.5, 0.5). Each reader turns its tool's convention into this one.
"""

import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Integer

from megamed.annotation_tools.run_lengths import RunMask, check_pixels
from megamed.label_colours import colour_of
from megamed.rasterise import fill_parts, fill_window

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""

ImageKind: TypeAlias = Literal["image", "stack", "volume"]
"""One plane, planes in an order, or planes with a place in the patient."""

BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
"""Characters that end a line, or are no text."""
SLACK_PX = 1.0
"""Distance by which a shape may reach out of its image, as one does that was drawn along the border."""


@dataclass(frozen=True)
class LabelClass:
    """A class that a file states."""

    name: str
    value: int | None = None
    """The number that the file gives it, if any."""
    colour: str | None = None
    """Red, green and blue as `#rrggbb`, if the file gives it a colour."""


@dataclass(frozen=True)
class Outline:
    """A region drawn as closed contours."""

    class_name: str
    rings: tuple[Float[np.ndarray, "_ 2"], ...]
    """Contours as x and y; which of them are holes is said by `nested`."""
    instance: str = ""
    """Shapes of a class with the same name of an instance are one object; without one, each is its own."""
    nested: bool = True
    """Whether contours count by even-odd. If not, they are parts to be united, and one within another is a hole."""
    relative: bool = False
    """Whether coordinates are shares of the image's width and height."""

    def paint(self, canvas: Bool[np.ndarray, "H W"]) -> None:
        """Set the pixels whose centre lies inside."""
        height, width = canvas.shape
        scale = np.array([height, width]) if self.relative else 1
        rings = [ring[:, ::-1] * scale - 0.5 for ring in self.rings]
        if self.nested:
            window, inside = fill_window(rings, (height, width))
            canvas[window] |= inside
        else:
            canvas |= fill_parts(rings, (height, width))

    def scaled(self, factor: Float[np.ndarray, "2"]) -> Self:
        """Return the region as it lies on a copy of the image whose width and height are larger by two factors."""
        return self if self.relative else replace(self, rings=tuple(ring * factor for ring in self.rings))

    @property
    def reach(self) -> Float[np.ndarray, "2"]:
        """Largest x and y, or nothing to check where coordinates are relative."""
        points = np.concatenate([np.zeros((1, 2)), *self.rings])
        return np.zeros(2) if self.relative else points.max(axis=0)


@dataclass(frozen=True)
class Patch:
    """A region stored as pixels."""

    class_name: str
    mask: RunMask
    """Pixels of a part of the image or of all of it, expanded only where they are drawn."""
    top: int = 0
    left: int = 0
    """Row (`top`) and column of the mask's first pixel in the image."""
    instance: str = ""

    def paint(self, canvas: Bool[np.ndarray, "H W"]) -> None:
        """Set the pixels of the mask; what lies outside of the canvas is cut off."""
        (height, width), (rows, columns) = canvas.shape, self.mask.shape
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = max(min(self.top + rows, height), top), max(min(self.left + columns, width), left)
        part = slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left)
        canvas[top:bottom, left:right] |= self.mask.pixels()[part]

    def scaled(self, factor: Float[np.ndarray, "2"]) -> Self:
        """Return the region as it lies on a copy of the image, whose pixels are those that hold their centres."""
        rows, columns = self.mask.shape
        (left, across), (top, down) = _held(self.left, columns, factor[0]), _held(self.top, rows, factor[1])
        mask = RunMask.of_mask(self.mask.pixels()[np.ix_(down, across)])
        return replace(self, mask=mask, top=top, left=left)

    @property
    def reach(self) -> Float[np.ndarray, "2"]:
        """Largest x and y of the mask's frame."""
        return np.array([self.left + self.mask.shape[1], self.top + self.mask.shape[0]], float)


def _held(first: int, count: int, factor: float) -> tuple[int, Integer[np.ndarray, " places"]]:
    """Return where a row of pixels begins on a scaled copy, and which of them hold the centres of the pixels there."""
    low, high = round(first * factor), round((first + count) * factor)
    places = (np.arange(low, max(high, low + 1)) + 0.5) / factor - first
    return low, places.astype(int).clip(0, count - 1)


Shape: TypeAlias = Outline | Patch


@dataclass(frozen=True)
class AnnotatedImage:
    """All that one annotator drew on one image."""

    file_name: str
    """Name of the image as the file states it, folders included; else that of the file itself, without a suffix."""
    size: Size | None = None
    """Height and width of the image as the tool showed it, if the file states them."""
    shapes: tuple[Shape, ...] = ()
    unknown: tuple[Shape, ...] = ()
    """Regions in which nobody judged the pixels, unless a shape covers them."""
    classes: tuple[LabelClass, ...] = ()
    """All classes that the file states, drawn or not, in its order."""
    notes: tuple[str, ...] = ()
    """Shapes that were left out or taken in one of several senses, and their number."""
    plane: int | None = None
    """Index of the plane in its stack, if the file tells one."""
    annotator: str = ""

    def labels(self, size: Size | None = None) -> dict[str, Bool[np.ndarray, "H W"]]:
        """Draw the classes that have shapes, each in a mask of its own, so that those which overlap stay whole.

        Args:
            size: Height and width of the image as it is displayed, with its orientation tag applied. Needed if the file
                states none.

        Raises:
            ValueError: If the size is unknown or is not the one that the file states.
        """
        size = self._checked(size)
        labels: dict[str, Bool[np.ndarray, "H W"]] = {}
        for shape in self.shapes:
            shape.paint(labels.setdefault(shape.class_name, np.zeros(size, bool)))
        return labels

    def instances(self, size: Size | None = None) -> dict[str, list[Bool[np.ndarray, "H W"]]]:
        """Draw each object of each class in a mask of its own. Arguments and errors are those of `labels`."""
        size = self._checked(size)
        objects: dict[str, dict[str, Bool[np.ndarray, "H W"]]] = defaultdict(dict)
        for number, shape in enumerate(self.shapes):
            of_class = objects[shape.class_name]
            key = f"named {shape.instance}" if shape.instance else f"{number}"
            shape.paint(of_class.setdefault(key, np.zeros(size, bool)))
        return {name: list(masks.values()) for name, masks in objects.items()}

    def on_level(self, size: Size, full_size: Size) -> Self:
        """Return what was drawn on an image at full resolution as it lies on a reduced copy.

        Args:
            size: Height and width of the copy.
            full_size: Height and width of the image.
        """
        factor = np.divide(size, full_size)[::-1]
        shapes, unknown = (tuple(each.scaled(factor) for each in drawn) for drawn in (self.shapes, self.unknown))
        return replace(self, size=size, shapes=shapes, unknown=unknown)

    def _checked(self, size: Size | None) -> Size:
        """Return the size to draw at, having compared the image's with the stated one."""
        if size is None and self.size is None:
            msg = (
                f"size of {self.file_name} is unknown: expected one, for its annotation states none. Pass the image's."
            )
            raise ValueError(msg)
        if size is None or self.size is None or size == self.size:
            wanted = size or self.size or (0, 0)
            check_pixels(wanted)
            return wanted
        reach = np.max([np.zeros(2), *(shape.reach for shape in self.shapes)], axis=0)
        # a size taken from the stored pixels, under shapes that were drawn on the displayed ones
        if size == self.size[::-1] and (reach <= np.array(size[::-1]) + SLACK_PX).all():
            return size
        turned = " An orientation tag turns the image: annotate a copy without it." if size == self.size[::-1] else ""
        msg = f"annotation of {self.file_name} does not match its image: expected {size}, got {self.size}.{turned}"
        raise ValueError(msg)


@dataclass(frozen=True)
class LabelLayers:
    """Label maps of any number of axes, as a file stores them, with what their values mean."""

    layers: tuple[Integer[np.ndarray, "..."], ...]
    """Label maps in the file's own order of axes. Where classes overlap, each lies in a layer of its own."""
    axes: str
    """One letter per axis of a layer."""
    classes: tuple[tuple[int, LabelClass], ...] = ()
    """Index of the layer, and the class; empty if the file states none."""
    affine: Float[np.ndarray, "4 4"] | None = None
    """Matrix from indices to millimetres towards right, front and head, if the file states it."""
    notes: tuple[str, ...] = ()

    def labels(self) -> dict[str, Bool[np.ndarray, "..."]]:
        """Take the stated classes apart; those that have the same name are united."""
        labels: dict[str, Bool[np.ndarray, ...]] = {}
        for layer, label in self.classes:
            mask = self.layers[layer] == label.value
            labels[label.name] = labels[label.name] | mask if label.name in labels else mask
        return labels


@dataclass(frozen=True)
class SegmentedImage:
    """Masks to be written into a tool's file."""

    file_name: str
    """Name of the image, which may have folders before it."""
    size: tuple[int, ...]
    """Height and width; a stack has its number of planes before them, a volume the sides of its file's array."""
    masks: Mapping[str, Bool[np.ndarray, "..."]] = field(default_factory=dict)
    """Masks by class, drawn or not; they may overlap."""
    values: Mapping[str, int] = field(default_factory=dict)
    """Label values of the classes; the others are numbered by their places, from 1."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """Colours of the classes as `#rrggbb`; the others have the fixed ones of their values."""
    affine: Float[np.ndarray, "4 4"] | None = None
    """Matrix from a volume's indices to millimetres towards right, front and head; None for anything else."""
    source: Path | None = None
    """The image's file, of which some tools want to know the length."""
    full_size: Size | None = None
    """Height and width of the image at full resolution, if the masks are of a reduced level of it."""

    def __post_init__(self) -> None:
        # those of other mappings are read when they are asked for
        for name, mask in self.masks.items() if isinstance(self.masks, dict) else ():
            if mask.shape != self.size:
                msg = f"mask of {name!r} does not match {self.file_name}: expected {self.size}, got {mask.shape}."
                raise ValueError(msg)

    @property
    def kind(self) -> ImageKind:
        """The kind of the image."""
        return "volume" if self.affine is not None else "image" if len(self.size) == 2 else "stack"

    @property
    def magnification(self) -> Float[np.ndarray, "2"]:
        """Width and height of a pixel of the masks in those of full resolution."""
        return np.divide(self.full_size or self.size[-2:], self.size[-2:])[::-1]

    @property
    def base_name(self) -> str:
        """Name of the image without folders, as a file beside it calls it."""
        return PurePosixPath(self.file_name).name

    @property
    def classes(self) -> list[LabelClass]:
        """The classes with their values and colours."""
        values = {name: self.values.get(name, place) for place, name in enumerate(self.masks, start=1)}
        return [LabelClass(name, value, self.colours.get(name) or colour_of(value)) for name, value in values.items()]


def classes_of(images: Sequence[SegmentedImage]) -> dict[str, LabelClass]:
    """Return the classes of images by name, in the order in which they come first."""
    classes: dict[str, LabelClass] = {}
    for image in images:
        for each in image.classes:
            classes.setdefault(each.name, each)
    return classes


def distinct_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return names by label value, each in one line, those that several classes share with their value behind them."""
    lines = {value: " ".join(name.split()) if BREAKS.search(name) else name for value, name in names.items()}
    counts = Counter(lines.values())
    return {value: name if counts[name] == 1 else f"{name} {value}" for value, name in lines.items()}


def file_names(sources: Sequence[Path | None]) -> list[str]:
    """Name images by their files, with folders as far as needed to tell them apart; others by their places."""
    known = [source.resolve() for source in sources if source]
    alike = len({source.name for source in known}) < len(set(known))
    top = Path(os.path.commonpath([source.parent for source in known])) if known else Path()
    return [
        f"image{index}" if source is None else source.resolve().relative_to(top).as_posix() if alike else source.name
        for index, source in enumerate(sources)
    ]


def file_name_of(name: str, taken: Container[str] = ()) -> str:
    """Return a class's name as part of a file's, without slashes and unlike those that are taken."""
    plain = re.sub(r"[\\/:]", "_", name)
    plain = plain if plain.strip(".") else "_" * len(plain)  # dots alone are folders
    candidates = itertools.chain([plain], (f"{plain}_{number}" for number in itertools.count(2)))
    return next(each for each in candidates if each not in taken)


def planes_of(mask: Bool[np.ndarray, "..."]) -> Iterator[tuple[int | None, Bool[np.ndarray, "H W"]]]:
    """Yield the planes of a stack with their indices, or one plane alone."""
    yield from [(None, mask)] if mask.ndim == 2 else enumerate(mask)


def label_map(image: SegmentedImage, tool: str) -> Integer[np.ndarray, "..."]:
    """Unite the masks of an image to a label map of the classes' values.

    Raises:
        ValueError: If masks overlap, for one would hide the other.
    """
    values = {each.name: each.value or 0 for each in image.classes}
    labels = np.zeros(image.size, np.uint8 if max(values.values(), default=0) < 256 else np.uint16)
    for name, mask in image.masks.items():
        if hidden := np.unique(labels[mask & (labels > 0)]).tolist():
            other = next(each for each, value in values.items() if value == hidden[0])
            msg = (
                f"{other!r} and {name!r} overlap on {image.file_name}: expected one class a pixel, as {tool} has, got "
                "several. Write a format that holds them all, such as coco, qupath, slicer or ome-tiff."
            )
            raise ValueError(msg)
        labels[mask] = values[name]
    return labels


def only(images: Sequence[SegmentedImage], tool: str) -> SegmentedImage:
    """Return the image that goes into the file of a tool that has one file per image.

    Raises:
        ValueError: If it is not one.
    """
    if len(images) != 1:
        msg = (
            f"{tool} has one file per image: expected one image, got {len(images)}. Write each into a file of its own."
        )
        raise ValueError(msg)
    return images[0]


def hex_colour(numbers: Any) -> str | None:
    """Return `#rrggbb` for red, green and blue from 0 to 255, or None for anything else."""
    is_triple = isinstance(numbers, list | tuple) and len(numbers) == 3
    if not is_triple or not all(isinstance(each, int) and 0 <= each <= 255 for each in numbers):
        return None
    return f"#{bytes(numbers).hex()}"
