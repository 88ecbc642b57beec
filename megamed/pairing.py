"""Images of a folder and the labels that belong to each, found by the names of files and folders alone."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path, PurePosixPath

from megamed import formats
from megamed.annotation_files import ToolFiles, named_file
from megamed.dicom_folders import data_files
from megamed.file_names import (
    AFFIXES,
    ANNOTATOR_WORDS,
    FOLDER_WORDS,
    KIND_FOLDER,
    SPLIT_WORDS,
    CaseIndex,
    FileName,
    NamedFile,
    beginnings,
    casefolded,
    sort_out,
)
from megamed.look_alikes import are_one_picture, is_label_like
from megamed.path_templates import Templates, by_templates

MOST_COMPARED = 8
"""Number of photographs that are compared with the pictures of their names."""
PHOTOGRAPHS = (".jpg", ".jpeg")
"""Endings of files that lose values, so that they hold no labels."""
NUMBER = re.compile(r"\w?\d*")
"""A piece of a name that only counts."""
MOST_NAMED = 5
"""Number of files that a message names."""


@dataclass(frozen=True)
class ImagePair:
    """An image, which is a file or the folder of a DICOM series, and the files of its label."""

    image: Path
    name: str
    """Path of the image below the folder of all images, unique among them."""
    labels: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """Files of the label by class, which unite to its mask; those of a label map are under the empty name."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The image and all files of its label."""
        return (self.image, *(path for paths in self.labels.values() for path in paths))


@dataclass(frozen=True)
class Pairing:
    """The images of a folder."""

    folder: Path
    pairs: tuple[ImagePair, ...]
    notes: tuple[str, ...] = ()
    """Assumptions where names have more than one reading, and files that were left out."""
    drawn: tuple[Path, ...] = ()
    """Labels that were drawn on a DICOM series, but lie nearest to none, or to several."""

    @property
    def labelled(self) -> tuple[ImagePair, ...]:
        """The images with a label."""
        return tuple(pair for pair in self.pairs if pair.labels)

    @property
    def bare(self) -> tuple[ImagePair, ...]:
        """The images without a label."""
        return tuple(pair for pair in self.pairs if not pair.labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that labels have files of their own for; empty where labels are maps."""
        return tuple(sorted({name for pair in self.pairs for name in pair.labels if name}))

    @property
    def arrangement(self) -> str:
        """Description of the places of images and labels, by an example."""
        if not self.labelled:
            return "images without labels"
        first = self.labelled[0]
        image, label = (_below(path, self.folder) for path in first.files[:2])
        tool = formats.drawn_format(first.files[1])
        label += f" ({tool.name})" if tool else ""
        return f"{image} has the label {label}" + (f", and so on for {', '.join(self.classes)}" * bool(self.classes))


def find_pairs(folder: Path, templates: Templates | None = None, marks: Collection[str] = ()) -> Pairing:
    """Pair the images of a folder with their labels, whatever common arrangement it has.

    Recognised are folders and words in names that say images or labels, in any case and in either form of accented
    letters, with folders for patients, splits, classes and annotators; and DICOM series in folders of their own.

    Args:
        folder: Folder to search, with its subfolders; or a single image.
        templates: Where images and labels lie, instead of what their names suggest; names decide if no file fits.
        marks: File names that mark a subfolder, such as one of results, as one to leave out.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no image, or names have several readings.
    """
    if not folder.exists():
        msg = f"{folder} does not exist: expected a folder of images. Check the path."
        raise FileNotFoundError(msg)
    if folder.is_file():
        return Pairing(folder, (ImagePair(folder, folder.name),))
    files, drawn, imageless, unknown, streams = data_files(folder, marks)
    single = named_file(folder, templates.label) if templates else None
    tools = single or ToolFiles.among(folder, unknown)
    images, labels, notes = by_templates(files, templates, tools.beside) if templates and not single else ([], [], [])
    if not (images or labels):
        images, labels, notes = _by_names(folder, files)
        notes += ["no file fits the templates: names decided."] * bool(templates and not single)
    elif labels:
        tools = ToolFiles(folder)
    labels = [] if single else labels
    if not images:
        got = f"{len(labels)} labels" if labels else "none"
        msg = (
            f"{folder} has no images: expected files ending in {', '.join(formats.image_suffixes())}, got {got}. "
            "Name the folder that holds them."
        )
        raise ValueError(msg)
    _check_unique(folder, images)
    matched, orphans = _matched(images, labels)
    _check_some(images, labels, matched)
    named = _by_class(matched)
    top = os.path.commonpath([folder / image.path.parent for image in images])
    pairs = [
        ImagePair(
            folder / image.path,
            _below(folder / image.path, Path(top)),
            {name: tuple(folder / path for path in paths) for name, paths in named.get(image, {}).items()},
        )
        for image in images
    ]
    pairs, unused, more = _with_drawn(pairs, [folder / path for path in drawn])
    pairs, told = _with_annotations(pairs, images, tools)
    notes += [*_orphan_notes(orphans), *_annotator_notes(matched, named), *more, *told]
    notes += [f"{imageless[0]} is left out, for it holds no image{_more(len(imageless))}"] if imageless else []
    notes += [f"{streams[0]} is left out, for it is a pipe, socket or device{_more(len(streams))}"] if streams else []
    return Pairing(folder, tuple(pairs), tuple(notes), unused)


def _with_drawn(
    pairs: Sequence[ImagePair], drawn: Sequence[Path]
) -> tuple[list[ImagePair], tuple[Path, ...], list[str]]:
    """Give labels that were drawn on DICOM series to the unlabelled series whose path has most folders in common.

    Returns:
        The pairs, labels that several series or none come into question for, and notes on labels that are left out.
    """
    found = {pair.image: pair for pair in pairs}
    unused, taken = [], []
    for label in drawn:
        ranked = defaultdict(list)
        for image in (pair.image for pair in pairs if pair.image.is_dir()):
            ranked[len({*label.parent.parts} & {*image.parts})].append(image)
        nearest = ranked[max(ranked)] if ranked else []
        if len(nearest) != 1:
            unused.append(label)
        elif found[nearest[0]].labels:
            taken.append(label)
        else:
            found[nearest[0]] = replace(found[nearest[0]], labels={"": (label,)})
    notes = [f"{taken[0]} is left out, for its series has another label{_more(len(taken))}"] if taken else []
    notes += [f"{unused[0]} is left out, for no one series lies nearest to it{_more(len(unused))}"] if unused else []
    return list(found.values()), tuple(unused), notes


def _with_annotations(
    pairs: Sequence[ImagePair], images: Sequence[NamedFile], tools: ToolFiles
) -> tuple[list[ImagePair], list[str]]:
    """Give images without a label what an annotation tool saved for them: a file of their own, or a part of one."""
    bare = {tools.folder / image.path: image for image in images}
    bare = {pair.image: bare[pair.image] for pair in pairs if pair.image in bare and not pair.labels}
    matched, orphans = _matched(list(bare.values()), tools.beside)
    named = _by_class(matched)
    left = [path for path, image in bare.items() if image not in named]
    owners, notes = tools.owners(left, orphans)
    labels = {image: {"": (path,)} for image, path in owners.items()} | {
        tools.folder / image.path: {name: tuple(tools.folder / path for path in paths) for name, paths in found.items()}
        for image, found in named.items()
    }
    without = [image for path, image in bare.items() if path not in labels]
    odd = [each.label.path for each in _matched(without, tools.damaged)[0]]
    notes += [f"{odd[0]} is left out, for it has the form of no annotation tool's file{_more(len(odd))}"] if odd else []
    unused = [orphan for orphan in orphans if tools.folder / orphan.path not in owners.values()]
    notes += [*_orphan_notes(unused), *_annotator_notes(matched, named)]
    return [replace(pair, labels=labels.get(pair.image, pair.labels)) for pair in pairs], notes


def _by_names(folder: Path, files: Sequence[PurePosixPath]) -> tuple[list[NamedFile], list[NamedFile], list[str]]:
    """Tell images from labels; where no name says labels, those beside photographs are, and where all do, none is."""
    images, labels = sort_out(files)
    sorted_out = {each.path for each in (*images, *labels)}
    others = [path for path in files if path not in sorted_out]
    notes = [f"{others[0]} is left out, for it renders another label anew{_more(len(others))}"] if others else []
    if not images and not any(_says_labels(label) for label in labels):
        plain = [NamedFile(each.path, FileName(each.name.folders, "", each.name.stem, "", False)) for each in labels]
        return plain, [], notes
    if labels:
        return images, labels, notes
    groups = defaultdict(list)
    for each in images:
        groups[each.group].append(each)
    beside = [
        other
        for group in groups.values()
        if len(group) == 2 and sum(_is_photograph(each) for each in group) == 1
        for other in group
        if not _is_photograph(other)
    ]
    if not beside:
        return images, [], []
    if is_label_like(folder / beside[0].path):
        note = f"{beside[0].path.name} is taken for the label of the photograph of that name" + _more(len(beside))
        return [each for each in images if each not in beside], beside, [note]
    copies = [photo for other in beside for photo in groups[other.group] if photo is not other]
    looked_at = zip(copies[:MOST_COMPARED], beside, strict=False)
    if not all(are_one_picture(folder / copy.path, folder / other.path) for copy, other in looked_at):
        return images, [], []
    why = f"{beside[0].path.name} is the same picture without loss"
    note = f"{copies[0].path.name} is left out, for {why}{_more(len(copies))}"
    return [each for each in images if each not in copies], [], [note]


def _says_labels(label: NamedFile) -> bool:
    return any(FOLDER_WORDS.fullmatch(folder) for folder in label.name.folders)


def _is_photograph(file: NamedFile) -> bool:
    return file.path.name.lower().endswith(PHOTOGRAPHS)


def _check_unique(folder: Path, images: Sequence[NamedFile]) -> None:
    first: dict[object, NamedFile] = {}
    for image in images:
        if (other := first.setdefault(image.group, image)) is not image:
            msg = (
                f"{folder} holds two images of one name: expected one, got {other.path.name} and {image.path.name}. "
                "Rename one."
            )
            raise ValueError(msg)


@dataclass(frozen=True)
class _Match:
    """A label and the image that it belongs to."""

    image: NamedFile
    label: NamedFile
    case: str

    @property
    def pieces(self) -> tuple[str, ...]:
        """Pieces of the label's path beyond its case: a class, an annotator or a number."""
        folders = [
            folder
            for folder in self.label.name.folders
            if folder not in self.image.name.folders and folder != self.case and not SPLIT_WORDS.fullmatch(folder)
        ]
        rest = self.label.name.case.removeprefix(self.case).strip("-_. ")
        return (*folders, rest) if rest else tuple(folders)


def _matched(images: Sequence[NamedFile], labels: Sequence[NamedFile]) -> tuple[list[_Match], list[NamedFile]]:
    """Find the image of every label; labels without one come second.

    Raises:
        ValueError: If several images fit a label alike.
    """
    index = CaseIndex.of(images)
    folded = CaseIndex.of(images, casefolded)
    matched: list[_Match] = []
    orphans = []
    for label in labels:
        case, candidates = index.find(label.name)
        if not candidates:
            case, candidates = _around(label.name, index)
        if not candidates:
            case, candidates = folded.find(casefolded(label.name))
        nearest = _nearest(label, candidates)
        if len(nearest) > 1:
            names = ", ".join(str(image.path) for image in nearest[:MOST_NAMED])
            msg = (
                f"{label.path} may belong to several images: expected one, got {names}. Say which by templates of "
                "paths, such as {case}_flair for images and {case}_seg for labels."
            )
            raise ValueError(msg)
        if nearest:
            matched.append(_Match(nearest[0], label, case))
        else:
            orphans.append(label)
    more = list(_alone_together(images, matched, orphans))
    matched += more
    found = {id(match.label) for match in more}
    return matched, [label for label in orphans if id(label) not in found]


def _check_some(images: Sequence[NamedFile], labels: Sequence[NamedFile], matched: Sequence[_Match]) -> None:
    if labels and not matched:
        names = f"{images[0].path} and {labels[0].path}"
        msg = (
            f"labels share no name with images: expected names such as 1.png and 1_mask.png, got {names}. Rename them."
        )
        raise ValueError(msg)


def _around(label: FileName, index: CaseIndex) -> tuple[str, Sequence[NamedFile]]:
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
    images: Sequence[NamedFile], matched: Sequence[_Match], orphans: Sequence[NamedFile]
) -> Iterator[_Match]:
    """Pair the only image of a folder with its only label, whatever their names."""
    taken = {match.image for match in matched}
    counts = Counter(each.place for each in orphans)
    by_folder = defaultdict(list)
    for image in images:
        by_folder[image.place].append(image)
    for label in orphans:
        beside = by_folder.get(label.place, [])
        if label.place and counts[label.place] == len(beside) == 1 and beside[0] not in taken:
            yield _Match(beside[0], label, label.name.case)


def _by_class(matched: Sequence[_Match]) -> dict[NamedFile, dict[str, tuple[PurePosixPath, ...]]]:
    """Group the files of every image's label by class.

    Raises:
        ValueError: If two files say the same of one image in different words.
    """
    common = set.intersection(*(set(match.pieces) for match in matched)) if matched else set()
    variants = [" ".join(piece for piece in match.pieces if piece not in common) for match in matched]
    classes = _class_names(matched, variants)
    grouped: dict[NamedFile, dict[str, list[NamedFile]]] = defaultdict(lambda: defaultdict(list))
    for match, class_name in zip(matched, classes, strict=True):
        if class_name is not None:
            grouped[match.image][class_name].append(match.label)
    for by_class in grouped.values():
        for labels in by_class.values():
            _check_parts(labels)
    return {
        image: {name: tuple(label.path for label in labels) for name, labels in sorted(by_class.items())}
        for image, by_class in grouped.items()
    }


def _class_names(matched: Sequence[_Match], variants: Sequence[str]) -> list[str | None]:
    """Name the class that each label is of: empty for a label map, None for a label of a further annotator."""
    different = {_unnumbered(variant) for variant in variants}
    if len(different) < 2 or all(NUMBER.fullmatch(variant) for variant in different):
        return [""] * len(matched)
    if all(ANNOTATOR_WORDS.fullmatch(variant) for variant in different):
        first: dict[NamedFile, str] = {}
        for match, variant in sorted(zip(matched, variants, strict=True), key=lambda each: each[1]):
            first.setdefault(match.image, variant)
        return ["" if first[match.image] == variant else None for match, variant in zip(matched, variants, strict=True)]
    alone = len({match.image for match in matched}) == len(matched)
    if alone and len(different) > len(matched) / 2:
        return [""] * len(matched)
    return [_class_name(_unnumbered(variant)) for variant in variants]


def _unnumbered(variant: str) -> str:
    return re.sub(r"[-_. ]+\d+$", "", variant)


def _class_name(variant: str) -> str:
    """Take the words for labels off a class's name, as in `masks_liver` and `label-liver`."""
    match = AFFIXES.fullmatch(variant)
    return (match[2].strip("-_. ") if match else variant) or "label"


def _check_parts(labels: Sequence[NamedFile]) -> None:
    """Refuse labels of one class that differ in more than a number, as `1_mask` and `1_seg` do."""
    stems = {(label.name.folders, re.sub(r"[-_ (]*\d+\)?$", "", label.name.suffix)) for label in labels}
    names = [label.path for label in labels]
    distinct = {(path.parent, formats.stem(path.name)) for path in names}
    if len({suffix for _, suffix in stems}) > 1 or len(distinct) < len(names):
        msg = (
            f"{names[0]} and {names[1]} label the same image: expected one label, got {len(names)}. "
            "Remove one, or say by a template which to take, such as {case}_seg."
        )
        raise ValueError(msg)


def _orphan_notes(orphans: Sequence[NamedFile]) -> list[str]:
    if not orphans:
        return []
    return [f"{orphans[0].path} is left out, for it belongs to no image{_more(len(orphans))}"]


def _annotator_notes(
    matched: Sequence[_Match], named: Mapping[NamedFile, Mapping[str, Sequence[PurePosixPath]]]
) -> list[str]:
    used = {path for classes in named.values() for paths in classes.values() for path in paths}
    unused = [match.label for match in matched if match.label.path not in used]
    if not unused:
        return []
    return [f"{unused[0].path} is left out, for another annotator's label of its image is used{_more(len(unused))}"]


def _more(count: int) -> str:
    return f", and so are {count - 1} others." if count > 1 else "."


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
