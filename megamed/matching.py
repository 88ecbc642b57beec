"""Labels of a folder and the image that each belongs to, with the class that names of files and folders say."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TypeAlias

from megamed import formats
from megamed.class_names import one_spelling, spelling_notes
from megamed.file_names import (
    AFFIXES,
    ANNOTATOR_WORDS,
    FIELD_WORDS,
    KIND_FOLDER,
    LISTED,
    NUMBERED_PEOPLE,
    SEQUENCES,
    SPLIT_WORDS,
    CaseIndex,
    FileName,
    NamedFile,
    beginnings,
    casefolded,
)
from megamed.notes import left_out

NUMBER = re.compile(r"\w?\d*")
"""A piece of a name that only counts."""
CHANNEL = re.compile(r"(.+)_(\d{4})")
"""A case and the number of its channel, as in the folders of nnU-Net."""
ENTITY = re.compile(r"(?:^|[_ ])label-([^_ ]+)")
"""The class in a name of BIDS that has several entities."""
AGGREGATES = re.compile(r"aggregated?[-_ ]?\w*", re.I)
"""Names of labels that unite what several people drew, in one of several ways."""
REGION_WORDS = re.compile(r"rois?", re.I)
"""Names of labels of regions of interest, such as the colours of a lesion, where others are those of the whole."""
NAMELESS = "label"
"""Name of a class whose files and folders only say that they are labels."""
MOST_NAMED = 5
"""Number of files that a message names."""
OTHERS = "another annotator's label of its image is used"


OneThing: TypeAlias = Callable[[Sequence[Mapping[str, PurePosixPath]]], bool]
"""Judgement on the labels of each image, by the names in which they differ."""


@dataclass(frozen=True)
class Match:
    """A label and the image that it belongs to."""

    image: NamedFile
    label: NamedFile
    case: str

    @property
    def pieces(self) -> tuple[str, ...]:
        """Pieces of the label's path beyond its case: a class, an annotator or a number."""
        folders = [
            _behind(folder, self.case)
            for folder in self.label.name.folders
            if folder not in self.image.name.folders and folder != self.case and not SPLIT_WORDS.fullmatch(folder)
        ]
        rest = self.label.name.case.removeprefix(self.case).strip("-_. ")
        annotator = self.label.name.suffix.strip("-_. ")
        annotators = [annotator] if ANNOTATOR_WORDS.fullmatch(annotator) else []
        rest = "" if any(folder.endswith(rest) for folder in folders) else rest  # such as `labels-ah/1.ah`
        return tuple(dict.fromkeys(filter(None, (*folders, rest, *annotators))))


def _behind(name: str, case: str) -> str:
    """Return what follows a case in the name of a folder that begins with it; `1st` does not with 1."""
    rest = name.removeprefix(case)
    return name if rest[:1].isalnum() else rest.strip("-_. ")


def one_sequence(images: Sequence[NamedFile], labels: Sequence[NamedFile]) -> tuple[list[NamedFile], list[str]]:
    """Keep, of several sequences of a case whose label says none of them, the one that most cases have.

    Returns:
        The images that are kept, and a note if others are not.
    """
    cases: dict[tuple[tuple[str, ...], str], dict[str, NamedFile]] = defaultdict(dict)
    for image in images:
        case, sequence = _sequence_of(image.name)
        if sequence:
            cases[image.name.folders, case][sequence] = image
    several = {place: found for place, found in cases.items() if len(found) > 1}
    places = {case for _, case in several}
    called = ((label.name, case) for label in labels for case in (label.name.case, *label.name.folders))
    label, labelled = next(((name, case) for name, case in called if case in places), (None, ""))
    if label is None:
        return list(images), []
    counts = Counter(sequence for found in several.values() for sequence in found)
    known = [*SEQUENCES, *sorted(counts.keys() - {*SEQUENCES})]
    chosen = max(known, key=lambda sequence: counts[sequence])
    others = {id(image) for found in several.values() for name, image in found.items() if name != chosen}
    named = ", ".join(sequence for sequence in known if counts[sequence])
    kept = [image for image in images if id(image) not in others]
    other = next(image.name for image in images if id(image) in others)
    templates = f"--images '{other.template(_sequence_of(other)[0])}' --labels '{label.template(labelled)}'"
    note = f"of the sequences {named} of each case {chosen} is looked at. Choose another, such as {templates}."
    without = [next(iter(found.values())).path for found in several.values() if chosen not in found]
    return kept, [note, *left_out(without, f"its case has no {chosen}")]


def _sequence_of(name: FileName) -> tuple[str, str]:
    """Split a name into its case and a sequence or the number of a channel; this is empty if it has none."""
    if (sequence := name.suffix.rpartition("/")[2].strip("-_. ").lower()) in SEQUENCES:
        return name.case, sequence
    match = CHANNEL.fullmatch(name.stem)
    return (match[1], match[2]) if match else (name.case, "")


def match_labels(images: Sequence[NamedFile], labels: Sequence[NamedFile]) -> tuple[list[Match], list[NamedFile]]:
    """Find the image of every label; labels without one come second.

    Raises:
        ValueError: If several images fit a label alike.
    """
    index = CaseIndex.of(images)
    folded = CaseIndex.of(images, casefolded)
    matched: list[Match] = []
    orphans = []
    for label in labels:
        case, candidates = index.find(label.name)
        if not candidates:
            case, candidates = named_around(label.name, index)
        if not candidates:
            case, candidates = folded.find(casefolded(label.name))
        nearest = _nearest(label, candidates)
        if len(nearest) > 1:
            names = ", ".join(str(image.path) for image in nearest[:MOST_NAMED])
            msg = (
                f"{label.path} may belong to several images: expected one, got {names}. Say which by templates of "
                f"paths, such as --images '{_template(nearest[0].name, case)}' --labels "
                f"'{_template(label.name, case)}'."
            )
            raise ValueError(msg)
        if nearest:
            is_whole = nearest[0].name.stem == label.name.case  # such as frame1 of both frame1 and frame1_gt
            matched.append(Match(nearest[0], label, label.name.case if is_whole else case))
        else:
            orphans.append(label)
    more = list(_alone_together(images, matched, orphans))
    matched += more
    found = {id(match.label) for match in more}
    return matched, [label for label in orphans if id(label) not in found]


def _template(name: FileName, case: str) -> str:
    """Write a template of paths, in which folders that say nothing of the kind of files are any."""
    folders = (each if each == case or KIND_FOLDER.fullmatch(each) else "*" for each in name.folders)
    return replace(name, folders=tuple(folders)).template(case)


def named_around(label: FileName, index: CaseIndex) -> tuple[str, Sequence[NamedFile]]:
    """Find the images that are called as a folder around a label, which has a class or anything else for its name."""
    case = next((folder for folder in reversed(label.own_folders) if folder in index.cases), label.case)
    return case, index.cases.get(case, ())


def _nearest(label: NamedFile, candidates: Sequence[NamedFile]) -> list[NamedFile]:
    """Keep the images that lie nearest to a label in the tree of folders."""
    own = set(label.name.own_folders)
    ranked = defaultdict(list)
    for image in candidates:
        theirs = set(image.name.own_folders)
        if own and theirs and not own & theirs and not theirs & set(beginnings(label.name.case)):
            continue
        pairs = zip(label.name.folders, image.name.folders, strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        is_same = image.name.stem in (label.name.stem, label.name.case)
        ranked[len(own & theirs), common, is_same, _says_images(image)].append(image)
    return ranked[max(ranked)] if ranked else []


def _says_images(image: NamedFile) -> bool:
    return any(KIND_FOLDER.fullmatch(folder) for folder in image.name.folders)


def _alone_together(
    images: Sequence[NamedFile], matched: Sequence[Match], orphans: Sequence[NamedFile]
) -> Iterator[Match]:
    """Pair the only image of a folder with its only label, whatever their names."""
    taken = {match.image for match in matched}
    counts = Counter(each.place for each in orphans)
    by_folder = defaultdict(list)
    for image in images:
        by_folder[image.place].append(image)
    for label in orphans:
        beside = by_folder.get(label.place, [])
        if label.place and counts[label.place] == len(beside) == 1 and beside[0] not in taken:
            yield Match(beside[0], label, label.name.case)


def by_class(
    matched: Sequence[Match], drew_one_thing: OneThing = lambda _: False
) -> tuple[dict[NamedFile, dict[str, tuple[PurePosixPath, ...]]], list[str]]:
    """Group the files of every image's label by class.

    Args:
        matched: Labels with their images.
        drew_one_thing: Judges by their content whether labels of different names are what several people drew.

    Returns:
        The files of each image by class, and notes on labels that are left out and on classes that are spelt in several
        ways.

    Raises:
        ValueError: If two files say the same of one image in different words.
    """
    common = set.intersection(*(set(match.pieces) for match in matched)) if matched else set()
    variants = [" ".join(piece for piece in match.pieces if piece not in common) for match in matched]
    (matched, variants), fields = _without(_are_fields(variants), matched, variants)
    (matched, variants), regions = _without(_are_regions(matched), matched, variants)
    agreed = _agreed(variants)
    images = {match.image for match, variant in zip(matched, variants, strict=True) if variant == agreed}
    are_others = [match.image in images and variant != agreed for match, variant in zip(matched, variants, strict=True)]
    (matched, variants), parts = _without(are_others, matched, variants)
    classes, told = _class_names(matched, variants, drew_one_thing)
    names = [name for name in classes if name]
    spelling = one_spelling(names) | {"": ""}
    grouped: dict[NamedFile, dict[str, list[NamedFile]]] = defaultdict(lambda: defaultdict(list))
    for match, class_name in zip(matched, classes, strict=True):
        if class_name is not None:
            grouped[match.image][spelling[class_name]].append(match.label)
    for found in grouped.values():
        for labels in found.values():
            _check_parts(labels)
    files = {
        image: {name: tuple(label.path for label in labels) for name, labels in sorted(found.items())}
        for image, found in grouped.items()
    }
    others = [match.label.path for match, class_name in zip(matched, classes, strict=True) if class_name is None]
    why = "beside what annotators drew it is taken for the field of view"
    left = left_out([match.label.path for match in fields], why)
    left += left_out([match.label.path for match in regions], "it marks a region beside the label of its image")
    left += left_out([match.label.path for match in parts], _why_apart(parts, files, agreed))
    left += [*told, *left_out(others, OTHERS), *([] if told else _united(files))]
    return files, [*left, *spelling_notes(names)]


def _why_apart(
    parts: Sequence[Match], files: Mapping[NamedFile, Mapping[str, Sequence[PurePosixPath]]], agreed: str
) -> str:
    """Say why labels are left out: others unite several people's drawings, or have no more than a case's name."""
    if agreed or not parts:
        return f"{agreed} unites what several people drew of its image"
    return f"{next(iter(files[parts[0].image].values()))[0]} is the label of its image"


def _united(files: Mapping[NamedFile, Mapping[str, Sequence[PurePosixPath]]]) -> Iterator[str]:
    """Note that several files are one label, of which instances are the usual reason and forgotten classes another."""
    several = [paths for found in files.values() for paths in found.values() if len(paths) > 1]
    if several:
        more = f", and so it is with {len(several) - 1} more" if len(several) > 1 else ""
        yield f"{several[0][0]} and {several[0][1].name} are read as parts of one label{more}."


def _agreed(variants: Iterable[str]) -> str:
    """Return, of the ways in which drawings of several people were united, that of the majority; empty if none was."""
    united = sorted({variant for variant in variants if AGGREGATES.fullmatch(variant)})
    return next((variant for variant in united if "maj" in variant.casefold()), next(iter(united), ""))


def _are_fields(variants: Sequence[str]) -> list[bool]:
    """Whether each label is a mask of the field of view, which lies beside the labels of annotators."""
    are_named_so = [bool(FIELD_WORDS.fullmatch(variant)) for variant in variants]
    others = {variant for variant, is_named_so in zip(variants, are_named_so, strict=True) if not is_named_so}
    beside_annotators = bool(others) and all(map(_is_person, others))
    return [is_named_so and beside_annotators for is_named_so in are_named_so]


def _is_person(variant: str) -> bool:
    return bool(ANNOTATOR_WORDS.fullmatch(variant) or NUMBERED_PEOPLE.fullmatch(variant))


def _are_regions(matched: Sequence[Match]) -> list[bool]:
    """Whether each label marks regions of interest, beside another label of its image."""
    are_named_so = [any(map(REGION_WORDS.fullmatch, match.pieces)) for match in matched]
    whole = {match.image for match, is_named_so in zip(matched, are_named_so, strict=True) if not is_named_so}
    return [is_named_so and match.image in whole for match, is_named_so in zip(matched, are_named_so, strict=True)]


def _without(
    are_left_out: Sequence[bool], matched: Sequence[Match], variants: Sequence[str]
) -> tuple[tuple[list[Match], list[str]], list[Match]]:
    """Split labels into those that are kept, with their variants, and the others."""
    kept = [index for index, is_left_out in enumerate(are_left_out) if not is_left_out]
    others = [match for match, is_left_out in zip(matched, are_left_out, strict=True) if is_left_out]
    return ([matched[index] for index in kept], [variants[index] for index in kept]), others


def _class_names(
    matched: Sequence[Match], variants: Sequence[str], drew_one_thing: OneThing
) -> tuple[list[str | None], list[str]]:
    """Name the class that each label is of: empty for a label map, None for a label of a further annotator.

    Returns:
        The names, and a note if content told that the labels are those of annotators.
    """
    different = {_unnumbered(variant) for variant in variants}
    are_numbered = all(NUMBERED_PEOPLE.fullmatch(variant) for variant in variants) and len({*variants}) > 1
    if are_numbered or (len(different) > 1 and all(map(ANNOTATOR_WORDS.fullmatch, different))):
        return _of_first(matched, variants), []
    by_folder = _by_folder(matched, variants)
    by_name = by_folder or _by_name(matched, variants)
    numbers = [match.label.name.suffix.strip("-_. ") for match in matched]
    if drew_one_thing(_by_number(matched, variants, numbers)):
        named = ", ".join(sorted({*numbers})[:MOST_NAMED])
        return _of_first(matched, numbers), [f"labels of the same drawings are those of annotators: {named}."]
    named = ", ".join(sorted({*variants})[:MOST_NAMED])
    if len({*variants}) > 1 and drew_one_thing(by_name):
        kind = "folders" if by_folder else "labels"
        return _of_first(matched, variants), [f"{kind} of the same drawings are those of annotators: {named}."]
    if any(len(found) > 1 for found in by_folder) and all(NUMBER.fullmatch(variant) for variant in variants):
        note = f"folders of different drawings are those of classes, not of annotators: {named}."
        return [*variants], [note]
    if len(different) < 2 or all(NUMBER.fullmatch(variant) for variant in different):
        return [""] * len(matched), []
    images = {match.image for match in matched}
    if len(images) == len(matched) and len(different) > len(matched) / 2:
        return [""] * len(matched), []
    if len(images) > 1 and _are_parts(matched, variants):
        return [""] * len(matched), [f"labels whose names no two images share are parts of one class: {named}."]
    names = [_class_name(_unnumbered(variant)) for variant in variants]
    return [""] * len(matched) if {*names} == {NAMELESS} else [*names], []


def _are_parts(matched: Sequence[Match], variants: Sequence[str]) -> bool:
    """Whether every image has several labels of which no other has the names, as those of single cells are."""
    of_image: dict[NamedFile, set[str]] = defaultdict(set)
    for match, variant in zip(matched, variants, strict=True):
        of_image[match.image].add(_unnumbered(variant))
    counts = Counter(variant for found in of_image.values() for variant in found)
    return max(counts.values()) == 1 and all(len(found) > 1 for found in of_image.values())


def _of_first(matched: Sequence[Match], variants: Sequence[str]) -> list[str | None]:
    """Keep the labels of the first annotator of each image."""
    first: dict[NamedFile, str] = {}
    for match, variant in sorted(zip(matched, variants, strict=True), key=lambda each: each[1]):
        first.setdefault(match.image, variant)
    return ["" if first[match.image] == variant else None for match, variant in zip(matched, variants, strict=True)]


def _by_folder(matched: Sequence[Match], variants: Sequence[str]) -> list[dict[str, PurePosixPath]]:
    """List the labels of each image by the folders in which alone they differ; nothing if they differ otherwise."""
    found: dict[NamedFile, dict[str, PurePosixPath]] = defaultdict(dict)
    for match, variant in zip(matched, variants, strict=True):
        name = _class_name(variant)
        if variant not in match.label.name.folders or name in found[match.image]:
            return []
        found[match.image][name] = match.label.path
    return list(found.values())


def _by_name(matched: Sequence[Match], variants: Sequence[str]) -> list[dict[str, PurePosixPath]]:
    """List the labels of each image by words in which alone their names differ; nothing if they are numbered."""
    found: dict[NamedFile, dict[str, PurePosixPath]] = defaultdict(dict)
    for match, variant in zip(matched, variants, strict=True):
        if not any(map(str.isalpha, variant[1:])) or variant != _unnumbered(variant) or variant in found[match.image]:
            return []
        found[match.image][variant] = match.label.path
    return list(found.values())


def _by_number(
    matched: Sequence[Match], variants: Sequence[str], numbers: Sequence[str]
) -> list[dict[str, PurePosixPath]]:
    """List the labels of each image by the numbers in which alone they differ; nothing if they differ otherwise."""
    found: dict[NamedFile, dict[str, PurePosixPath]] = defaultdict(dict)
    for match, variant, number in zip(matched, variants, numbers, strict=True):
        if variant or not number[-1:].isdecimal() or number in found[match.image]:
            return []
        found[match.image][number] = match.label.path
    return list(found.values())


def _unnumbered(variant: str) -> str:
    return re.sub(r"[-_. ]+\d+$", "", variant)


def _class_name(variant: str) -> str:
    """Take the words for labels off a class's name, as in `masks_liver` and `label-liver`."""
    if entity := ENTITY.search(variant):
        return entity[1]
    variant = re.sub(rf"^{LISTED}(?=.)", "", variant)
    match = AFFIXES.fullmatch(variant)
    return (match[2].strip("-_. ") if match else variant) or NAMELESS


def _unnumbered_kinds(label: NamedFile) -> Iterator[str]:
    """Yield the folders around a label that say what kind of files they hold, without numbers."""
    for folder in filter(KIND_FOLDER.fullmatch, label.path.parent.parts):
        yield re.sub(r"[-_ ]*\d+$", "", folder).casefold()


def _check_parts(labels: Sequence[NamedFile]) -> None:
    """Refuse labels of one class that differ in more than a number, as `1_mask` and `1_seg` or those of two folders."""
    kinds = {tuple(_unnumbered_kinds(label)) for label in labels}
    stems = {(label.name.folders, re.sub(r"[-_ (]*\d+\)?$", "", label.name.suffix)) for label in labels}
    names = [label.path for label in labels]
    distinct = {(path.parent, formats.stem(path.name)) for path in names}
    if len({suffix for _, suffix in stems}) > 1 or len(distinct) < len(names) or len(kinds) > 1:
        msg = (
            f"{names[0]} and {names[1]} label the same image: expected one label, got {len(names)}. "
            "Remove one, or say by a template which to take, such as {case}_seg."
        )
        raise ValueError(msg)
