"""Recognition of an unknown folder: its layout and, for plain folders, the path templates of images and labels."""

import csv
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from megamed import formats
from megamed.annotation_files import ToolFiles
from megamed.annotation_tools import bids_names
from megamed.annotators import CONSENSUS, person_of
from megamed.failures import Attempt
from megamed.file_names import (
    ANNOTATOR_WORDS,
    NUMBERED_PEOPLE,
    CaseIndex,
    FileName,
    NamedFile,
    sort_out,
    visible_files,
)
from megamed.layouts import bids
from megamed.layouts.folder import template_pattern
from megamed.layouts.nnunet import IGNORE, ignored
from megamed.layouts.table import COLUMNS, REQUIRED
from megamed.look_alikes import drew_one_thing
from megamed.matching import named_around
from megamed.pairing import find_pairs
from megamed.readers import dicom_labels
from megamed.readers.dicom_headers import LABEL_MODALITIES, header_of, readable
from megamed.schema import FileRules, slugify
from megamed.vocabulary import DESCRIPTION, Layout

MOST_CLASSES = 200
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
    return _annotated(folder, data, others) or _own_labels(folder, data) or _templates(folder, data)


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
    images = Counter(_case_template(pair.image, pair.image, folder) for pair in pairs)
    if common:
        label, _ = _varying(Counter(path.relative_to(folder).as_posix() for path in common))
        image, label, classes = _varying(images)[0].replace("{}", "*"), label.replace("{}", "*"), dict[str, int]()
    else:
        images_of = ((path, pair.image) for pair in pairs for paths in pair.labels.values() for path in paths)
        drawn = Counter(_case_template(path, image, folder) for path, image in images_of)
        image, label, classes = _united(images, drawn)
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
    template, _ = _varying(Counter(_case_template(path, path, folder) for path in own))
    template = template.replace("{}", "*")
    found = formats.drawn_format(own[0])
    names = dict(found.names(own[0])) if found else {}
    words = f"{template} are images that hold their labels, {len(own)} of {len(data)}"
    return Arrangement("folder", words, FileRules(image=template, label=template), names)


def _case_template(path: Path, image: Path, folder: Path) -> str:
    """Write the path of a file with `{case}` for the name of its image, and of an annotation's file with its suffix."""
    name = path.relative_to(folder)
    stem = formats.stem(image.name)
    if path == image:
        return name.with_name("{case}").as_posix()
    return name.with_name(name.name.replace(stem, "{case}", 1)).as_posix()


def _templates(folder: Path, files: Sequence[PurePosixPath]) -> Arrangement:
    """Find the path templates of images and labels."""
    images, labels = sort_out(files)
    image_templates, label_templates, unread = _matched(images, labels)
    by_case = partial(_by_case, folder, labels)
    if not label_templates:
        msg = (
            f"{folder} is not understood: expected images/ and labels/ with equal file names, or names such as 1.png "
            f"and 1_mask.png, got {len(images)} images and {len(labels)} labels that share no name. Write a card.toml."
        )
        raise ValueError(msg)
    image, label, classes = _united(image_templates, label_templates, by_case)
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


def _matched(images: Sequence[NamedFile], labels: Sequence[NamedFile]) -> tuple[Counter[str], Counter[str], list[str]]:
    """Count the templates of images and labels that belong together, and list those of the other images of labels."""
    index = CaseIndex.of(images)
    image_templates: Counter[str] = Counter()
    label_templates: Counter[str] = Counter()
    others: set[str] = set()
    inside: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        case, found = index.find(label.name)
        if found:
            found = _in_its_folder(label.name, found)
            label_templates[label.name.template(case)] += 1
        else:
            case, found = named_around(label.name, index)
            if found:
                inside[case].add(_named_by_folder(label, case))
        if found:
            image_templates[found[-1].name.template(case)] += 1
            others |= {each.name.template(case) for each in found[:-1]}
    label_templates += _without_own(inside)
    return image_templates, label_templates, sorted(others - image_templates.keys())


def _in_its_folder(label: FileName, images: Sequence[NamedFile]) -> Sequence[NamedFile]:
    """Keep the images that have most folders in common with a label, as that of a patient."""
    common = [len({*label.own_folders} & {*image.name.own_folders}) for image in images]
    return [image for image, count in zip(images, common, strict=True) if count == max(common)]


def _named_by_folder(label: NamedFile, case: str) -> str:
    """Write the path of a label that is called otherwise than its case, which a folder around it is called as."""
    folders = ("{case}" if folder == case else folder for folder in label.name.folders)
    return "/".join((*folders, label.name.stem))


def _without_own(inside: Mapping[str, set[str]]) -> Counter[str]:
    """Count the paths of labels by case; names that no two cases share, as those of single cells, become `*`."""
    templates = Counter(template for found in inside.values() for template in found)
    if len(inside) > 1 and max(templates.values()) == 1:
        return Counter(f"{template.rpartition('/')[0]}/*" for template in templates)
    return templates


def _united(
    images: Counter[str],
    labels: Counter[str],
    by_case: Callable[[str, set[str]], Sequence[Mapping[str, Path]]] = lambda *_: (),
) -> tuple[str, str, dict[str, int]]:
    """Unite templates that differ in one piece: in the class or the annotator of labels, or in a part of both."""
    shared = _differing_folders(images)
    if len(shared) > 1 and shared == _differing_folders(labels):
        images, labels = (_without_folders(each, frozenset().union(*shared)) for each in (images, labels))
    image, image_variants = _varying(images)
    label, label_variants = _varying(_without_numbers(labels))
    image = image.replace("{}", "*")
    for template, variants in ((label, label_variants), _varying(labels, "(/)")):
        are_people = _are_annotators(template, variants) or drew_one_thing(by_case(template, variants))
        if variants != image_variants and are_people:
            return image, template.replace("{}", "{annotator}"), {}
    if not label_variants:
        return image, label, {}
    are_parts = all(re.fullmatch(r"\w?\d*", variant) for variant in label_variants)
    if are_parts:  # unless folders of numbers hold several labels of a case
        are_parts = not any(len(case) > 1 for case in by_case(label, label_variants))
    if label_variants == image_variants or are_parts:
        return image, label.replace("{}", "*"), {}
    classes = {name: value for value, name in enumerate(sorted(label_variants), start=1) if slugify(name)}
    return image, label.replace("{}", "{class}"), classes


def _differing_folders(templates: Counter[str]) -> list[frozenset[str]]:
    """List the variants of each folder in which templates of one depth differ."""
    split = [template.split("/")[:-1] for template in templates]
    if len({len(folders) for folders in split}) != 1:
        return []
    return [found for column in zip(*split, strict=True) if len(found := frozenset(column)) > 1]


def _without_folders(templates: Counter[str], names: frozenset[str]) -> Counter[str]:
    """Write `*` for folders of these names."""
    united: Counter[str] = Counter()
    for template, count in templates.items():
        *folders, name = template.split("/")
        united["/".join([*("*" if folder in names else folder for folder in folders), name])] += count
    return united


def _are_annotators(template: str, variants: set[str]) -> bool:
    """Whether what differs between labels says who drew them, alone or with the word before it: `expert_A`, `r1`."""
    before = re.search(r"[^\W\d_]*[-_ ]?(?=\{\})", template)
    starts = ("", before[0] if before else "")
    people = {person_of(each) for each in variants if not CONSENSUS.fullmatch(each)}
    return bool(people) and any(
        all(ANNOTATOR_WORDS.fullmatch(start + each) or NUMBERED_PEOPLE.fullmatch(each) for each in people)
        for start in starts
    )


def _by_case(folder: Path, labels: Sequence[NamedFile], template: str, variants: set[str]) -> list[dict[str, Path]]:
    """List the labels of each case by the folders in which alone they differ; nothing if they differ otherwise."""
    pattern = template_pattern(template.replace("{}", "{annotator}"), {})
    cases: dict[str, dict[str, Path]] = defaultdict(dict)
    if "{}" not in template.rpartition("/")[0]:
        return []
    for label in labels:
        if match := pattern.fullmatch(unicodedata.normalize("NFC", str(label.path))):
            cases[match["case"]][match["annotator"]] = folder / label.path
    return [{name: path for name, path in case.items() if name in variants} for case in cases.values()]


def _without_numbers(templates: Counter[str]) -> Counter[str]:
    """Unite templates that differ in a number at the end, as in `1_mask` and `1_mask_1`."""
    united: Counter[str] = Counter()
    stems = {template: re.sub(r"[-_ ]?\d+$", "", template) for template in templates}
    shared = Counter(stems.values())
    for template, count in templates.items():
        united[f"{stems[template]}*" if shared[stems[template]] > 1 else template] += count
    return united


def _varying(templates: Counter[str], separators: str = r"([/\-_.])") -> tuple[str, set[str]]:
    """Find the one piece in which templates differ, as `{}`, and its variants; else take the commonest template."""
    split = [re.split(separators, template) for template in templates]
    if len(templates) > 1 and len({len(pieces) for pieces in split}) == 1:
        columns = [set(column) for column in zip(*split, strict=True)]
        differing = [index for index, column in enumerate(columns) if len(column) > 1]
        varying = columns[differing[0]] if len(differing) == 1 else set()
        if 0 < len(varying) <= MOST_CLASSES and "{case}" not in varying:
            pieces = split[0]
            pieces[differing[0]] = "{}"
            return "".join(pieces), varying
    return (templates.most_common(1)[0][0] if templates else "{case}"), set()
