"""The layout `dicom`: series, with the DICOM-SEG and RTSTRUCT files that refer to them, wherever they lie."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megamed.layouts.cases import Case, LabelSource
from megamed.matching import OTHERS
from megamed.notes import left_out
from megamed.readers.dicom_folder import is_image
from megamed.readers.dicom_headers import LABEL_MODALITIES, has_mark, header_of, readable
from megamed.readers.dicom_references import drawn_on
from megamed.readers.source import SERIES, Source
from megamed.schema import DatasetCard
from megamed.series_labels import author_of, of_one_annotation

TAGS = ("Modality",)
"""Attributes that the header of every file of a dataset must have."""


@dataclass
class _Series:
    """The files of one series and the labels drawn on it."""

    files: list[Path] = field(default_factory=list)
    labels: list[Path] = field(default_factory=list)
    modality: str = ""
    patient: str = ""


def find_cases(folder: Path, card: DatasetCard) -> Iterator[Case]:
    """Yield a case for every series that a label refers to, its patient being the subject.

    Cases are numbered per patient: no UID enters the collection. Of headers that were emptied, the files of a folder
    are one series, and those below each folder of the dataset are of one patient, who is called as the folder. Where
    the card names channels, these are DICOM modalities (`CT`, `PT`), and series of others are left out.
    """
    series: dict[str, _Series] = defaultdict(_Series)
    labels: list[Path] = []
    for path in _files(folder):
        try:
            header = _header(path)
        except ValueError as error:
            yield Case(path.name, problem=str(error))
            continue
        if header is None:
            continue
        if header.Modality in LABEL_MODALITIES:
            labels.append(path)
        elif is_image(header):
            found = series[str(header.get("SeriesInstanceUID") or path.parent)]
            found.files.append(path)
            top = [*path.relative_to(folder).parts[:-1], folder.name][0]
            found.modality, found.patient = str(header.Modality), str(header.get("PatientID") or top)
    for path in labels:
        if uid := drawn_on(header_of(path), {uid: found.files for uid, found in series.items()}):
            series[uid].labels.append(path)
        else:
            expected = "expected the series it was drawn on, by its UID or its place, got none"
            yield Case(path.name, problem=f"{path.name} has no image: {expected}.")
    people = _people([found.labels for found in series.values()])
    numbers: dict[str, int] = defaultdict(int)
    for _, found in sorted(series.items()):
        if found.labels:
            numbers[found.patient] += 1
            yield _case(f"{found.patient}_{numbers[found.patient]}", found, card, people)


def _people(labels: Sequence[Sequence[Path]]) -> dict[str, str]:
    """Number who drew labels of series, if several people drew the same of one, by their names, which stay outside."""
    if not any(OTHERS in of_one_annotation(sorted(each))[1] for each in labels):
        return {}
    authors = sorted({author_of(label) for each in labels for label in each})
    return {author: f"annotator-{number}" for number, author in enumerate(authors, start=1)}


def _case(name: str, found: _Series, card: DatasetCard, people: Mapping[str, str]) -> Case:
    channels = card.files.channels
    if channels and found.modality not in channels:
        expected = f"expected a series of {sorted(channels)}, got {found.modality}"
        return Case(name, problem=f"case {name!r} has no image: {expected}.")
    modality = channels.get(found.modality, card.modality)
    files = tuple(sorted(found.files))
    by_person: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(found.labels):
        by_person[people[author_of(path)] if people else ""].append(path)
    drawn = {person: of_one_annotation(labels) for person, labels in by_person.items()}
    sources = tuple(
        LabelSource(Source((path, *files)), annotator=person) for person, (kept, _) in drawn.items() for path in kept
    )
    notes = [
        note
        for _, left in drawn.values()
        for reason, labels in left.items()
        for note in left_out([label.name for label in labels], reason)
    ]
    try:
        subject = card.subject_of(found.patient)
    except ValueError as error:
        return Case(name, problem=str(error))
    return Case(name, {modality: Source(files, SERIES)}, sources, subject, notes=tuple(notes))


def _header(path: Path) -> Any:
    """Read what tells what a file is; None if it is not DICOM and does not claim to be."""
    if not path.name.lower().endswith(".dcm") and not has_mark(path):
        return None
    header = header_of(path)
    with readable(path):
        if missing := [tag for tag in TAGS if tag not in header]:
            msg = f"expected {missing}, got none"
            raise ValueError(msg)
        return header


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith(".") and name != "DICOMDIR")
