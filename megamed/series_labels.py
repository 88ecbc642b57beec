"""Labels that were drawn on DICOM series, and the series that each belongs to."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from megamed import formats
from megamed.class_names import name_key
from megamed.failures import Attempt
from megamed.matching import OTHERS
from megamed.notes import left_out
from megamed.readers.dicom_headers import header_of
from megamed.readers.dicom_references import drawn_on

ANOTHER = "its series has another label"
AUTHORS = ("ContentCreatorName", "OperatorsName", "ReviewerName")
"""Tags of people who may have drawn a label, the surest first."""


def labels_of_series(
    folder: Path, series: Sequence[Path], drawn: Sequence[Path], labelled: Collection[Path] = ()
) -> tuple[dict[Path, tuple[Path, ...]], tuple[Path, ...], tuple[Path, ...], list[str]]:
    """Give labels to the series whose path has most folders in common; where these are several, to the one they name.

    Labels of one series go together if no class is in two of them, or what they state of it says so: see `_apart`.

    Args:
        folder: Folder around all, below which notes name files.
        series: Folders of series.
        drawn: DICOM-SEG and RTSTRUCT files.
        labelled: Folders of series that have a label of another format.

    Returns:
        The labels of each series that has some, series beside these in a folder of several, labels that no series or
        several come into question for, and notes on what is left out.
    """
    on_series: dict[Path, list[Path]] = defaultdict(list)
    unused: list[Path] = []
    left: dict[str, list[Path]] = defaultdict(list)
    for label in drawn:
        near = _nearest(label, series)
        image = near[0] if len(near) == 1 else _named_by(label, near)
        if image is None:
            unused.append(label)
        elif image in labelled:
            left[ANOTHER].append(label)
        else:
            on_series[image].append(label)
    found: dict[Path, tuple[Path, ...]] = {}
    for image, labels in on_series.items():
        found[image], apart = of_one_annotation(labels)
        for reason, theirs in apart.items():
            left[reason] += theirs
    others = [image for image in series if formats.is_part(image) and image not in found and image not in labelled]
    others = [image for image in others if any(image.parent == each.parent for each in found)]
    notes = left_out(_below(others, folder), "a label names another series of its folder")
    for reason, labels in left.items():
        notes += left_out(_below(labels, folder), reason)
    notes += left_out(_below(unused, folder), "no one series lies nearest to it, and it names none")
    return found, tuple(others), tuple(unused), notes


def of_one_annotation(labels: Sequence[Path]) -> tuple[tuple[Path, ...], dict[str, list[Path]]]:
    """Keep, of the labels of a series, the first and those that go together with it: see `_apart`.

    Returns:
        The labels that are kept, and the others by the reason why they are not: `OTHERS` if other people drew them.
    """
    kept: dict[Path, _Stated] = {}
    left: dict[str, list[Path]] = defaultdict(list)
    for label in labels:
        new = _stated(label)
        reason = next(filter(None, (_apart(old, new) for old in kept.values())), "")
        if reason:
            left[reason].append(label)
        else:
            kept[label] = new
    return tuple(kept), left


def author_of(label: Path) -> str:
    """Return who drew a label, in small letters; empty if it does not say."""
    return _stated(label).author


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


class _Stated(NamedTuple):
    """Statements of a label: the classes, however they are spelt, who drew them, and which objects and series it is of.

    A damaged file states nothing.
    """

    classes: frozenset[str] = frozenset()
    author: str = ""
    objects: frozenset[str] = frozenset()
    series: str = ""


def _stated(label: Path) -> _Stated:
    with Attempt():
        found, header = formats.drawn_format(label), header_of(label)
        names = found.names(label).values() if found else ()
        observed = header.get("RTROIObservationsSequence") or ()
        people = [str(header.get(tag) or "") for tag in AUTHORS] + [
            str(each.get("ROIInterpreter") or "") for each in observed
        ]
        objects = (str(segment.get("TrackingUID") or "") for segment in header.get("SegmentSequence") or ())
        return _Stated(
            frozenset(map(name_key, names)),
            name_key(next(filter(None, people), "")),
            frozenset(filter(None, objects)),
            str(header.get("SeriesInstanceUID") or ""),
        )
    return _Stated()


def _apart(old: _Stated, new: _Stated) -> str:
    """Say why two labels of a series are not of one annotation; empty if they are.

    They are if they share no class, track different objects or are of one series; but not if different people drew the
    same classes.
    """
    if not new.classes or old.classes & new.classes:
        if new.classes and old.author and new.author and old.author != new.author:
            return OTHERS
        are_parts = old.series == new.series or (old.objects and new.objects and not old.objects & new.objects)
        return "" if new.classes and are_parts else ANOTHER
    return ""


def _below(files: Sequence[Path], folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]
