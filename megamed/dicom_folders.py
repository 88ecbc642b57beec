"""Folders that hold DICOM series, and labels that were drawn on series, told apart without parsing a header."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from megamed import formats
from megamed.file_names import FOLDER_WORDS, visible_files
from megamed.readers.dicom_headers import states_label


def data_files(
    folder: Path, marks: Collection[str]
) -> tuple[list[PurePosixPath], list[PurePosixPath], list[PurePosixPath]]:
    """List images and labels; apart from them labels that were drawn on DICOM series, and files of other formats.

    A folder of DICOM files stands for them, unless films or radiographs may be in it.

    Args:
        folder: Folder to search, with its subfolders.
        marks: File names that mark a subfolder as one to leave out.
    """
    others: list[PurePosixPath] = []
    drawn: list[PurePosixPath] = []
    unknown: list[PurePosixPath] = []
    slices: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for path in visible_files(folder, marks):
        found_format = formats.format_of(folder / path)
        if found_format and found_format.find:
            (drawn if states_label(folder / path) else slices[path.parent]).append(path)
        elif found_format and not found_format.has_parts:
            others.append(path)
        elif not found_format:
            unknown.append(path)
    found = set(others)
    others += [label for label in drawn if label.parent not in slices]
    for parent, files in slices.items():
        holds_films = not parent.name or (len(parent.parts) == 1 and bool(FOLDER_WORDS.fullmatch(parent.name)))
        found |= set(files) if holds_films or len(files) == 1 else {_study(parent, others, slices)}
    return sorted(found), drawn, unknown


def _study(folder: PurePosixPath, others: Sequence[PurePosixPath], slices: Collection[PurePosixPath]) -> PurePosixPath:
    """Find the topmost folder around a DICOM series that holds nothing else."""
    for parent in folder.parents:
        is_kind = bool(FOLDER_WORDS.fullmatch(parent.name))
        shared = any(parent in other.parents for other in others)
        several = sum(parent in (other, *other.parents) for other in slices) > 1
        if not parent.name or is_kind or shared or several:
            break
        folder = parent
    return folder
