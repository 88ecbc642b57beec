"""Images and labels of a user's folder, in the forms that a segmenter takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool

from incontext.folders import RUN_LOG
from incontext.images.arrays import Picture
from incontext.images.examples import Examples, Labels, Parts
from incontext.images.source_image import SourceImage
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.file_names import FOLDER_WORDS, take_apart, visible_files
from megamed.pairing import ImagePair, Pairing, Templates, find_pairs
from megamed.readers.dicom_headers import states_label, states_no_image


def read_folder(folder: Path, templates: Templates | None = None) -> Pairing:
    """Pair the images of a folder with their labels; results of earlier runs in it are left out.

    A folder that holds the slices of one DICOM series is one image; a DICOM-SEG or RTSTRUCT beside them is its label.

    Raises:
        ValueError: If there is no image, or names have several readings.
        OSError: If the folder cannot be read.
    """
    series = None if templates else _one_series(folder)
    return Pairing(folder, (series,)) if series else find_pairs(folder, templates, marks=(RUN_LOG,))


def _one_series(folder: Path) -> ImagePair | None:
    """Return the one DICOM series that a folder of slices holds, with the one label beside it; None for other folders.

    The slices lie in the folder itself or in one below it that says images. What does not belong to them is left out
    when they are read, with a note.
    """
    slices, labels = _slices_and_labels(folder)
    places = {path.parent for path in slices}
    if len(places) != 1 or len(labels) > 1 or not all(_is_label(path, folder) for path in labels):
        return None
    (place,) = places
    if place != folder and not (place.parent == folder and FOLDER_WORDS.fullmatch(place.name)):
        return None
    try:
        source = formats.source_at(place)
    except (ValueError, ImportError):
        return None  # what is wrong with the files is told one by one
    if len(source.files) < 2 or not set(source.files) <= set(slices):
        return None
    return ImagePair(place, folder.name if place.name == "images" else place.name, {"": labels} if labels else {})


def _slices_and_labels(folder: Path) -> tuple[list[Path], tuple[Path, ...]]:
    """List the DICOM images of a folder, and everything else that may be an image or a label."""
    found: tuple[list[Path], list[Path]] = [], []
    for path in (folder / name for name in visible_files(folder, (RUN_LOG,))) if folder.is_dir() else ():
        each = formats.format_of(path)
        if each and not each.has_parts and not (each.find and states_no_image(path)):
            found[not each.find or states_label(path)].append(path)
    return found[0], tuple(found[1])


def _is_label(path: Path, folder: Path) -> bool:
    return states_label(path) or take_apart(PurePosixPath(path.relative_to(folder).as_posix())).is_label


def fit_folder(
    segmenter: Segmenter,
    folder: Path,
    classes: Mapping[int, str] | None = None,
    templates: Templates | None = None,
) -> None:
    """Fit a segmenter to the labelled images of a folder: see `read_folder` and `fit_pairs`."""
    fit_pairs(segmenter, read_folder(folder, templates), classes)


def save_folder_task(
    segmenter: Segmenter,
    folder: Path,
    out: Path,
    classes: Mapping[int, str] | None = None,
    templates: Templates | None = None,
    *,
    author: str = "",
) -> None:
    """Fit a segmenter to the labelled images of a folder, and save it with them as one task file.

    Args:
        segmenter: Segmenter whose weights and parameters the task takes over.
        folder: Folder in which some images have labels.
        out: File to write.
        classes: Names of label values.
        templates: Paths of images and labels, where their names leave open which belong together.
        author: Author of the task, for those who receive it.

    Raises:
        ValueError: If there are no labels, they are unusable, or a class is named that none shows.
        OSError: If an example cannot be read or the file cannot be written.
    """
    fit_folder(segmenter, folder, classes, templates)
    segmenter.save_task(out, author)


def fit_pairs(segmenter: Segmenter, examples: Pairing, classes: Mapping[int, str] | None = None) -> None:
    """Fit a segmenter to the labelled ones of a folder's images.

    Args:
        segmenter: Segmenter to fit.
        examples: The images of the folder.
        classes: Names of label values.

    Raises:
        ValueError: If there are no labels, they are unusable, or a class is named that none shows.
        OSError: If a file cannot be read.
    """
    labelled = examples.labelled
    if not labelled:
        message = (
            f"{examples.folder} has no labels: expected label maps in labels/ or masks/, or beside the images as "
            f"1_mask.png, got {len(examples.pairs)} images alone. Add them, or say by templates where they lie."
        )
        raise ValueError(message)
    segmenter.fit([pair.image for pair in labelled], labels_of(labelled, examples.classes), classes)
    if absent := sorted((classes or {}).keys() - segmenter.fitted.names.keys()):
        message = (
            f"classes name values that no label has: expected some of {', '.join(map(str, segmenter.fitted.names))}, "
            f"got {', '.join(map(str, absent))}. Name the values that are drawn."
        )
        raise ValueError(message)


def labels_of(pairs: Sequence[ImagePair], classes: Sequence[str]) -> Labels:
    """Arrange the labels of labelled images as `Segmenter.fit` takes them.

    Args:
        pairs: Labelled images.
        classes: The classes that have files of their own; empty if labels are maps.
    """
    if classes:
        return {name: [_parts(pair.labels.get(name, ())) for pair in pairs] for name in classes}
    return [parts for pair in pairs if (parts := _parts(pair.labels[""]))]


def read_masks(pair: ImagePair, image: SourceImage, names: Mapping[int, str]) -> dict[int, Bool[np.ndarray, "N H W"]]:
    """Read the label of an image as a mask for every class that it was annotated for.

    Args:
        pair: The image and its label.
        image: What was read of the image.
        names: Names of the classes by label value.

    Raises:
        ValueError: If the label does not fit, or shows and names none of the classes.
        OSError: If it cannot be read.
    """
    known = {value: name for value, name in names.items() if "" in pair.labels or name in pair.labels}
    if not known:
        message = (
            f"label of {pair.name} is of none of the support's classes: expected {', '.join(names.values())}, "
            f"got {', '.join(pair.labels)}. Name the classes alike in both folders."
        )
        raise ValueError(message)
    by_map = "" in pair.labels
    (example,) = Examples([image], labels_of([pair], () if by_map else tuple(known.values())))
    if by_map and example.masks and not example.masks.keys() & names.keys():
        message = (
            f"label of {pair.name} shows none of the support's classes: expected values {tuple(names)}, "
            f"got {tuple(example.masks)}. Number the classes alike in both folders."
        )
        raise ValueError(message)
    empty = np.zeros(image.planes.shape, dtype=bool)
    keys = known if by_map else range(1, len(known) + 1)
    return {value: example.masks.get(key, empty) for value, key in zip(known, keys, strict=True)}


def _parts(paths: Sequence[Path]) -> Picture | Parts | None:
    return tuple(paths) if len(paths) > 1 else next(iter(paths), None)
