"""YOLO segmentation: a text beside each image, one polygon a line, with the names of classes elsewhere.

Convention: coordinates are shares of the image's width and height. A line has no holes; several lines of a class are
several objects. The image's size and name stand nowhere.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from megamed.annotation_tools.model import AnnotatedImage, LabelClass, Outline, SegmentedImage, Shape, only
from megamed.annotation_tools.shapes import ShapeCollector, box, pairs
from megamed.annotation_tools.text_files import peek, read_text, write_text
from megamed.outlines import keyhole, trace

SUFFIXES = (".txt",)
LINE = re.compile(r"^\d+(?:\.0*)?(\s+-?\d*\.?\d+(e-?\d+)?){4,}$", re.IGNORECASE)
NAME_LISTS = ("classes.txt", "obj.names", "labels.txt")
CARDS = ("data.yaml", "dataset.yaml", "data.yml")
FOLDERS_UP = 4
"""Number of folders, from a label file's own upwards, in which the names of its classes are looked for."""


def recognises(path: Path) -> bool:
    """Whether a file looks like YOLO's."""
    lines = [line.strip() for line in peek(path, *SUFFIXES).splitlines()[:5] if line.strip()]
    return bool(lines) and all(LINE.match(line) and max(map(float, line.split()[1:])) <= 1.5 for line in lines)


def read(path: Path) -> list[AnnotatedImage]:
    """Read the annotation of an image, and the names of classes from `data.yaml` or `classes.txt` near it.

    Raises:
        ValueError: If the file is no text.
    """
    names = read_names(path)
    collector = ShapeCollector()
    for line in filter(None, map(str.strip, read_text(path).splitlines())):
        number, *numbers = line.split()
        if len(numbers) % 2 and len(numbers) > 4:
            collector.note("confidence at the end of a line, left out")
            numbers = numbers[:-1]
        if len(numbers) == 4:
            collector.note("box: a bounding box, filled")
        collector.add("polygon", _shape, number, numbers, names)
    classes = tuple(LabelClass(name, value) for value, name in names.items())
    return [collector.onto(AnnotatedImage(path.stem, classes=classes))]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of one image, holes joined to their outlines by cuts of no width.

    Numbers of classes are those of `data.yaml` or `classes.txt` near the file; new names are appended to
    the `classes.txt` beside it.

    Raises:
        ValueError: If it is not one image, or a name is missing in a `data.yaml`.
    """
    image = only(images, "YOLO")
    values = _numbered(path, list(image.masks))
    scale = np.array([image.size[1], image.size[0]])
    lines = []
    for name, mask in image.masks.items():
        for polygon in trace(mask):
            numbers = (keyhole(polygon) / scale).ravel().tolist()
            lines.append(" ".join([str(values[name]), *map(repr, numbers)]))
    write_text(path, "".join(f"{line}\n" for line in lines))


def start_list(path: Path, names: Sequence[str]) -> None:
    """Put a `classes.txt` beside a label file that is to be written, unless there is one or all names are known."""
    beside = path.parent / NAME_LISTS[0]
    if not beside.is_file() and not {*names} <= {*read_names(path).values()}:
        write_text(beside, "".join(f"{name}\n" for name in names))


def read_names(path: Path) -> dict[int, str]:
    """Read the names of classes that hold for a label file; empty if there are none."""
    found = names_file(path)
    if found is None:
        return {}
    text = read_text(found)
    if found.name in CARDS:
        return _names_in_card(text)
    return {value: line.strip() for value, line in enumerate(text.splitlines()) if line.strip()}


def names_file(path: Path) -> Path | None:
    """Find the file that names the classes of a label file, in its folder or above it."""
    for folder in list(path.parents)[:FOLDERS_UP]:
        for name in (*CARDS, *NAME_LISTS):
            if (folder / name).is_file() and folder / name != path:
                return folder / name
    return None


def _names_in_card(text: str) -> dict[int, str]:
    """Read `names` of a card: a list in brackets, a list of lines, or lines of number and name."""
    found = re.search(r"^names\s*:[ \t]*(.*(?:\n(?:[ \t-].*)?)*)", text, re.MULTILINE)
    if not found:
        return {}
    block = re.sub(r"(^|\s)#.*", "", found[1])
    if block.lstrip().startswith("["):
        entries = block.strip().strip("[]").split(",")
    else:
        entries = [line.strip(" -\t") for line in block.strip().strip("{}").replace(", ", "\n").splitlines()]
    names = {}
    for index, entry in enumerate(each.strip() for each in entries if each.strip()):
        numbered = re.match(r"(\d+)\s*:\s*(.+)", entry)
        value, name = (int(numbered[1]), numbered[2]) if numbered else (index, entry)
        names[value] = name.strip("'\" ")
    return names


def _numbered(path: Path, wanted: list[str]) -> dict[str, int]:
    """Return the number of each class, having added new ones to the list of names."""
    names = {name: value for value, name in read_names(path).items()}
    new = [name for name in wanted if name not in names]
    file = names_file(path)
    if new and file and file.name in CARDS:
        msg = f"classes of {path.name} are not all known: expected {sorted(names)}, got {new}. Add them to data.yaml."
        raise ValueError(msg)
    if new:
        first = max(names.values(), default=-1) + 1
        names |= {name: first + index for index, name in enumerate(new)}
        by_value = {value: name for name, value in names.items()}
        lines = [by_value.get(value, "") for value in range(max(by_value) + 1)]
        write_text(path.parent / NAME_LISTS[0], "".join(f"{line}\n" for line in lines))
    return names


def _shape(number: str, numbers: list[str], names: dict[int, str]) -> Shape:
    name = names.get(int(float(number)), f"class {int(float(number))}")
    if len(numbers) == 4:
        x, y, width, height = map(float, numbers)
        return Outline(name, (box(x - width / 2, y - height / 2, width, height),), relative=True)
    return Outline(name, (pairs(numbers),), relative=True)
