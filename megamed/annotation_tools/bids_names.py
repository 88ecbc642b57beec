"""BIDS: the `dseg.tsv` that names the values of label maps, beside them or in a folder above."""

import csv
from pathlib import Path

from megamed.annotation_tools.text_files import peek

ENDING = "dseg.tsv"
COLUMNS = frozenset({"index", "name"})


def recognises(path: Path) -> bool:
    """Whether a file is called as BIDS calls such lists, and has their columns."""
    lines = peek(path, ENDING).splitlines()
    return bool(lines) and set(lines[0].lstrip("\ufeff").split("\t")) >= COLUMNS


def names_in(path: Path) -> dict[int, str]:
    """Read the names of label values: the columns `index` and `name`; nothing if the file has none.

    Raises:
        ValueError: If it is no text in UTF-8.
    """
    try:
        lines = list(csv.DictReader(path.read_text("utf-8-sig").splitlines(), delimiter="\t"))
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"{path.name} is not readable: expected tabs and UTF-8, got {error}."
        raise ValueError(msg) from error
    pairs = ((str(line.get("index") or "").strip(), str(line.get("name") or "").strip()) for line in lines)
    return {int(index): name for index, name in pairs if index.isdecimal() and int(index) and name}


def folders_around(label: Path) -> int:
    """Number of folders in which a list may lie: a session's, a subject's, a pipeline's, that of all, the dataset's."""
    return 6 if "dseg" in _pieces(label) else 0


def is_of(path: Path, label: Path) -> bool:
    """Whether a list holds for a label map: its name has all pieces of the list's, as BIDS's inheritance asks."""
    return _pieces(path) <= _pieces(label)


def _pieces(path: Path) -> set[str]:
    return set(path.name.partition(".")[0].split("_"))
