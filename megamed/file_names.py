"""Meaning of the names of data files: which case a path belongs to, and whether it is an image or a label."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self

from megamed import formats
from megamed.readers.faults import is_stream
from megamed.readers.ome_zarr import SUFFIXES

IMAGE_WORDS = (
    *("images?", "imgs?", "im", "scans?", "orig(?:inal)?s?", "raw", "pictures?", "photos?", "volumes?", "frames?"),
    *("ct", "mri?", "t1(?:w|ce|gd|n|c)?", "t2[wf]?", "flair", "dwi", "adc", "pet", "us", "jpegimages"),
    *("imaging", "inputs?"),
)
LABEL_WORDS = (
    *(
        "labels?",
        "(?:cp[-_ ])?masks?",
        "segs?",
        "segmentations?",
        "gts?",
        "ground",
        "(?:ground[-_ ]?)?truths?",
        "annotations?",
        "anno",
    ),
    *("manuals?", "contours?", "targets?", "delineations?", "outlines?", "dseg"),
    "segmentation(?:class|object)(?:aug|png)?",
    r"\d(?:st|nd|rd|th)[-_ ]?(?:ho|manual|observer|expert|reader|rater|grader|annotator)",
)
ANNOTATOR_WORDS = re.compile(
    r"(expert|annotator|reader|rater|observer|grader|doctor)s?[-_ ]?\w{0,2}"
    r"|\d(?:st|nd|rd|th)[-_ ]?(?:ho|manual|observer|expert|reader|rater|grader|annotator)?",
    re.I,
)
NUMBERED_PEOPLE = re.compile(r"(?:manual|r)[-_ ]?\d", re.I)
"""Names of what several people drew, where several differ in nothing else."""
FIELD_WORDS = re.compile(r"masks?|fov|field[-_ ]of[-_ ]view", re.I)
"""Names of masks of what the camera shows, where other labels are those of annotators."""
LISTED = r"(?:\w{1,2}[.)][-_ ]*)?"
"""A number or letter before the name of a folder, as in `1. Images`."""
SPLIT_WORDS = re.compile(rf"{LISTED}(?:train|val|test)[a-z]*(?:[-_ ]+(?:set|split|data))?", re.I)
CLASS_MAPS = re.compile(r"SegmentationClass(?:Aug|PNG)?", re.I)
"""Folders of label maps in the VOC arrangement."""
FORMAT_FOLDERS = re.compile(r"png|tiff?|jpe?g|bmp|gif|webp|dicom|dcm|nifti|nii|nrrd|mha|npy", re.I)
"""Folders that are called as a format."""
RENDERINGS = re.compile(r"SegmentationObject(?:PNG)?|Segmentation(?:Class|Object)(?:Npy|Visualization)", re.I)
"""Folders beside them: numbers of objects, arrays and pictures to look at."""
EXPORTED = re.compile(r"task-\d+-annotation-\d+-by-\d*-[^-]+-(.+)-\d+")
"""Stems of the masks that Label Studio exports, which tell a class, but not the image."""
SEQUENCES = ("flair", "t2f", "t2w", "t2", "t1ce", "t1gd", "t1c", "t1w", "t1n", "t1")
"""Sequences of magnetic resonance by which files of one case differ, those that show most lesions first."""
SEPARATORS = "-_. "
MOST_FILES = 200_000


@dataclass(frozen=True)
class FileName:
    """A path in parts: the name of the case, and what surrounds it; in composed characters (NFC)."""

    folders: tuple[str, ...]
    prefix: str
    case: str
    suffix: str
    is_label: bool

    @property
    def stem(self) -> str:
        """The whole name without its file type."""
        return self.prefix + self.case + self.suffix

    @property
    def own_folders(self) -> tuple[str, ...]:
        """The folders that do not only say what kind of files they hold."""
        says_kind = (KIND_FOLDER.fullmatch, FORMAT_FOLDERS.fullmatch)
        return tuple(folder for folder in self.folders if not any(says(folder) for says in says_kind))

    def template(self, case: str) -> str:
        """Write the path with `{case}` for the case, of which `self.case` may be a continuation, or a folder alone."""
        folders = ["{case}" if folder == case else folder for folder in self.folders]
        is_own = self.case.startswith(case) or "{case}" not in folders
        own = f"{{case}}{self.case.removeprefix(case)}" if is_own else self.case
        return "/".join((*folders, f"{self.prefix}{own}{self.suffix}"))


def natural_order(name: str) -> tuple[tuple[int, str], ...]:
    """Key that sorts names as people number them: numbers by their value, all else letter by letter.

    >>> sorted(["frame10.png", "frame9.png", "frame1.png"], key=natural_order)
    ['frame1.png', 'frame9.png', 'frame10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    return tuple((int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts))


@dataclass(frozen=True)
class NamedFile:
    """A data file of a folder, and what its name says."""

    path: PurePosixPath
    name: FileName

    @property
    def place(self) -> tuple[str, ...]:
        """The folders around the file that do not only say what kind of files they hold."""
        parts = (unicodedata.normalize("NFC", part) for part in self.path.parent.parts)
        return tuple(part for part in parts if not KIND_FOLDER.fullmatch(part))

    @property
    def group(self) -> tuple[tuple[str, ...], str]:
        """Folder and stem, which two files of one image have in common."""
        return self.path.parent.parts, unicodedata.normalize("NFC", formats.stem(self.path.name))


def check_text(name: str) -> None:
    """Refuse the name of a file that is no text, as names of other systems' archives may be.

    Raises:
        ValueError: If its bytes are not UTF-8.
    """
    if name != (shown := name.encode(errors="backslashreplace").decode()):
        msg = f"name is no text: expected UTF-8, got {shown}. Rename the file."
        raise ValueError(msg)


def visible_files(
    folder: Path, marks: Collection[str] = (), streams: list[PurePosixPath] | None = None
) -> Iterator[PurePosixPath]:
    """Yield the relative paths of all visible files, in order, and of folders that are one image as those of files.

    Links to folders are followed, but for those that lead back to a folder around them.

    Args:
        folder: Folder to search, with its subfolders.
        marks: File names that mark a subfolder as one to leave out.
        streams: List to which pipes, sockets and devices are added; they are no files.

    Raises:
        ValueError: If there are more than `MOST_FILES`.
    """
    waiting, count = [(PurePosixPath(), frozenset[str]())], 0
    while waiting:
        below, around = waiting.pop()
        place, (folders, names) = os.path.realpath(folder / below), _content(folder / below)
        if place in around or (below.parts and not set(marks).isdisjoint(names)):
            continue
        for path in (below / name for name in names if not name.startswith(".")):
            count += 1
            if not is_stream(folder / path):
                yield path
            elif streams is not None:
                streams.append(path)
        waiting += [(below / name, around | {place}) for name in reversed(folders) if not name.startswith(".")]
        count += 1
        if count > MOST_FILES:
            msg = f"{folder} is too large to look through: expected at most {MOST_FILES} files. Name the dataset's."
            raise ValueError(msg)


def _content(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the folders and of the files in a folder; none of one that cannot be read."""
    _, folders, files = next(os.walk(folder), ("", [], []))
    packed = [name for name in folders if name.lower().endswith(SUFFIXES)]
    return sorted({*folders} - {*packed}), sorted([*files, *packed])


def take_apart(path: PurePosixPath) -> FileName:
    """Split a path at its case name, which a folder holds where the file is only called mask.nii or the like."""
    *folders, name = (unicodedata.normalize("NFC", part) for part in path.parts)
    stem = formats.stem(name)
    match = AFFIXES.fullmatch(stem)
    prefix, case, suffix = match.groups() if match else ("", stem, "")
    are_words = bool(ONLY_WORDS.fullmatch(stem))  # such as scan_seg, of which the first may be a prefix
    says_label = LABEL_AFFIX.search(stem if are_words else prefix + suffix) or EXPORTED.fullmatch(stem)
    is_label = bool(says_label) or in_label_folder(folders)
    if case.strip(SEPARATORS) and not are_words:
        return FileName(tuple(folders), prefix, case, suffix, is_label)
    for index in reversed(range(len(folders))):
        if not FOLDER_WORDS.fullmatch(folders[index]):
            rest = "/".join((*folders[index + 1 :], stem))
            return FileName(tuple(folders[:index]), "", folders[index], f"/{rest}", is_label)
    return FileName(tuple(folders), "", stem, "", is_label)


def in_label_folder(folders: Sequence[str]) -> bool:
    """Whether the innermost folder that says images or labels says labels."""
    kind = next((folder for folder in reversed(folders) if KIND_FOLDER.fullmatch(folder)), "")
    return bool(LABEL_FOLDER.fullmatch(kind))


def casefolded(name: FileName) -> FileName:
    """Write the case name without capitals, as systems see it that do not tell them apart, and numbers without zeros.

    >>> casefolded(FileName((), "", "Scan_007", "", is_label=False)).case
    'scan_7'
    """
    return replace(name, case=re.sub(r"(?<!\d)0+(?=\d)", "", name.case.casefold()))


def beginnings(case: str) -> Iterator[str]:
    """Yield a case name and its beginnings up to each separator, longest first."""
    yield case
    for match in reversed(list(re.finditer(f"[{re.escape(SEPARATORS)}]+", case))):
        if match.start():
            yield case[: match.start()]


def sort_out(paths: Sequence[PurePosixPath]) -> tuple[list[NamedFile], list[NamedFile]]:
    """Tell images from labels by their names; a stem that both have is all case name.

    Beside the class maps of the VOC arrangement, its other renderings of the same labels are neither.
    """
    class_maps = {path.parent.parent for path in paths if CLASS_MAPS.fullmatch(path.parent.name)}
    renderings = {path for path in paths if RENDERINGS.fullmatch(path.parent.name) and path.parent.parent in class_maps}
    named = [NamedFile(path, take_apart(path)) for path in paths if path not in renderings]
    stems: tuple[set[str], set[str]] = (set(), set())
    for each in named:
        stems[each.name.is_label].add(each.name.stem)
    shared = stems[0] & stems[1]
    files = [
        NamedFile(each.path, FileName(each.name.folders, "", each.name.stem, "", each.name.is_label))
        if each.name.stem in shared
        else each
        for each in named
    ]
    return [each for each in files if not each.name.is_label], [each for each in files if each.name.is_label]


@dataclass(frozen=True)
class CaseIndex:
    """Images by their case names, and by the beginnings of these."""

    cases: Mapping[str, Sequence[NamedFile]]
    begun: Mapping[str, Sequence[NamedFile]]

    @classmethod
    def of(cls, images: Sequence[NamedFile], written: Callable[[FileName], FileName] = lambda name: name) -> Self:
        """Index images by their names, or by these as a function writes them."""
        cases, begun = defaultdict(list), defaultdict(list)
        for image in images:
            case = written(image.name).case
            cases[case].append(image)
            for start in beginnings(case):
                begun[start].append(image)
        return cls(cases, begun)

    def find(self, label: FileName) -> tuple[str, Sequence[NamedFile]]:
        """Find the images that a label may belong to, by its case name.

        Where the label's case name goes on after that of an image, or the other way round, the rest is no part of it.

        Returns:
            The case name that both have, and the images.
        """
        case = next((start for start in beginnings(label.case) if start in self.cases), label.case)
        return case, self.cases.get(case) or self.begun.get(case) or ()


_IMAGE, _LABEL = "|".join(IMAGE_WORDS), "|".join(LABEL_WORDS)
_BEHIND = rf"(?:^|[-_. ]+|(?<=\d))(?:(?:{_IMAGE})\d*|(?:{_LABEL})(?:[-_ ]?\d+)?)"
AFFIXES = re.compile(rf"((?:(?:{_IMAGE}|{_LABEL})(?:[-_. ]+|(?=\d)))?)(.*?)((?:{_BEHIND})?)", re.I | re.S)
"""A stem as a word before the case name, the case name, and a word behind it."""
LABEL_AFFIX = re.compile(rf"(?:^|[-_. ])(?:{_LABEL})(?:[-_. \d]|$)", re.I)
ONLY_WORDS = re.compile(rf"(?:{_IMAGE}|{_LABEL})(?:[-_. ]+(?:{_IMAGE}|{_LABEL}))+", re.I)
"""A stem of several words, none of which names a case."""
_BEFORE = r"(?:[^\W_]+[-_ ]|.*[-_ ](?:train|val|test)[a-z]*[-_ ])?"
_AFTER = r"(?:tr)?(?:[-_ ]?\d+|[-_ ][^\W_]+)?"
_WORD_LAST = r"(?:[^\W_]+[-_ ])*[^\W_]*(?:masks?|labels?|segmentations?|groundtruths?)"
_LABEL_FOLDER = rf"{_BEFORE}(?:{_LABEL}){_AFTER}|segs?(?:[-_ ][^\W_]+){{2}}|{_WORD_LAST}"
LABEL_FOLDER = re.compile(rf"{LISTED}(?:{_LABEL_FOLDER})", re.I)
KIND_FOLDER = re.compile(rf"{LISTED}(?:{_BEFORE}(?:{_IMAGE}){_AFTER}|{_LABEL_FOLDER})", re.I)
"""Names of folders that say whether images or labels are in them."""
FOLDER_WORDS = re.compile(rf"{KIND_FOLDER.pattern}|{SPLIT_WORDS.pattern}", re.I)
"""Names of folders that say what is in them."""
