"""Folders that hold DICOM series, and labels that were drawn on series, told apart at little cost."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from megamed import formats
from megamed.file_names import FOLDER_WORDS, in_label_folder, take_apart, visible_files
from megamed.readers.dicom_folder import volumes_in
from megamed.readers.dicom_grid import is_localiser, planes_of
from megamed.readers.dicom_headers import header_of, states_label, states_no_image

MOST_LOOKED_AT = 3
"""Number of files of a folder whose headers are parsed."""
PREVIEW = "it is a picture beside the slices of a series"


class DataFiles(NamedTuple):
    """Files of a folder, by what they are.

    Attributes:
        found: Images and labels of single images; of a DICOM series the folder, with the UID behind where it holds
            several.
        drawn: Labels that were drawn on DICOM series.
        imageless: Files that hold no image, such as reports of DICOM, but for those beside a series.
        unknown: Files of other formats.
        streams: Pipes, sockets and devices, which are not opened.
        scouts: Folders of localisers beside those of series.
        previews: Pictures beside the slices of a series.
    """

    found: list[PurePosixPath]
    drawn: list[PurePosixPath]
    imageless: list[PurePosixPath]
    unknown: list[PurePosixPath]
    streams: list[PurePosixPath]
    scouts: list[PurePosixPath]
    previews: list[PurePosixPath]


def data_files(folder: Path, marks: Collection[str]) -> DataFiles:
    """List images and labels; apart from them labels that were drawn on series, and files without images.

    A folder of DICOM files stands for them, unless films or radiographs are or may be in it. Files without images that
    lie in such a folder are not listed: what reads the series leaves them out.

    Args:
        folder: Folder to search, with its subfolders.
        marks: File names that mark a subfolder as one to leave out.
    """
    others: list[PurePosixPath] = []
    drawn: list[PurePosixPath] = []
    imageless: list[PurePosixPath] = []
    unknown: list[PurePosixPath] = []
    streams: list[PurePosixPath] = []
    slices: Mapping[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for path in visible_files(folder, marks, streams):
        found_format = formats.format_of(folder / path)
        if found_format and found_format.find:
            if states_label(folder / path):
                drawn.append(path)
            else:
                (imageless if states_no_image(folder / path) else slices[path.parent]).append(path)
        elif found_format and found_format.holds_none and found_format.holds_none(folder / path):
            imageless.append(path)
        elif (found_format and not found_format.has_parts) or _is_label_folder(folder, path):
            others.append(path)
        elif not found_format or found_format.has_parts:
            unknown.append(path)
    scouts = _scouts(folder, slices)
    slices = {parent: files for parent, files in slices.items() if parent not in scouts}
    series = {parent for parent, files in slices.items() if _is_series(folder, parent, files)}
    previews = [path for path in others if path.parent in series and is_preview(path)]
    others = [path for path in others if path not in previews]
    found = set(others)
    others += [label for label in drawn if label.parent not in slices]
    for parent, files in slices.items():
        if parent in series:
            several = _several_series(folder, parent, others, slices)
            found |= {*several} if several else {_study(parent, others, slices)}
        else:
            found |= {*files}
    imageless = [path for path in imageless if found.isdisjoint(path.parents)]
    return DataFiles(sorted(found), drawn, imageless, unknown, streams, scouts, previews)


def is_preview(path: PurePosixPath) -> bool:
    """Whether a file beside the slices of a series only shows these: a picture that no name calls a label."""
    found = formats.format_of(Path(path))
    return found is not None and found.holds == {"image"} and not take_apart(path).is_label


def _is_series(folder: Path, parent: PurePosixPath, files: Sequence[PurePosixPath]) -> bool:
    """Whether the DICOM files of a folder are slices, and not films or radiographs, as a folder of images may hold."""
    holds_films = not parent.name or (len(parent.parts) == 1 and bool(FOLDER_WORDS.fullmatch(parent.name)))
    return not holds_films and len(files) > 1 and _are_slices([folder / file for file in files])


def _scouts(folder: Path, slices: Mapping[PurePosixPath, Sequence[PurePosixPath]]) -> list[PurePosixPath]:
    """List the folders of a few images that only show where the series in other folders were taken."""
    few = {parent: files for parent, files in slices.items() if len(files) <= MOST_LOOKED_AT}
    if len(few) == len(slices):
        return []
    scouts = []
    for parent, files in few.items():
        with suppress(ValueError, ImportError):  # what is wrong with them is told when they are read
            scouts += [parent] if all(is_localiser(header_of(folder / file)) for file in files) else []
    return sorted(scouts)


def _is_label_folder(folder: Path, path: PurePosixPath) -> bool:
    """Whether a path is a folder that holds the labels of an image, among labels."""
    return in_label_folder(path.parent.parts) and (folder / path).is_dir() and bool(formats.drawn_format(folder / path))


def _are_slices(files: Sequence[Path]) -> bool:
    """Whether DICOM files are the slices of volumes, as far as one can tell: some have a place in the patient."""
    try:
        return any(planes_of(file, header_of(file)) for file in files[:MOST_LOOKED_AT])
    except (ValueError, ImportError):
        return True  # what is wrong with them is told when they are read


def _several_series(
    folder: Path,
    parent: PurePosixPath,
    others: Sequence[PurePosixPath],
    slices: Mapping[PurePosixPath, Sequence[PurePosixPath]],
) -> list[PurePosixPath]:
    """List the series of a folder of several that are volumes, by their UIDs; nothing where labels do not name one."""
    files = [folder / file for file in slices[parent]]
    has_maps = any(parent == other.parent and not states_label(folder / other) for other in others)
    with suppress(ValueError, ImportError):  # what is wrong with them is told when they are read
        looked_at = (files[0], files[len(files) // 2], files[-1])
        uids = {str(header_of(file).get("SeriesInstanceUID") or "") for file in looked_at}
        is_above = any(parent in other.parents for other in slices)
        if not has_maps and "" not in uids and (len(uids) > 1 or is_above):
            found = volumes_in(folder / parent)
            return [parent / path.name for path in found] if len(found) > 1 or is_above else []
    return []


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
