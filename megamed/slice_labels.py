"""Folders of pictures that are labels of the slices of a DICOM series, and the series that each belongs to."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from megamed import formats
from megamed.failures import Attempt
from megamed.file_names import in_label_folder
from megamed.slice_pictures import pictures_in


def labels_of_slices(
    folder: Path, files: Sequence[PurePosixPath]
) -> tuple[list[PurePosixPath], dict[Path, tuple[Path, ...]], list[str]]:
    """Find the folders of pictures that hold one for each slice of the series nearest to them.

    Of several such series, it is the one whose files are called as the pictures.

    Args:
        folder: Folder around all.
        files: Images and labels in it.

    Returns:
        The other files, the folder of pictures of each series that has one, and notes.
    """
    series = [path for path in files if formats.is_series(folder / path)]
    places: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for path in files if series else ():
        if in_label_folder(path.parent.parts):
            places[path.parent].append(path)
    found: dict[Path, tuple[Path, ...]] = {}
    taken: set[PurePosixPath] = set()
    for place, pictures in places.items():
        near = [path for path in series if place.parent in path.parents]
        fitting = [path for path in near if _is_label_of(folder / place, folder / path)]
        called = {formats.stem(picture.name) for picture in pictures}
        named = [path for path in fitting if called == {formats.stem(file.name) for file in _files(folder / path)}]
        if len(meant := named or fitting) == 1 and folder / meant[0] not in found:
            found[folder / meant[0]] = (folder / place,)
            taken |= {*pictures}
    notes = [
        f"the pictures in {label.relative_to(folder)} are labels of the slices of {image.relative_to(folder)}, in the "
        "order of their names."
        for image, (label,) in found.items()
    ]
    more = [f"So it is with {len(notes) - 1} others."] if len(notes) > 1 else []
    return [path for path in files if path not in taken], found, [" ".join([*notes[:1], *more])] if notes else []


def _is_label_of(place: Path, series: Path) -> bool:
    pictures = pictures_in(place)
    return len(pictures) > 1 and len(pictures) == len(_files(series))


def _files(series: Path) -> Sequence[Path]:
    with Attempt():  # what is wrong with it is told when it is read
        return formats.source_at(series).files
    return ()
