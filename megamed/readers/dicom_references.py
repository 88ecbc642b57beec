"""Find the series that a DICOM-SEG or RTSTRUCT was drawn on: by instances, by series, else by the space they share."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from megamed.readers.dicom_headers import header_of

REFERENCES = (
    *("ReferencedFrameOfReferenceSequence", "RTReferencedStudySequence", "RTReferencedSeriesSequence"),
    *("ROIContourSequence", "ContourSequence", "ContourImageSequence"),
    *("ReferencedSeriesSequence", "ReferencedInstanceSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("DerivationImageSequence", "SourceImageSequence"),
)
"""The sequences in which labels refer to what they were drawn on."""


def drawn_on(label: Any, series: Mapping[str, Sequence[Path]]) -> str:
    """Return the UID of the series that a label was drawn on, empty if it is not at hand.

    An RTSTRUCT may list several series; its contours name images of one. Where a label refers to nothing, or several
    series remain, it is the one in the label's frame of reference; of several such, the one of the most images.

    Args:
        label: The data set of the label.
        series: The files of each series by its UID.
    """
    pixels_of = {uid: len(files) for uid, files in series.items()}
    instances = {str(header_of(file).get("SOPInstanceUID", "")): uid for uid, files in series.items() for file in files}
    drawn = {instances[uid] for uid in _values(label, "ReferencedSOPInstanceUID", listed=False) if uid in instances}
    listed = set(_values(label, "SeriesInstanceUID", listed=True)) - {str(label.get("SeriesInstanceUID", ""))}
    spaces = spaces_of(label)
    placed = {uid for uid, files in series.items() if str(header_of(files[0]).get("FrameOfReferenceUID", "")) in spaces}
    found = drawn or (listed & series.keys()) or (set() if listed else placed)
    return max(found & placed or found, key=lambda uid: (pixels_of[uid], uid), default="")


def spaces_of(label: Any) -> set[str]:
    """Return the frames of reference that a label, or a region in it, states."""
    regions = label.get("StructureSetROISequence") or ()
    stated = (str(region.get("ReferencedFrameOfReferenceUID", "")) for region in regions)
    return {str(label.get("FrameOfReferenceUID", "")), *stated} - {""}


def _values(dataset: Any, tag: str, *, listed: bool) -> Iterator[str]:
    """Yield a tag's values in the references of a label, with or without the lists of whole series."""
    if value := dataset.get(tag):
        yield str(value)
    for name in REFERENCES:
        if listed or name not in ("ReferencedFrameOfReferenceSequence", "ReferencedSeriesSequence"):
            for item in dataset.get(name) or ():
                yield from _values(item, tag, listed=listed)
