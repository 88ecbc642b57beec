"""Labels that were drawn on DICOM series, and the series that each belongs to."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from megamed import formats
from megamed.class_names import name_key
from megamed.failures import Attempt
from megamed.notes import left_out
from megamed.readers.dicom_headers import header_of
from megamed.readers.dicom_references import drawn_on


def labels_of_series(
    folder: Path, series: Sequence[Path], drawn: Sequence[Path], labelled: Collection[Path] = ()
) -> tuple[dict[Path, tuple[Path, ...]], tuple[Path, ...], tuple[Path, ...], list[str]]:
    """Give labels to the series whose path has most folders in common; where these are several, to the one they name.

    Labels of one series go together if no class is in two of them.

    Args:
        folder: Folder around all, below which notes name files.
        series: Folders of series.
        drawn: DICOM-SEG and RTSTRUCT files.
        labelled: Folders of series that have a label of another format.

    Returns:
        The labels of each series that has some, series beside these in a folder of several, labels that no series or
        several come into question for, and notes on what is left out.
    """
    found: dict[Path, tuple[Path, ...]] = {}
    classes: dict[Path, set[str]] = defaultdict(set)
    unused, taken = [], []
    for label in drawn:
        near = _nearest(label, series)
        image = near[0] if len(near) == 1 else _named_by(label, near)
        names = _classes(label)
        if image is None:
            unused.append(label)
        elif image in labelled or (image in found and (not names or classes[image] & names)):
            taken.append(label)
        else:
            found[image] = (*found.get(image, ()), label)
            classes[image] |= names
    others = [image for image in series if formats.is_part(image) and image not in found and image not in labelled]
    others = [image for image in others if any(image.parent == each.parent for each in found)]
    notes = left_out(_below(others, folder), "a label names another series of its folder")
    notes += left_out(_below(taken, folder), "its series has another label")
    notes += left_out(_below(unused, folder), "no one series lies nearest to it, and it names none")
    return found, tuple(others), tuple(unused), notes


def _nearest(label: Path, series: Sequence[Path]) -> list[Path]:
    common = {image: len({*label.parent.parts} & {*image.parts}) for image in series}
    return [image for image, count in common.items() if count == max(common.values())]


def _named_by(label: Path, series: Sequence[Path]) -> Path | None:
    """Return the series that a label refers to; None if it cannot be told."""
    files: dict[str, tuple[Path, ...]] = {}
    folders: dict[str, Path] = {}
    for image in series:
        with Attempt():  # what is wrong with a series is told when it is read
            found = formats.source_at(image).files
            uid = str(header_of(found[0]).get("SeriesInstanceUID") or image)
            files[uid], folders[uid] = found, image
    with Attempt():
        return folders.get(drawn_on(header_of(label), files))
    return None


def _classes(label: Path) -> set[str]:
    """Names of what was drawn, however they are spelt; nothing of a damaged file."""
    with Attempt():
        found = formats.drawn_format(label)
        return {name_key(name) for name in found.names(label).values()} if found else set()
    return set()


def _below(files: Sequence[Path], folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]
