"""Templates of the paths of images and labels, found by the names of files: what all share, and what differs."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from megamed import formats
from megamed.annotators import CONSENSUS, person_of
from megamed.file_names import (
    ANNOTATOR_WORDS,
    NUMBERED_PEOPLE,
    SEPARATORS,
    SEQUENCES,
    CaseIndex,
    FileName,
    NamedFile,
)
from megamed.layouts.folder import template_pattern
from megamed.look_alikes import drew_one_thing
from megamed.matching import named_around
from megamed.schema import slugify

MOST_CLASSES = 200
"""Most classes that names of files or folders tell."""


def case_template(path: Path, image: Path, folder: Path) -> str:
    """Write the path of a file with `{case}` for the name of its image, and of an annotation's file with its suffix."""
    name = path.relative_to(folder)
    stem = formats.stem(image.name)
    if path == image:
        return name.with_name("{case}").as_posix()
    return name.with_name(name.name.replace(stem, "{case}", 1)).as_posix()


def matched(images: Sequence[NamedFile], labels: Sequence[NamedFile]) -> tuple[Counter[str], Counter[str], list[str]]:
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
            chosen = min(reversed(found), key=_rank)
            image_templates[chosen.name.template(case)] += 1
            others |= {each.name.template(case) for each in found if each is not chosen}
    label_templates += _without_own(inside)
    return image_templates, label_templates, sorted(others - image_templates.keys())


def _rank(image: NamedFile) -> int:
    """Return the place of an image's sequence among those of magnetic resonance; all others come last."""
    sequence = image.name.suffix.strip(SEPARATORS).lower()
    return SEQUENCES.index(sequence) if sequence in SEQUENCES else len(SEQUENCES)


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


def united(
    images: Counter[str],
    labels: Counter[str],
    by_case: Callable[[str, set[str]], Sequence[Mapping[str, Path]]] = lambda *_: (),
) -> tuple[str, str, dict[str, int]]:
    """Unite templates that differ in one piece: in the class or the annotator of labels, or in a part of both."""
    shared = _differing_folders(images)
    if len(shared) > 1 and shared == _differing_folders(labels):
        images, labels = (_without_folders(each, frozenset().union(*shared)) for each in (images, labels))
    image, image_variants = varying(images)
    label, label_variants = varying(_without_numbers(labels))
    image = image.replace("{}", "*")
    for template, variants in ((label, label_variants), varying(labels, "(/)")):
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


def labels_by_case(
    folder: Path, labels: Sequence[NamedFile], template: str, variants: set[str]
) -> list[dict[str, Path]]:
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


def varying(templates: Counter[str], separators: str = r"([/\-_.])") -> tuple[str, set[str]]:
    """Find the one piece in which templates differ, as `{}`, and its variants; else take the commonest template."""
    split = [re.split(separators, template) for template in templates]
    if len(templates) > 1 and len({len(pieces) for pieces in split}) == 1:
        columns = [set(column) for column in zip(*split, strict=True)]
        differing = [index for index, column in enumerate(columns) if len(column) > 1]
        variants = columns[differing[0]] if len(differing) == 1 else set()
        if 0 < len(variants) <= MOST_CLASSES and "{case}" not in variants:
            pieces = split[0]
            pieces[differing[0]] = "{}"
            return "".join(pieces), variants
    return (templates.most_common(1)[0][0] if templates else "{case}"), set()
