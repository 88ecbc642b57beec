"""Pictures that lie in a folder twice, in several formats, as archives deliver them."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from megamed import formats
from megamed.failures import Attempt
from megamed.file_names import FORMAT_FOLDERS, NamedFile
from megamed.look_alikes import are_one_picture
from megamed.notes import left_out

PHOTOGRAPHS = (".jpg", ".jpeg", ".jfif", ".jpe")
"""Endings of files that lose values, so that they hold no labels."""
MOST_COMPARED = 8
"""Number of pictures that are compared with the others of their names."""


def is_photograph(file: NamedFile) -> bool:
    """Whether a file has lost values, as its ending says."""
    return file.path.name.lower().endswith(PHOTOGRAPHS)


def without_copies(folder: Path, files: Sequence[NamedFile]) -> tuple[list[NamedFile], list[str]]:
    """Leave out files whose pictures others hold that differ in nothing but the format, and folders called so.

    Files that lost no values are kept, PNG before others. Some are compared; where one differs, all are kept.

    Returns:
        The files that are kept, and a note on the others.
    """
    by_name: dict[object, list[NamedFile]] = defaultdict(list)
    for file in files:
        folders, stem = file.group
        by_name[tuple(each for each in folders if not FORMAT_FOLDERS.fullmatch(each)), stem].append(file)
    groups = [sorted(found, key=_order) for found in by_name.values() if len({*map(_ending, found)}) == len(found) > 1]
    looked_at = [(kept, other) for kept, *others in groups for other in others][:MOST_COMPARED]
    if not groups or not all(_are_one(folder, *pair) for pair in looked_at):
        return list(files), []
    copies = {other for _, *others in groups for other in others}
    notes = left_out(sorted(each.path for each in copies), f"{groups[0][0].path} is the same picture")
    return [file for file in files if file not in copies], notes


def _order(file: NamedFile) -> tuple[bool, bool, str]:
    return is_photograph(file), _ending(file) != ".png", str(file.path)


def _ending(file: NamedFile) -> str:
    return file.path.name.removeprefix(formats.stem(file.path.name)).lower()


def _are_one(folder: Path, file: NamedFile, other: NamedFile) -> bool:
    with Attempt():
        return are_one_picture(folder / file.path, folder / other.path)
    return False
