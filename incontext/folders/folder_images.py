"""The images of a user's folder and their labels: pairs by names, or the one DICOM series that it holds."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from incontext.folders import RUN_LOG
from incontext.folders.own_card import read_own_card
from incontext.images.source_image import NONE
from megamed import formats
from megamed.dicom_folders import PREVIEW, is_preview
from megamed.file_names import FOLDER_WORDS, take_apart, visible_files
from megamed.notes import left_out
from megamed.pairing import ImagePair, Pairing, find_pairs
from megamed.path_templates import Templates
from megamed.readers.dicom_folder import volumes_in
from megamed.readers.dicom_headers import states_label, states_no_image
from megamed.series_labels import labels_of_series


def read_folder(folder: Path, templates: Templates | None = None, names: Mapping[int, str] = NONE) -> Pairing:
    """Pair the images of a folder with their labels; results of earlier runs in it are left out.

    A folder that holds the slices of one DICOM series is one image; a label beside them is its own. Of several series
    in a folder those that labels name count, without such labels all that are volumes. A card in the folder says where
    images and labels lie, unless templates are given.

    Args:
        folder: The folder.
        templates: Paths of images and labels, where their names leave open which belong together.
        names: Names that the user gives to label values, before those of a card: of folders for each class, too, that
            are called as values.

    Raises:
        ValueError: If there is no image, or names have several readings.
        OSError: If the folder cannot be read.
    """
    card = read_own_card(folder)
    templates = templates or card.templates
    found = None if templates else _own_series(folder)
    found = found or find_pairs(folder, templates, marks=(RUN_LOG,))
    classes = {**card.classes, **{str(value): name for value, name in {**card.names, **names}.items()}}
    pairs = tuple(_named(pair, classes) for pair in found.pairs)
    return replace(found, pairs=pairs, notes=(*card.notes, *found.notes))


def _named(pair: ImagePair, classes: Mapping[str, str]) -> ImagePair:
    """Call the classes of an image as they are called elsewhere than in the names of files."""
    return replace(pair, labels={classes.get(name, name): paths for name, paths in pair.labels.items()})


def _own_series(folder: Path) -> Pairing | None:
    """Return the DICOM series that a folder of slices holds, with the labels beside them; None for other folders.

    The slices lie in the folder itself or in one below it that says images. What does not belong to them is left out
    when they are read, with a note. Labels are one file, or what was drawn on the series.
    """
    slices, others = _slices_and_others(folder)
    places = {path.parent for path in slices}
    if len(places) != 1:
        return None
    previews = [path for path in others if is_preview(PurePosixPath(path.relative_to(folder).as_posix()))]
    labels = tuple(path for path in others if path not in previews)
    are_drawn = all(formats.is_slice(path) and states_label(path) for path in labels)
    if not (are_drawn or (len(labels) == 1 and _is_label(labels[0], folder))):
        return None
    (place,) = places
    if place != folder and not (place.parent == folder and FOLDER_WORDS.fullmatch(place.name)):
        return None
    images = _series_in(place, slices, may_be_several=are_drawn)
    notes = left_out([path.relative_to(folder) for path in previews], PREVIEW)
    found = {image: labels for image in images if labels}
    if images and are_drawn:
        found, beside, _, more = labels_of_series(folder, images, labels)
        images, notes = [image for image in images if image not in beside], [*notes, *more]
    name = folder.name if place.name == "images" else place.name
    pairs = (
        ImagePair(image, name if len(images) == 1 else image.name, {"": found[image]} if image in found else {})
        for image in images
    )
    return Pairing(folder, tuple(pairs), tuple(notes)) if images else None


def _series_in(place: Path, slices: Sequence[Path], *, may_be_several: bool) -> list[Path]:
    """List the series in a folder: the folder itself if it holds one, else those that are volumes, by their UIDs."""
    with suppress(ValueError, ImportError):  # what is wrong with the files is told one by one
        images = [place] if _holds_one(place) else volumes_in(place) if may_be_several else []
        files = [formats.source_at(image).files for image in images]
        return images if all(len(each) > 1 and {*each} <= {*slices} for each in files) else []
    return []


def _holds_one(place: Path) -> bool:
    with suppress(ValueError):
        return bool(formats.source_at(place).files)
    return False


def _slices_and_others(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the DICOM images of a folder, and everything else that may be an image or a label."""
    found: tuple[list[Path], list[Path]] = [], []
    for path in (folder / name for name in visible_files(folder, (RUN_LOG,))) if folder.is_dir() else ():
        each = formats.format_of(path)
        if each and not each.has_parts and not (each.find and states_no_image(path)):
            found[not each.find or states_label(path)].append(path)
    return found


def _is_label(path: Path, folder: Path) -> bool:
    return take_apart(PurePosixPath(path.relative_to(folder).as_posix())).is_label
