"""Images and labels of a user's folder, in the forms that a segmenter takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from incontext.folders import RUN_LOG
from incontext.images.arrays import Picture
from incontext.images.examples import Example, Examples, Labels, Parts, Unknown
from incontext.images.source_image import SourceImage
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.pairing import ImagePair, Pairing, Templates, find_pairs


def read_folder(folder: Path, templates: Templates | None = None) -> Pairing:
    """Pair the images of a folder with their labels; results of earlier runs in it are left out.

    A folder that holds the slices of one DICOM series is one image; a DICOM-SEG or RTSTRUCT beside them is its label.

    Raises:
        ValueError: If there is no image, or names have several readings.
        OSError: If the folder cannot be read.
    """
    found = find_pairs(folder, templates, marks=(RUN_LOG,))
    parents = {pair.image.parent for pair in found.pairs}
    if not found.labelled and len(parents) == 1 and _is_series([pair.image for pair in found.pairs]):
        series = parents.pop()
        name = folder.name if series.name == "images" else series.name
        labels = {"": found.drawn} if len(found.drawn) == 1 else {}
        return Pairing(folder, (ImagePair(series, name, labels),), () if labels else found.notes)
    return found


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


def read_masks(pair: ImagePair, image: SourceImage, names: Mapping[int, str], unknown: Unknown = None) -> Example:
    """Read the label of an image as an example with a mask for every class that it was annotated for.

    Args:
        pair: The image and its label.
        image: What was read of the image.
        names: Names of the classes by label value.
        unknown: Values of pixels that nobody judged.

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
    (example,) = Examples([image], labels_of([pair], () if by_map else tuple(known.values())), unknown)
    if by_map and example.masks and not example.masks.keys() & names.keys():
        message = (
            f"label of {pair.name} shows none of the support's classes: expected values {tuple(names)}, "
            f"got {tuple(example.masks)}. Number the classes alike in both folders."
        )
        raise ValueError(message)
    empty = np.zeros(image.planes.shape, dtype=bool)
    keys = known if by_map else range(1, len(known) + 1)
    masks = {value: example.masks.get(key, empty) for value, key in zip(known, keys, strict=True)}
    return Example(image, masks, unknown=example.unknown)


def _parts(paths: Sequence[Path]) -> Picture | Parts | None:
    return tuple(paths) if len(paths) > 1 else next(iter(paths), None)


def _is_series(images: Sequence[Path]) -> bool:
    """Whether the images of one folder are the slices of one DICOM series."""
    if len(images) < 2 or not all(map(formats.is_slice, images)):
        return False
    try:
        return set(formats.source_at(images[0].parent).files) == set(images)
    except ValueError:
        return False
