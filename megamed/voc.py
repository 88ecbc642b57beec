"""Lists that lie in the VOC arrangement: names and colours of classes in `labelmap.txt`, splits in `ImageSets`."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from megamed.colour_tables import BLACK
from megamed.vocabulary import Split

SETS = Path("ImageSets", "Segmentation")
NAME = "labelmap.txt"
LINE = re.compile(r"\s*([^:#][^:]*):(\d+),(\d+),(\d+):[^:]*:[^:]*")
"""A line of it: name, red, green and blue, parts and actions."""
LARGEST = 255


@dataclass(frozen=True)
class LabelMapText:
    """Classes by their places in the list, of which the background has the first."""

    names: Mapping[int, str]
    colours: Mapping[str, int]
    """Value of each colour, as `#rrggbb`; black is background."""


def read_label_map(folder: Path) -> LabelMapText | None:
    """Read the list of a folder; None if there is none, or a file of that name holds anything else.

    The background is the class that is black; the values of the others count from 1, in the order of the list.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    lines = path.read_text("utf-8", errors="replace").splitlines()
    found = [LINE.fullmatch(line) for line in lines if line.strip() and not line.startswith("#")]
    classes = [(match[1].strip(), tuple(map(int, match.groups()[1:]))) for match in found if match]
    if not classes or len(classes) < len(found) or max(max(colour) for _, colour in classes) > LARGEST:
        return None
    coloured = [(name, f"#{bytes(colour).hex()}") for name, colour in classes]
    shown = [(name, colour) for name, colour in coloured if colour != BLACK]
    names = {value: name for value, (name, _) in enumerate(shown, start=1)}
    return LabelMapText(names, {colour: value for value, (_, colour) in enumerate(shown, start=1)})


def read_splits(folder: Path) -> dict[str, Split]:
    """Read the split of each case that `train.txt`, `val.txt` or `test.txt` of a folder's image sets lists.

    Raises:
        ValueError: If a case is in two of them.
    """
    found: dict[str, Split] = {}
    for split in get_args(Split):
        path = folder / SETS / f"{split}.txt"
        lines = path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else ()
        for name in (unicodedata.normalize("NFC", line.split()[0]) for line in lines if line.strip()):
            if found.setdefault(name, split) != split:
                msg = f"{SETS} lists {name!r} twice: expected one split, got {found[name]} and {split}. Remove one."
                raise ValueError(msg)
    return found
