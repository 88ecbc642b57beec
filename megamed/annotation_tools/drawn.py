"""The label that a tool's file holds for one image: which of the file's images is meant, and its masks."""

import functools
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from megamed.annotation_tools.model import AnnotatedImage, Shape, Size
from megamed.annotation_tools.tools import TOOLS, AnnotationTool
from megamed.annotation_tools.volume_slices import Order, entries_of_slices, is_volume, lie_of
from megamed.readers.stored import Canvas, DrawnLabel, Geometry, Segment
from megamed.unchanged import while_unchanged

MOST_FILES = 4096
"""Number of files whose shapes are remembered."""
SHOWN = 3
"""Number of images that a message names."""
MOST_VALUES = 255

AS_STORED: Order = (0, 1, 2)

Likeness: TypeAlias = tuple[int, bool, bool]


@dataclass(frozen=True)
class AnnotationFile:
    """A tool's file."""

    path: Path
    tool: AnnotationTool
    images: tuple[AnnotatedImage, ...]
    """All images that it annotates; several of one name are planes, or the work of several annotators."""

    @functools.cached_property
    def _by_stem(self) -> Mapping[str, Sequence[AnnotatedImage]]:
        found: dict[str, list[AnnotatedImage]] = defaultdict(list)
        for image in self.images:
            for stem in stems(image.file_name):
                found[stem].append(image)
        return found

    @functools.cached_property
    def file_names(self) -> tuple[str, ...]:
        """The images as the file names them."""
        return tuple(dict.fromkeys(image.file_name for image in self.images))

    @functools.cached_property
    def classes(self) -> dict[int, str]:
        """The names of all its classes by the numbers that it gives them, else by their place.

        Places are in the order of numbers that cannot be label values, such as those from 0; else of the alphabet. Of
        more classes than a label map holds, those are left out that are drawn on no image.
        """
        stated: dict[str, int | None] = {each.name: each.value for image in self.images for each in image.classes}
        drawn = {shape.class_name for image in self.images for shape in image.shapes}
        stated |= dict.fromkeys(sorted(drawn - stated.keys()))
        if len(stated) > MOST_VALUES:
            stated = {name: value for name, value in stated.items() if name in drawn}
        numbers = {name: value for name, value in stated.items() if value is not None}
        if len({*numbers.values()}) < len(stated):
            return dict(enumerate(sorted(stated), start=1))
        if not all(0 < value <= MOST_VALUES for value in numbers.values()):
            return dict(enumerate(sorted(numbers, key=numbers.__getitem__), start=1))
        return {value: name for name, value in numbers.items()}

    def entries(self, image: Path) -> list[AnnotatedImage]:
        """Return what the file says of an image; nothing if it does not mention it.

        Raises:
            ValueError: If several of its images are called alike.
        """
        ranked: dict[Likeness, dict[int, AnnotatedImage]] = defaultdict(dict)
        for entry in (entry for stem in stems(image.name) for entry in self._by_stem.get(stem, ())):
            ranked[likeness(entry.file_name, image)][id(entry)] = entry
        best = list(ranked[max(ranked)].values()) if ranked else []
        if len(names := sorted({entry.file_name for entry in best})) > 1:
            msg = (
                f"{self.path.name} has several images called {image.name}: expected one, got "
                f"{', '.join(names[:SHOWN])}. Keep the images in folders as the file names them."
            )
            raise ValueError(msg)
        return best


def likeness(file_name: str, image: Path) -> Likeness:
    """Say how well a name in a file fits an image: common last folders, and whether the names end alike and are alike.

    The ending may differ, as it does where images were converted, and so may the case of letters.
    """
    stated, actual = _parts(file_name)[::-1], _parts(str(image))[::-1]
    folders = zip(stated[1:], actual[1:], strict=False)
    common = next((count for count, (a, b) in enumerate(folders) if a != b), min(len(stated), len(actual)) - 1)
    return common, stated[0] == actual[0], unicodedata.normalize("NFC", file_name).endswith(image.name)


def recognises(tool: AnnotationTool, path: Path) -> bool:
    """Whether a tool wrote a file; an empty text is one of YOLO's, for an image on which there is nothing."""
    is_bare = tool is TOOLS["yolo"] and path.name.lower().endswith(tool.suffixes) and path.is_file()
    return tool.recognises(path) or (is_bare and not path.stat().st_size)


def is_of(tool: AnnotationTool, path: Path) -> bool:
    """Whether `tool_of` says so of a file."""
    return tool_of(path) is tool


def tool_of(path: Path) -> AnnotationTool | None:
    """Return the tool that wrote a file, which is looked at once while it does not change; None for other files."""
    if not path.is_file():
        return None
    return _recognised(path)


@while_unchanged(most=MOST_FILES)
def _recognised(path: Path) -> AnnotationTool | None:
    return next((tool for tool in TOOLS.values() if recognises(tool, path)), None)


def read_file(path: Path) -> AnnotationFile:
    """Read a tool's file; one that has not changed since is not read again.

    Raises:
        ValueError: If no tool wrote it, or it is damaged.
        ImportError: If the library that its tool's files need is not installed.
    """
    tool = tool_of(path)
    if tool is None:
        known = ", ".join(each.title for each in TOOLS.values())
        msg = f"{path.name} is no annotation: expected a file of {known}, got another. Export it anew."
        raise ValueError(msg)
    files = [path, *filter(None, [tool.names_beside(path)] if tool.names_beside else [])]
    states = tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return _parsed(tool, path, states)


@functools.lru_cache(maxsize=MOST_FILES)
def _parsed(tool: AnnotationTool, path: Path, _states: tuple[tuple[Path, int, int], ...]) -> AnnotationFile:
    return AnnotationFile(path, tool, tuple(tool.read(path)))


def names_in(path: Path) -> dict[int, str]:
    """Return the names of a file's classes by number.

    Raises:
        ValueError: If it is damaged.
        ImportError: If a library is not installed.
    """
    return read_file(path).classes


def notes_in(path: Path) -> list[str]:
    """Return remarks on the shapes of a file that were left out, or taken in one of several senses.

    Raises:
        ValueError: If it is damaged.
        ImportError: If a library is not installed.
    """
    if tool_of(path) is None:
        return []
    return list(dict.fromkeys(f"{path.name}: {note}" for image in read_file(path).images for note in image.notes))


def read_drawn(path: Path, canvas: Canvas) -> DrawnLabel:
    """Read the label that a file holds for an image, of which nothing may be drawn.

    Raises:
        ValueError: If the file is damaged, does not mention the image, or was drawn on one of another size.
        ImportError: If a library is not installed.
    """
    file = read_file(path)
    entries, notes = _of_one_annotator(_entries(file, canvas))
    size, count, order = _lie(entries, canvas)
    if full := canvas.geometry.full_size:
        entries = [
            entry.on_level(size, full) if file.tool.at_full_resolution or entry.size == full else entry
            for entry in entries
        ]
    if order != AS_STORED:
        notes.append(f"{path.name} was drawn on slices: they are taken for those along the last axis of the array")
    planes = _planes(file, entries, count)
    for entry in entries:
        _check_size(file, entry, size)
    values = {name: value for value, name in _renamed(file, canvas).items()}

    def painted(shapes_of: Callable[[AnnotatedImage], Iterable[Shape]]) -> UInt8[np.ndarray, "N H W"]:
        mask = np.zeros((count, *size), bool)
        for plane, entry in planes:
            for shape in shapes_of(entry):
                shape.paint(mask[plane])
        return mask.astype(np.uint8).transpose(order)

    def drawn(name: str) -> UInt8[np.ndarray, "N H W"]:
        return painted(
            lambda entry: (each for each in entry.shapes if _class_name(file, each.class_name, canvas) == name)
        )

    shown = dict.fromkeys(_class_name(file, each.class_name, canvas) for entry in entries for each in entry.shapes)
    segments = [Segment(values[name], name, functools.partial(drawn, name)) for name in shown]
    names = {value: name for name, value in values.items()}
    notes += [f"{path.name}: {note}" for entry in entries for note in entry.notes]
    colours = {
        _class_name(file, each.name, canvas): each.colour for entry in entries for each in entry.classes if each.colour
    }
    unknown = Segment(0, "", lambda: painted(lambda entry: entry.unknown)) if any(e.unknown for e in entries) else None
    place = canvas.geometry if _slices(canvas) or is_volume(canvas) else Geometry()
    return DrawnLabel(place, tuple(segments), names, notes, is_complete=True, colours=colours, unknown=unknown)


def _slices(canvas: Canvas) -> tuple[Path, ...]:
    """Return the files of a DICOM series that has one for each plane; nothing for other images."""
    files = canvas.geometry.files
    return files if len(canvas.shape) == 3 and len(files) == canvas.shape[0] > 1 else ()


def _entries(file: AnnotationFile, canvas: Canvas) -> list[AnnotatedImage]:
    """Return what a file says of an image, or of slices of a series, which it must mention if it has several."""
    mentioned = ((plane, entry) for plane, path in enumerate(_slices(canvas)) for entry in file.entries(path))
    if of_slices := [replace(entry, plane=plane) for plane, entry in mentioned]:
        return of_slices
    if is_volume(canvas):
        return _of_volume(file, canvas)
    if not file.tool.many_images or (canvas.path is None and len(file.file_names) == 1):
        return list(file.images)
    entries = file.entries(canvas.path) if canvas.path else []
    if not entries:
        listed = ", ".join(file.file_names[:SHOWN]) + (", …" if len(file.file_names) > SHOWN else "")
        wanted = canvas.path.name if canvas.path else "its image"
        msg = (
            f"{file.path.name} does not mention {wanted}: expected its name among those of the file's "
            f"{len(file.file_names)} images, got {listed}. Give the image the name that was annotated, or leave it out."
        )
        raise ValueError(msg)
    return entries


def _of_volume(file: AnnotationFile, canvas: Canvas) -> list[AnnotatedImage]:
    """Return what a file says of the slices of a volume, each with its plane."""
    entries = entries_of_slices(file.images, canvas)
    if not entries:
        msg = (
            f"{file.path.name} was drawn on pictures: expected a picture, a stack of pages, the files of a DICOM "
            f"series or slices by their numbers, got a volume of {canvas.shape}. Save the labels of a volume as a "
            "label map, such as .nii.gz or .seg.nrrd."
        )
        raise ValueError(msg)
    return entries


def _of_one_annotator(entries: list[AnnotatedImage]) -> tuple[list[AnnotatedImage], list[str]]:
    """Keep the annotations of the first of several annotators."""
    first, *others = dict.fromkeys(entry.annotator for entry in entries)
    kept = [entry for entry in entries if entry.annotator == first]
    if not others:
        return kept, []
    return kept, [f"{entries[0].file_name} was annotated by {1 + len(others)} people: {first or 'the first'} is used"]


def _lie(entries: Sequence[AnnotatedImage], canvas: Canvas) -> tuple[Size, int, Order]:
    """Return height and width of the image, the number of its planes, and the order of these axes in its array."""
    if is_volume(canvas):
        return lie_of(entries, canvas)
    *planes, height, width = canvas.shape
    return (height, width), planes[0] if planes else 1, AS_STORED


def _planes(file: AnnotationFile, entries: list[AnnotatedImage], count: int) -> list[tuple[int, AnnotatedImage]]:
    """Say on which plane each part of an annotation lies.

    Raises:
        ValueError: If that is not told, or there is no such plane.
    """
    numbers = {entry.plane for entry in entries if entry.shapes or entry.unknown}
    if count == 1 and len(numbers) < 2:
        return [(0, entry) for entry in entries]
    if count > 1 and None in numbers:
        msg = (
            f"{file.path.name} does not tell the planes of its shapes: expected one of {count} for each, got none. "
            "Draw them with a position in the stack."
        )
        raise ValueError(msg)
    if stray := sorted(number for number in numbers if number is not None and not 0 <= number < count):
        msg = (
            f"{file.path.name} was drawn on a stack of more planes: expected planes 1 to {count}, got {stray[0] + 1}. "
            "Give it the stack that was annotated."
        )
        raise ValueError(msg)
    return [(entry.plane or 0, entry) for entry in entries]


def _check_size(file: AnnotationFile, entry: AnnotatedImage, size: Size) -> None:
    """Refuse an annotation of an image of another size, also where nothing is drawn."""
    try:
        replace(entry, shapes=()).labels(size)
    except ValueError as error:
        msg = f"{error} It stands in {file.path.name}: give it the image that was annotated."
        raise ValueError(msg) from error


def _renamed(file: AnnotationFile, canvas: Canvas) -> dict[int, str]:
    return {value: _class_name(file, name, canvas) for value, name in file.classes.items()}


def own_name(name: str, path: Path, image: Path | None) -> str:
    """Name a class; one that is only called as its file has what this name has beyond that of the image.

    >>> own_name("scan_liver", Path("scan_liver.csv"), Path("scan.tif"))
    'liver'
    >>> own_name("scan", Path("scan.csv"), Path("scan.tif"))
    'label'
    """
    if name != path.stem or image is None:
        return name
    return name.removeprefix(image.name.partition(".")[0]).strip("-_. ") or "label"


def _class_name(file: AnnotationFile, name: str, canvas: Canvas) -> str:
    return name if file.tool.names_classes else own_name(name, file.path, canvas.path)


def stems(file_name: str) -> set[str]:
    """Return what images may be called that a file calls so: the last part of the path, with and without its ending."""
    name = _parts(file_name)[-1]
    return {name, name.rpartition(".")[0] or name}


def _parts(path: str) -> tuple[str, ...]:
    """Split a path of any system, its letters composed and in lower case."""
    return PureWindowsPath(unicodedata.normalize("NFC", path).casefold()).parts or ("",)
