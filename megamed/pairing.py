"""Images of a folder and the labels that belong to each, found by the names of files and folders alone."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from megamed import formats
from megamed.annotation_files import ToolFiles, is_volume_file, named_file, not_annotated_yet
from megamed.annotation_tools.volume_slices import slice_number
from megamed.class_names import one_spelling
from megamed.continued_names import continued_labels
from megamed.derived_files import without_derived, without_films
from megamed.dicom_folders import PREVIEW, data_files
from megamed.file_names import (
    EXPORTED,
    FOLDER_WORDS,
    FileName,
    NamedFile,
    sort_out,
)
from megamed.look_alikes import drew_one_thing, holds_label
from megamed.matching import OTHERS, Match, by_class, match_labels, one_sequence
from megamed.notes import left_out
from megamed.path_templates import Templates, by_templates
from megamed.picture_copies import is_photograph, without_copies
from megamed.series_labels import labels_of_series
from megamed.slice_labels import labels_of_slices
from megamed.tracked_cells import of_tracked_frames

NO_IMAGE = "it belongs to no image"
NOT_LISTED = "images of its format are not looked for: convert it, such as to TIFF, to have it used"
DERIVED = "its name says that it was predicted, or made to be looked at"


@dataclass(frozen=True)
class ImagePair:
    """An image, which is a file, the folder of a DICOM series or one of several in it, and the files of its label."""

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
        folder: Folder to search, with its subfolders; or a single image, such as one series of several in a folder.
        templates: Where images and labels lie, instead of what their names suggest; names decide if no file fits.
        marks: File names that mark a subfolder, such as one of results, as one to leave out.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no image, or names have several readings.
    """
    if formats.is_part(folder):
        return Pairing(folder.parent, (ImagePair(folder, folder.name),))
    if not folder.exists():
        msg = f"{folder} does not exist: expected a folder of images. Check the path."
        raise FileNotFoundError(msg)
    if folder.is_file():
        return Pairing(folder, (ImagePair(folder, folder.name),))
    files, drawn, imageless, unknown, streams, scouts, previews = data_files(folder, marks)
    files, of_slices, told_of_slices = (files, {}, []) if templates else labels_of_slices(folder, files)
    single = named_file(folder, templates.label) if templates else None
    tools = single or ToolFiles.among(folder, unknown)
    images, labels, notes = by_templates(files, templates, tools.beside) if templates and not single else ([], [], [])
    if not (images or labels):
        images, labels, notes = _by_names(folder, files)
        notes += ["no file fits the templates: names decided."] * bool(templates and not single)
    elif labels:
        tools = ToolFiles(folder)
    labels = [] if single else labels
    unread = [path for path in unknown if formats.is_not_listed(folder / path)]
    if not images:
        got = f"{len(labels)} labels" if labels else f"{len(unread)} others, such as {unread[0]}" if unread else "none"
        msg = (
            f"{folder} has no images: expected files ending in {', '.join(formats.image_suffixes())}, got {got}. "
            "Name the folder that holds them."
        )
        raise ValueError(msg)
    _check_unique(folder, images)
    labels, told_of_exports = _exported(images, labels, bool(tools.common))
    notes += told_of_exports
    images, sequences = one_sequence(images, [] if templates else labels)
    notes += sequences
    matched, orphans = match_labels(images, labels)
    if not of_slices:
        _check_some(images, labels, matched)
    named, spelt = by_class(matched, partial(_drew_one_thing, folder))
    top = os.path.commonpath([folder / image.path.parent for image in images])
    pairs = [
        ImagePair(
            folder / image.path,
            _below(folder / image.path, Path(top)),
            {name: tuple(folder / path for path in paths) for name, paths in named.get(image, {}).items()},
        )
        for image in images
    ]
    pairs = _with_labels(pairs, of_slices)
    series = [pair.image for pair in pairs if formats.is_series(pair.image)]
    labelled = {pair.image for pair in pairs if pair.labels}
    of_series, beside, unused, more = labels_of_series(folder, series, [folder / path for path in drawn], labelled)
    pairs = _with_labels([pair for pair in pairs if pair.image not in beside], of_series)
    pairs, told = _with_annotations(pairs, images, tools)
    pairs = [pair if pair.labels else _with_own_labels(pair) for pair in pairs]
    notes += [*told_of_slices, *spelt, *left_out([each.path for each in orphans], NO_IMAGE), *more, *told]
    notes += left_out(previews, PREVIEW)
    notes += left_out(imageless, "it holds no image")
    notes += left_out(scouts, "it only shows where the other series were taken")
    notes += left_out(unread, NOT_LISTED)
    notes += left_out(streams, "it is a pipe, socket or device")
    return Pairing(folder, tuple(pairs), tuple(notes), unused)


def _drew_one_thing(folder: Path, cases: Sequence[Mapping[str, PurePosixPath]]) -> bool:
    return drew_one_thing([{name: folder / path for name, path in case.items()} for case in cases])


def _with_own_labels(pair: ImagePair) -> ImagePair:
    """Give an image that is a folder the labels in it, if it has some."""
    is_folder = pair.image.is_dir() and not formats.is_series(pair.image)
    return replace(pair, labels={"": (pair.image,)}) if is_folder and formats.drawn_format(pair.image) else pair


def _with_labels(pairs: Sequence[ImagePair], labels: Mapping[Path, tuple[Path, ...]]) -> list[ImagePair]:
    """Give images the labels that were found for them in another way than by names."""
    return [replace(pair, labels={"": labels[pair.image]}) if pair.image in labels else pair for pair in pairs]


def _with_annotations(
    pairs: Sequence[ImagePair], images: Sequence[NamedFile], tools: ToolFiles
) -> tuple[list[ImagePair], list[str]]:
    """Give images without a label what an annotation tool saved for them: a file of their own, or a part of one."""
    known = {tools.folder / image.path: image for image in images}
    taken = {pair.image: pair.files[1] for pair in pairs if pair.labels and pair.image in known}
    found, orphans = match_labels(images, tools.beside)
    double = [match.label for match in found if tools.folder / match.image.path in taken]
    matched, notes = _of_one_tool([match for match in found if tools.folder / match.image.path not in taken], tools)
    matched, others = _of_one_annotator(matched, tools)
    notes += left_out([match.label.path for match in others], OTHERS)
    named, spelt = by_class([match for match in matched if tools.classes(match.label) is None])
    named |= _together([match for match in matched if tools.classes(match.label) is not None])
    taken |= {tools.folder / match.image.path: tools.folder / match.label.path for match in matched}
    owners, told = tools.owners(list(known), taken, orphans)
    undrawn, of_undrawn = not_annotated_yet(owners)
    labels = {image: {"": paths} for image, paths in owners.items() if image not in undrawn} | {
        tools.folder / image.path: {name: tuple(tools.folder / path for path in paths) for name, paths in files.items()}
        for image, files in named.items()
    }
    labelled = taken.keys() | labels.keys()
    without = [image for path, image in known.items() if path not in labelled]
    odd = [each.label.path for each in match_labels(without, tools.damaged)[0]]
    used = {path for paths in owners.values() for path in paths}
    unused = [orphan for orphan in orphans if tools.folder / orphan.path not in used]
    notes += left_out([each.path for each in double], "its image has another label")
    notes += [*spelt, *told, *of_undrawn]
    notes += left_out(odd, "it has the form of no annotation tool's file")
    notes += left_out([each.path for each in unused], NO_IMAGE)
    return _named_alike([replace(pair, labels=labels.get(pair.image, pair.labels)) for pair in pairs]), notes


def _of_one_annotator(matched: Sequence[Match], tools: ToolFiles) -> tuple[list[Match], list[Match]]:
    """Keep, of several files that name the same classes of an image, the first; those of other classes go together.

    So do those of different slices of a volume or of a series.
    """
    seen: dict[tuple[NamedFile, int | str | None], set[str]] = defaultdict(set)
    kept: list[Match] = []
    others: list[Match] = []
    for match in sorted(matched, key=lambda match: match.label.path):
        classes = tools.classes(match.label) or frozenset()
        image, name = tools.folder / match.image.path, match.label.path.as_posix()
        slice_ = match.label.path.stem if formats.is_series(image) else None
        drawn_on = match.image, slice_number(name, image) if is_volume_file(image) else slice_
        is_other = bool(seen[drawn_on] & classes)
        (others if is_other else kept).append(match)
        seen[drawn_on] |= classes
    return kept, others


def _together(matched: Sequence[Match]) -> dict[NamedFile, dict[str, tuple[PurePosixPath, ...]]]:
    """Unite the files of each image, which name their classes."""
    found: dict[NamedFile, tuple[PurePosixPath, ...]] = defaultdict(tuple)
    for match in matched:
        found[match.image] += (match.label.path,)
    return {image: {"": paths} for image, paths in found.items()}


def _named_alike(pairs: Sequence[ImagePair]) -> list[ImagePair]:
    """Give files that name several classes to each of these, where other images have a file for each class."""
    classes = {name: name for pair in pairs for name in pair.labels if name}
    if not classes or not any("" in pair.labels for pair in pairs):
        return list(pairs)
    alike = []
    for pair in pairs:
        paths = pair.labels.get("", ())
        found = formats.drawn_format(paths[0]) if paths else None
        names = found.names(paths[0]).values() if found else ()
        spelling = one_spelling([*classes, *names])
        alike.append(replace(pair, labels={spelling[name]: paths for name in names}) if names else pair)
    return alike


def _of_one_tool(matched: Sequence[Match], tools: ToolFiles) -> tuple[list[Match], list[str]]:
    """Keep, of files that several tools saved for one image, those of the tool that annotates most images."""
    titles = {match.label: tools.title(match.label) for match in matched}
    by_image = defaultdict(set)
    for match in matched:
        by_image[match.image].add(titles[match.label])
    counts = Counter(title for found in by_image.values() for title in found)
    chosen = {image: max(sorted(found), key=counts.__getitem__) for image, found in by_image.items()}
    kept = [match for match in matched if titles[match.label] == chosen[match.image]]
    others = [match for match in matched if titles[match.label] != chosen[match.image]]
    if not others:
        return kept, []
    why = f"{chosen[others[0].image]} annotates its image too, and no fewer images"
    return kept, left_out([f"{each.label.path} ({titles[each.label]})" for each in others], why)


def _by_names(folder: Path, files: Sequence[PurePosixPath]) -> tuple[list[NamedFile], list[NamedFile], list[str]]:
    """Tell images from labels; where no name says labels, those beside photographs are, and where all do, none is."""
    files, derived = without_derived(files)
    files, films = without_films(files)
    images, labels = sort_out(files)
    sorted_out = {each.path for each in (*images, *labels)}
    others = [path for path in files if path not in sorted_out]
    notes = [*left_out(derived, DERIVED), *left_out(films, "its frames lie beside it")]
    notes += left_out(others, "it renders another label anew")
    if not images and not any(_says_labels(label) for label in labels):
        plain = [NamedFile(each.path, FileName(each.name.folders, "", each.name.stem, "", False)) for each in labels]
        return plain, [], notes
    labels, told = of_tracked_frames(labels)
    notes += told
    images, labels, told = continued_labels(folder, images, labels)
    notes += told
    if not labels:
        labels, told = _beside_photographs(folder, images)
        images, notes = _without(images, labels), [*notes, *told]
    images, copies = without_copies(folder, images)
    labels, more = without_copies(folder, labels)
    return images, labels, [*notes, *copies, *more]


def _beside_photographs(folder: Path, images: Sequence[NamedFile]) -> tuple[list[NamedFile], list[str]]:
    """Find the labels among images that no name calls so: files beside photographs, if their content may be that."""
    groups = defaultdict(list)
    for each in images:
        groups[each.group].append(each)
    beside = [
        other
        for group in groups.values()
        if len(group) == 2 and sum(map(is_photograph, group)) == 1
        for other in group
        if not is_photograph(other)
    ]
    if not beside or holds_label(folder / beside[0].path) is False:
        return [], []
    more = f", and so are {len(beside) - 1} others" if len(beside) > 1 else ""
    return beside, [f"{beside[0].path.name} is taken for the label of the photograph of that name{more}."]


def _without(images: Sequence[NamedFile], others: Collection[NamedFile]) -> list[NamedFile]:
    left = set(others)
    return [each for each in images if each not in left]


def _says_labels(label: NamedFile) -> bool:
    return any(FOLDER_WORDS.fullmatch(folder) for folder in label.name.folders)


def _check_unique(folder: Path, images: Sequence[NamedFile]) -> None:
    first: dict[object, NamedFile] = {}
    for image in images:
        if (other := first.setdefault(image.group, image)) is not image:
            msg = (
                f"{folder} holds two images of one name: expected one, got {other.path.name} and {image.path.name}. "
                "Rename one."
            )
            raise ValueError(msg)


def _exported(
    images: Sequence[NamedFile], labels: Sequence[NamedFile], has_file: bool
) -> tuple[list[NamedFile], list[str]]:
    """Give the masks that Label Studio exports, whose names tell no image, to the only one.

    Args:
        images: All images.
        labels: All labels.
        has_file: Whether there is a file that says what was drawn on which image, so that the masks are not needed.

    Raises:
        ValueError: If there are several images.
    """
    found = {label: match for label in labels if (match := EXPORTED.fullmatch(label.name.stem))}
    others = [label for label in labels if label not in found]
    if not found or has_file:
        return others, left_out([each.path for each in found], "its name tells no image, as the file beside it does")
    if len(images) > 1:
        msg = (
            f"labels of Label Studio do not tell their images: expected its JSON export beside {len(images)} images, "
            f"got {next(iter(found)).path}. Export it as JSON, which holds the masks, too."
        )
        raise ValueError(msg)
    of_image = replace(images[0].name, prefix="", suffix="", is_label=True)
    named = [
        NamedFile(each.path, replace(of_image, case=f"{of_image.case}_{match[1]}")) for each, match in found.items()
    ]
    return [*others, *named], []


def _check_some(images: Sequence[NamedFile], labels: Sequence[NamedFile], matched: Sequence[Match]) -> None:
    if labels and not matched:
        names = f"{images[0].path} and {labels[0].path}"
        msg = (
            f"labels share no name with images: expected names such as 1.png and 1_mask.png, got {names}. Rename them."
        )
        raise ValueError(msg)


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
