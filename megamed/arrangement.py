"""Recognition of an unknown folder: its layout and, for plain folders, the path templates of images and labels."""

import csv
import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from megamed import formats
from megamed.annotation_files import ToolFiles
from megamed.annotation_tools import bids_names
from megamed.derived_files import without_derived
from megamed.failures import Attempt
from megamed.file_names import sort_out, visible_files
from megamed.found_templates import MOST_CLASSES, case_template, labels_by_case, matched, united, varying
from megamed.layouts import bids
from megamed.layouts.folder import find_cases, template_pattern
from megamed.layouts.nnunet import IGNORE, ignored
from megamed.layouts.table import COLUMNS, REQUIRED
from megamed.pairing import Pairing, find_pairs
from megamed.readers import dicom_labels
from megamed.readers.dicom_headers import LABEL_MODALITIES, header_of, readable
from megamed.schema import DatasetCard, FileRules, slugify
from megamed.vocabulary import DESCRIPTION, Layout

MOST_LISTED = 4
MOST_VALUES = 255
"""Largest label value of a card."""


@dataclass(frozen=True)
class Arrangement:
    """The layout of a folder, as far as its file names tell it."""

    layout: Layout
    words: str
    """Description of the layout for people."""
    files: FileRules = field(default_factory=FileRules)
    label_names: dict[int, str] = field(default_factory=dict)
    """Names of the label values, where the folder itself gives them."""
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Label values that each region unites, where the folder itself has some."""
    hints: str = ""
    """Words of the folder that may say what the images are."""


def find_arrangement(folder: Path) -> Arrangement:
    """Recognise the layout of a folder.

    Raises:
        ValueError: If no images with labels are recognised in it.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder: expected one with images and labels, got none."
        raise ValueError(msg)
    found = described(folder) or _tabulated(folder)
    if found:
        return found
    files = list(visible_files(folder))
    if any(bids.is_volume(file.name) and bids.parse_name(file.name).is_label for file in files):
        return _bids(folder, files)
    slices = [file for file in files if (each := formats.format_of(folder / file)) and each.find]
    if any(_is_drawn(folder / file) for file in slices):
        return _dicom(folder, slices)
    archives = [file for file in files if file.suffix == ".npz"]
    if len(archives) == 1 and len(archives[0].parts) == 1:
        return Arrangement("medsegbench", f"{archives[0]} holds train_images, train_label and so on")
    data = [file for file in files if _is_data(file.name)]
    others = [file for file in files if file not in data]
    pairing = _paired(folder)
    try:
        found = _annotated(folder, data, others) or _own_labels(folder, data) or _templates(folder, data)
    except ValueError:
        if not (pairing and pairing.labelled):
            raise
        return _pairs(pairing)
    return _pairs(pairing) if pairing and pairing.labelled and not _finds_all(folder, found, pairing) else found


def _paired(folder: Path) -> Pairing | None:
    """Pair images with labels as a segmenter does; None where names have several readings."""
    with suppress(ValueError):
        return find_pairs(folder)
    return None


def _finds_all(folder: Path, found: Arrangement, pairing: Pairing) -> bool:
    """Whether an arrangement by templates gives images the labels that names and contents give them.

    What further people drew of an image may be more, and cases that a list of splits names are missed.
    """
    facts = {"id": "dataset", "modality": "any", "labels": found.label_names or {1: "label"}, "files": found.files}
    cases = list(find_cases(folder, DatasetCard.model_validate(facts)))
    labels = {frozenset(label.source.files[0] for label in case.labels) for case in cases if not case.problem}
    drawn = {frozenset(pair.files[1:]) for pair in pairing.labelled}
    if "{annotator}" in found.files.label:
        return all(any(each <= label for label in labels) for each in drawn)
    return labels == drawn and not any(case.problem and case.split is None for case in cases)


def _pairs(pairing: Pairing) -> Arrangement:
    """Tell an arrangement that no templates describe, by an example and what was assumed."""
    names = dict(enumerate(pairing.classes[:MOST_CLASSES], start=1))
    classes = {name: value for value, name in names.items() if slugify(name)}
    bare = f"{len(pairing.bare)} images without a label are left out" if pairing.bare else ""
    example = pairing.arrangement + ", and so on" * (not names)
    told = (example, bare, *(note.rstrip(".") for note in pairing.notes))
    hints = " ".join(pair.name for pair in pairing.labelled[:50])
    return Arrangement("pairs", "; ".join(filter(None, told)), FileRules(classes=classes), names, hints=hints)


def _is_data(name: str) -> bool:
    return name.lower().endswith(formats.image_suffixes())


def described(folder: Path) -> Arrangement | None:
    """Recognise the layouts that come with a dataset.json; None if there is none of theirs.

    Raises:
        ValueError: If it is no JSON.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is not readable: expected JSON, got {error}."
        raise ValueError(msg) from error
    if not isinstance(facts, dict):
        return None
    described: tuple[tuple[Layout, str], ...] = (("nnunet", "channel_names"), ("msd", "modality"))
    for layout, key in described:
        channels, labels = facts.get(key), facts.get("labels")
        if isinstance(channels, dict) and isinstance(labels, dict):
            unknown = ignored(labels) if layout == "nnunet" else ()
            structures = {name: value for name, value in labels.items() if not (unknown and name == IGNORE)}
            named, regions = _labels(structures, by_value=layout == "msd")
            words = f"the layout of {'nnU-Net' if layout == 'nnunet' else 'the Medical Segmentation Decathlon'}"
            hints = " ".join((str(facts.get("name", "")), *map(str, channels.values())))
            words, rules = f"dataset.json describes {words}", FileRules(unknown=unknown)
            return Arrangement(layout, words, rules, named, regions, hints)
    return None


def _labels(labels: dict[str, Any], *, by_value: bool) -> tuple[dict[int, str], dict[str, tuple[int, ...]]]:
    """Read the names of label values in a dataset.json, and its regions, each of which unites several values.

    A value that only regions of several hold has no name of its own.
    """
    pairs = ((name, value) for value, name in labels.items()) if by_value else labels.items()
    united = {
        str(name): tuple(int(value) for value in (values if isinstance(values, list) else [values]))
        for name, values in pairs
        if all(str(value).isdecimal() for value in (values if isinstance(values, list) else [values]))
    }
    regions = {name: values for name, values in united.items() if len(values) > 1}
    named = {values[0]: name for name, values in united.items() if len(values) == 1 and values[0] > 0}
    for value in sorted(value for values in regions.values() for value in values if value):
        named.setdefault(value, f"label {value}")
    return dict(sorted(named.items())), regions


def _tabulated(folder: Path) -> Arrangement | None:
    """Recognise a table of cases."""
    for path in sorted(folder.glob("*.csv")):
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                columns = set(reader.fieldnames or ())
                classes = sorted({line["class"] for line in reader if line.get("class")}) if "class" in columns else []
        except (csv.Error, UnicodeDecodeError):
            continue
        if columns >= REQUIRED and columns <= set(COLUMNS):
            names = dict(enumerate(classes[:MOST_CLASSES], start=1))
            return Arrangement("table", f"{path.name} lists images and labels", FileRules(table=path.name), names)
    return None


def _bids(folder: Path, files: Sequence[PurePosixPath]) -> Arrangement:
    """Recognise which images of a BIDS dataset have labels, and what these are called."""
    parsed = [bids.parse_name(file.name) for file in files if bids.is_volume(file.name)]
    labels = [name for name in parsed if name.is_label]
    images = Counter(name.suffix for name in parsed if not name.is_label and name.suffix not in bids.NEITHER)
    labelled = {name.image for name in labels}
    complete = sorted(suffix for suffix, count in images.items() if count >= len(labelled))
    channels = {suffix: f"MRI {suffix}" for suffix in complete} if len(complete) > 1 else {}
    if len(drawn_on := {name.drawn_on for name in labels} & images.keys()) == 1:
        channels = dict.fromkeys(drawn_on, "MRI") if len(images) > 1 else {}
    structures = {name.structure for name in labels if slugify(name.structure)}
    named: dict[int, str] = {}
    if all(name.suffix != bids.MAP_SUFFIX for name in labels) or len(structures) > 1:
        named = dict(enumerate(sorted(structures, key=slugify)[:MOST_CLASSES], start=1))
    else:
        for table in (file for file in files if file.name.endswith(bids_names.ENDING)):
            named = {
                value: name for value, name in bids_names.names_in(folder / table).items() if value <= MOST_VALUES
            } | named
    words = "a BIDS dataset with *_dseg or *_mask labels"
    return Arrangement("bids", words, FileRules(channels=channels), named, hints="MRI")


def _is_drawn(path: Path) -> bool:
    with Attempt():
        return dicom_labels.recognises(path)
    return False


def _dicom(folder: Path, files: Sequence[PurePosixPath]) -> Arrangement:
    """Recognise DICOM series, whose segments and regions name the labels."""
    names: set[str] = set()
    modalities: set[str] = set()
    for file in files:
        with Attempt(), readable(folder / file):  # what is wrong with a file is told when it is built
            header = header_of(folder / file)
            modalities.add(str(header.get("Modality")))
            names |= {str(segment.SegmentLabel) for segment in header.get("SegmentSequence") or ()}
            names |= {str(region.ROIName) for region in header.get("StructureSetROISequence") or ()}
    by_slug = {slugify(name): name for name in sorted(names, reverse=True) if slugify(name)}
    named = dict(enumerate(sorted(by_slug.values())[:MOST_CLASSES], start=1))
    words = "DICOM series with SEG or RTSTRUCT, matched by their UIDs"
    return Arrangement("dicom", words, label_names=named, hints=" ".join(modalities - LABEL_MODALITIES))


def _annotated(folder: Path, data: Sequence[PurePosixPath], others: Sequence[PurePosixPath]) -> Arrangement | None:
    """Recognise what an annotation tool saved, where no names of files say labels."""
    tools = ToolFiles.among(folder, others)
    if not (tools.beside or tools.common) or sort_out(data)[1]:
        return None
    pairs = find_pairs(folder).labelled
    files = Counter(path for pair in pairs for paths in pair.labels.values() for path in paths)
    if not files:
        return None
    common = sorted(path for path in files if path in tools.common)
    images = Counter(case_template(pair.image, pair.image, folder) for pair in pairs)
    if common:
        label, _ = varying(Counter(path.relative_to(folder).as_posix() for path in common))
        image, label, classes = varying(images)[0].replace("{}", "*"), label.replace("{}", "*"), dict[str, int]()
    else:
        images_of = ((path, pair.image) for pair in pairs for paths in pair.labels.values() for path in paths)
        drawn = Counter(case_template(path, image, folder) for path, image in images_of)
        image, label, classes = united(images, drawn)
    found = formats.drawn_format(next(iter(files)))
    names = dict(found.names(common[0])) if found and len(common) == 1 else {n: name for name, n in classes.items()}
    words = f"{label} is what {found.name if found else 'a tool'} saved: it annotates {len(pairs)} images"
    hints = " ".join(str(path) for path in data[:50])
    return Arrangement("folder", words, FileRules(image=image, label=label, classes=classes), names, hints=hints)


def _own_labels(folder: Path, data: Sequence[PurePosixPath]) -> Arrangement | None:
    """Recognise images that are folders and hold their labels themselves."""
    own = [folder / path for path in data if (folder / path).is_dir() and formats.drawn_format(folder / path)]
    if not own or sort_out(data)[1]:
        return None
    template, _ = varying(Counter(case_template(path, path, folder) for path in own))
    template = template.replace("{}", "*")
    found = formats.drawn_format(own[0])
    names = dict(found.names(own[0])) if found else {}
    words = f"{template} are images that hold their labels, {len(own)} of {len(data)}"
    return Arrangement("folder", words, FileRules(image=template, label=template), names)


def _templates(folder: Path, files: Sequence[PurePosixPath]) -> Arrangement:
    """Find the path templates of images and labels."""
    images, labels = sort_out(without_derived(files)[0])
    image_templates, label_templates, unread = matched(images, labels)
    by_case = partial(labels_by_case, folder, labels)
    if not label_templates:
        msg = (
            f"{folder} is not understood: expected images/ and labels/ with equal file names, or names such as 1.png "
            f"and 1_mask.png, got {len(images)} images and {len(labels)} labels that share no name. Write a card.toml."
        )
        raise ValueError(msg)
    image, label, classes = united(image_templates, label_templates, by_case)
    named = {value: name for name, value in classes.items()}
    try:
        rules = FileRules(image=image, label=label, classes=classes)
    except ValidationError as error:
        msg = f"{folder} has unusable names: {error.errors()[0]['msg']} Rename its files."
        raise ValueError(msg) from error
    if (image, label) in (("images/{case}", "labels/{case}"), ("volumes/{case}_image", "volumes/{case}_label")):
        rules = FileRules()
    pattern = template_pattern(label, classes)
    others = [each.path for each in labels if not pattern.fullmatch(unicodedata.normalize("NFC", str(each.path)))]
    words, hints = f"images are {image}, labels are {label}", " ".join(map(str, files[:50]))
    if unread:
        listed = ", ".join(unread[:MOST_LISTED]) + (", …" if len(unread) > MOST_LISTED else "")
        words += f"; other images of the same labels, {listed}, are not read: name one as `image` to read it instead"
    words += "; write {annotator} for {class} if these are people who drew the same" if "{class}" in label else ""
    words += f"; {len(others)} files may be labels too but are not read, such as {others[0]}" if others else ""
    return Arrangement("folder", words, rules, named, hints=hints)
