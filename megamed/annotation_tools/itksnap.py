"""ITK-SNAP: the text that gives the values of a label map their names and colours.

A line holds a value, red, green and blue, opacity, whether it is shown in slices and in 3D, and the name in quotes.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from megamed.annotation_tools.model import LabelClass, SegmentedImage, hex_colour, label_map, only
from megamed.annotation_tools.text_files import peek, read_text, write_text
from megamed.files import replace_file
from megamed.label_colours import colour_of, rgb
from megamed.readers import nifti
from megamed.readers.stored import Geometry, MaskImage

SUFFIXES = (".txt", ".label")
LINE = re.compile(r'^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+[\d.]+\s+\d+\s+\d+\s+"(.*)"\s*$')
BACKGROUND = "Clear Label"
DESCRIPTIONS = "labels.txt"
"""Name of the descriptions that hold for all label maps of a folder."""
HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
"""


def recognises(path: Path) -> bool:
    """Whether a file looks like ITK-SNAP's."""
    lines = peek(path, *SUFFIXES).splitlines()
    return any("itk-snap" in line.lower() for line in lines[:3]) or any(LINE.match(line) for line in lines[:40])


def read_classes(path: Path) -> list[LabelClass]:
    """Read the names and colours of values; the background, 0, is left out.

    Raises:
        ValueError: If a line is neither a comment nor a description.
    """
    classes = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = LINE.match(line)
        if not found:
            expected = 'seven numbers and "name"'
            msg = f"{path.name} is malformed: expected {expected} on line {number}, got {line[:40]!r}."
            raise ValueError(msg)
        value, *colour = (int(each) for each in found.groups()[:4])
        if value:
            classes.append(LabelClass(found[5], value, hex_colour(colour)))
    return classes


def names_in(path: Path) -> dict[int, str]:
    """Return the names by value. Errors are those of `read_classes`."""
    return {each.value: each.name for each in read_classes(path) if each.value is not None}


def write_classes(path: Path, classes: Sequence[LabelClass]) -> None:
    """Write the names and colours of values; a class without value is numbered by its place, from 1."""
    lines = [f'    0     0    0    0        0  0  0    "{BACKGROUND}"']
    for index, each in enumerate(classes):
        red, green, blue = rgb(each.colour or colour_of(index + 1))
        value = index + 1 if each.value is None else each.value
        name = each.name.replace('"', "'")
        lines.append(f'{value:5} {red:5} {green:4} {blue:4}        1  1  1    "{name}"')
    write_text(path, HEAD + "".join(f"{line}\n" for line in lines))


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of one volume as a label map in NIfTI, and `labels.txt` with the descriptions beside it.

    Descriptions of other values that are there already stay.

    Raises:
        ValueError: If it is not one volume, or masks overlap.
        ImportError: If nibabel is not installed.
    """
    image = only(images, "ITK-SNAP")
    content = nifti.write(MaskImage(label_map(image, "ITK-SNAP"), Geometry(image.affine)), ".nii.gz")
    beside = path.parent / DESCRIPTIONS
    known = {each.value: each for each in (read_classes(beside) if beside.is_file() else [])}
    write_classes(beside, list((known | {each.value: each for each in image.classes}).values()))
    replace_file(path, content)
