"""The layout `pairs`: images with the labels that names and contents give them, wherever they lie."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from megamed import formats, slice_pictures
from megamed.layouts.cases import Case, LabelSource
from megamed.layouts.folder import IN_FOLDER, modalities
from megamed.pairing import ImagePair, find_pairs
from megamed.readers.dicom_headers import header_of
from megamed.readers.source import Source
from megamed.schema import DatasetCard, slugify


def find_cases(folder: Path, card: DatasetCard) -> Iterator[Case]:
    """Yield a case for every image with a label; of others nobody said what they show.

    Cases are called as the paths of their images, series as their patients, by whom they are numbered: no UID enters
    the collection.

    Raises:
        ValueError: If the folder holds no image, or names have several readings.
    """
    pairs = find_pairs(folder).labelled
    patients = [_patient(pair.image) for pair in pairs]
    names = [
        patient or formats.stem(pair.name).replace("/", IN_FOLDER)
        for pair, patient in zip(pairs, patients, strict=True)
    ]
    shared, seen = Counter(names), Counter[str]()
    for pair, name, patient in zip(pairs, names, patients, strict=True):
        seen[name] += 1
        case = f"{name}{IN_FOLDER}{seen[name]}" if shared[name] > 1 else name
        try:
            yield _case(pair, case, card, patient)
        except (ValueError, ImportError) as error:
            yield Case(case, problem=f"case {case!r} cannot be read: {error}")


def _patient(image: Path) -> str:
    """Return the patient whom a DICOM series names; empty for others."""
    if not formats.is_series(image):
        return ""
    try:
        return str(header_of(formats.source_at(image).files[0]).get("PatientID") or "")
    except (ValueError, ImportError):
        return ""  # what is wrong with it is told of its case


def _case(pair: ImagePair, name: str, card: DatasetCard, patient: str) -> Case:
    is_series = formats.is_series(pair.image)
    images = {card.modality: formats.source_at(pair.image)} if is_series else modalities(pair.image, card)
    slices = next(iter(images.values())).files if is_series else ()
    labels = tuple(
        LabelSource(_label(path, slices), value)
        for value, paths in _by_value(pair.labels, card).items()
        for path in paths
    )
    problem = "" if labels else f"case {name!r} has no label of the card: expected some of {[*card.class_values]}."
    return Case(name, images, labels, card.subject_of(patient) if patient else None, problem=problem)


def _by_value(labels: Mapping[str, tuple[Path, ...]], card: DatasetCard) -> dict[int | None, tuple[Path, ...]]:
    """Return the files of labels by the value of their class, None for label maps; without classes not on the card."""
    values = {name: card.class_values.get(slugify(name)) for name in labels if name}
    return {values.get(name): paths for name, paths in labels.items() if not name or values[name] is not None}


def _label(path: Path, slices: tuple[Path, ...]) -> Source:
    """Return the source of a label; behind one that names slices, or is a picture of each, those of its series."""
    if slice_pictures.pictures_in(path) or formats.drawn_format(path):
        return Source((path, *slices))
    return formats.source_at(path)
