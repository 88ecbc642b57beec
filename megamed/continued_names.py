"""Labels that no word of their names tells: names that go on after that of an image, and content like a label's."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from megamed.file_names import SEPARATORS, NamedFile, beginnings
from megamed.look_alikes import holds_label, is_structure

MOST_KINDS = 16
"""Most names of files, or folders, that are looked into."""
MOST_COMPARED = 3
"""Number of images and labels of each kind that are looked into."""


def continued_labels(
    folder: Path, images: Sequence[NamedFile], labels: Sequence[NamedFile]
) -> tuple[list[NamedFile], list[NamedFile], list[str]]:
    """Take files for labels that are called as an image and a word more, as `im1.ah` beside `im1`.

    So it is if the content of such files may be that of labels, and that of their images may not. Where names say of
    other files that they are labels, the word has to be that of a structure, as in `im1_lesion`. Where none are found
    so, files of one name in several folders may be, as `lesion.nii` beside `flair.nii` of each patient.

    Returns:
        The images and the labels, and a note on each word.
    """
    by_stem: dict[str, dict[PurePosixPath, NamedFile]] = defaultdict(dict)
    for each in images:
        by_stem[each.group[1]][each.path.parent] = each
    words: dict[str, list[tuple[NamedFile, NamedFile]]] = defaultdict(list)
    for file in images:
        stem = file.group[1]
        begun = next((start for start in beginnings(stem) if start != stem and start in by_stem), "")
        word = stem.removeprefix(begun).strip(SEPARATORS) if begun else ""
        if begun and any(map(str.isalpha, word)) and (not labels or is_structure(word)):
            places = by_stem[begun]
            image = places.get(file.path.parent) or (next(iter(places.values())) if len(places) == 1 else None)
            words[word] += [(image, file)] if image else []
    found: list[NamedFile] = []
    notes = []
    for pairs in words.values():
        if all(_are_image_and_label(folder, *pair) for pair in pairs[:MOST_COMPARED]):
            found += [file for _, file in pairs]
            image, label = pairs[0]
            more = f", and so it is with {len(pairs) - 1} others" if len(pairs) > 1 else ""
            notes.append(f"{label.path.name} is taken for the label of {image.path.name}, as its content tells{more}.")
    if not (found or labels):
        found, notes = _called_as_structures(folder, images)
    named = {file: replace(file, name=replace(file.name, is_label=True)) for file in found}
    if not (found or labels):
        named, notes = _in_folders_of_labels(folder, images)
    return [image for image in images if image not in named], [*labels, *named.values()], notes


def _called_as_structures(folder: Path, images: Sequence[NamedFile]) -> tuple[list[NamedFile], list[str]]:
    """Find the files of one name in several folders that may be labels by their content, beside others that may not."""
    by_stem: dict[str, list[NamedFile]] = defaultdict(list)
    for image in images:
        by_stem[image.group[1].casefold()].append(image)
    kinds = {stem: files for stem, files in by_stem.items() if len({each.path.parent for each in files}) > 1}
    contents = {stem: _content(folder, files) for stem, files in kinds.items()} if len(kinds) <= MOST_KINDS else {}
    called = {stem: files for stem, files in kinds.items() if contents.get(stem) == {True}}
    if {False} not in contents.values():
        return [], []
    notes = [
        f"{files[0].path} is taken for a label, as its content tells, and so are {len(files) - 1} others of its name."
        for files in called.values()
    ]
    return [file for files in called.values() for file in files], notes


def _in_folders_of_labels(folder: Path, images: Sequence[NamedFile]) -> tuple[dict[NamedFile, NamedFile], list[str]]:
    """Find the files in folders whose content may be that of labels, beside folders of images that are called alike.

    Returns:
        The labels as they are called: as their images, in a folder of their own. And a note on each folder.
    """
    by_place: dict[PurePosixPath, dict[str, NamedFile]] = defaultdict(dict)
    for image in images:
        by_place[image.path.parent][image.group[1]] = image
    if not 1 < len(by_place) <= MOST_KINDS:
        return {}, []
    contents = {place: _content(folder, [*files.values()]) for place, files in by_place.items()}
    named: dict[NamedFile, NamedFile] = {}
    notes = []
    for place, files in by_place.items():
        pictures = [
            other for other, others in by_place.items() if contents[other] == {False} and files.keys() <= others.keys()
        ]
        if contents[place] == {True} and pictures:
            nearest = max(pictures, key=lambda other: len({*other.parts} & {*place.parts}))
            for stem, file in files.items():
                name = by_place[nearest][stem].name
                named[file] = replace(file, name=replace(name, folders=(*name.folders, place.name), is_label=True))
            notes.append(f"the files in {place} are taken for labels of those in {nearest}, as their content tells.")
    return named, notes


def _content(folder: Path, files: Sequence[NamedFile]) -> set[bool | None]:
    """Tell of some files whether their content may be that of labels."""
    return {holds_label(folder / each.path) for each in files[:MOST_COMPARED] if (folder / each.path).is_file()}


def _are_image_and_label(folder: Path, image: NamedFile, label: NamedFile) -> bool:
    is_file = (folder / image.path).is_file() and (folder / label.path).is_file()
    return is_file and holds_label(folder / label.path) is True and holds_label(folder / image.path) is False
