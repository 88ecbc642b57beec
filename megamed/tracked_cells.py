"""Films of the Cell Tracking Challenge: `01/t012.tif` has the label `01_GT/SEG/man_seg012.tif`."""

import re
from collections.abc import Sequence

from megamed.file_names import FileName, NamedFile
from megamed.notes import left_out

FOLDER = re.compile(r"(.+)_(GT|ST)")
"""Folder of what people or programs drew of a film, which is called as the film."""
LABEL = re.compile(r"man_(seg|track)(\d+)")


def of_tracked_frames(labels: Sequence[NamedFile]) -> tuple[list[NamedFile], list[str]]:
    """Name labels of cells as their frames, those that people drew where there are some; marks of tracks are none.

    Returns:
        The labels, and notes on those that are left out.
    """
    found = {label: match for label in labels if (match := _named(label))}
    drawn = {film for film, who, kind, _ in found.values() if (who, kind) == ("GT", "seg")}
    tracks = [label for label, (_, _, kind, _) in found.items() if kind == "track"]
    others = [label for label, (film, who, kind, _) in found.items() if who == "ST" and kind == "seg" and film in drawn]
    notes = left_out([each.path for each in tracks], "it marks cells to track them, and does not outline them")
    notes += left_out([each.path for each in others], "people drew labels of its film, too")
    unused = {*tracks, *others}
    return [_of_frame(label, found.get(label)) for label in labels if label not in unused], notes


def _named(label: NamedFile) -> tuple[str, str, str, str] | None:
    """Return the film of a label, who drew it, its kind and the number of its frame."""
    folders = label.path.parent.parts
    film = FOLDER.fullmatch(folders[-2]) if len(folders) > 1 else None
    match = LABEL.fullmatch(label.name.stem)
    return ("/".join((*folders[:-2], film[1])), film[2], match[1], match[2]) if film and match else None


def _of_frame(label: NamedFile, found: tuple[str, str, str, str] | None) -> NamedFile:
    if found is None:
        return label
    film, _, _, number = found
    return NamedFile(label.path, FileName(tuple(film.split("/")), "", f"t{number}", "", True))
