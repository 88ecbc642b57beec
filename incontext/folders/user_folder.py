"""Images and labels of a user's folder, in the forms that a segmenter takes."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from incontext.folders.folder_images import read_folder
from incontext.folders.own_card import read_own_card
from incontext.images.arrays import Picture
from incontext.images.channels import Channel
from incontext.images.examples import (
    NOTHING_SAID,
    SAMPLED_CASES,
    Example,
    Examples,
    Labels,
    Parts,
    spread,
    thinned,
)
from incontext.images.source_image import NONE, SourceImage, read_source_image
from incontext.segmenter import Segmenter
from megamed.class_names import name_key
from megamed.colour_tables import FULL
from megamed.failures import Attempt
from megamed.files import claimed_file
from megamed.label_values import LabelRules
from megamed.pairing import ImagePair, Pairing
from megamed.path_templates import Templates


def fit_folder(
    segmenter: Segmenter,
    folder: Path,
    classes: Mapping[int, str] | None = None,
    templates: Templates | None = None,
) -> None:
    """Fit a segmenter to the labelled images of a folder, with a warning of what is left out: see `fit_pairs`."""
    if faulty := fit_pairs(segmenter, read_folder(folder, templates, classes or NONE), classes):
        warnings.warn("\n".join(f"{name} is left out: {reason}" for name, reason in faulty.items()), stacklevel=2)


def read_sample(
    pairs: Sequence[ImagePair], channel: Channel = None, level: int = 0
) -> tuple[list[SourceImage], Exception | None]:
    """Read some of the images of a folder, thinned, to stand for all; one that cannot be read is left out.

    Returns:
        The images, and the error of the last one to be read, if it had one.
    """
    found: list[SourceImage] = []
    error: Exception | None = None
    for index in spread(len(pairs), SAMPLED_CASES):
        with Attempt() as reading:
            path = pairs[index].image
            found.append(thinned(read_source_image(path, str(path), channel=channel, level=level)))
        error = reading.error
    return found, error


def save_folder_task(
    segmenter: Segmenter,
    folder: Path,
    out: Path,
    classes: Mapping[int, str] | None = None,
    templates: Templates | None = None,
    *,
    author: str = "",
    overlap: bool | None = None,
) -> list[str]:
    """Fit a segmenter to the labelled images of a folder, and save it with them as one task file.

    Args:
        segmenter: Segmenter whose weights and parameters the task takes over.
        folder: Folder in which some images have labels.
        out: File to write.
        classes: Names of label values.
        templates: Paths of images and labels, where their names leave open which belong together.
        author: Author of the task, for those who receive it.
        overlap: Whether classes may overlap; by default if they share pixels in the labels.

    Returns:
        A note on classes that share pixels.

    Raises:
        ValueError: If there are no labels, they are unusable, a class is named that none shows, or `out` is somebody's
            own file.
        OSError: If an example cannot be read or the file cannot be written.
    """
    with claimed_file(out, "save"):
        fit_folder(segmenter, folder, classes, templates)
        notes = settle_overlap(segmenter, overlap)
        segmenter.save_task(out, author)
    return notes


def settle_overlap(segmenter: Segmenter, wanted: bool | None) -> list[str]:
    """Let classes overlap if a user wants it or, where nothing is said, if they share pixels in the labels.

    Returns:
        A note on classes that share pixels.
    """
    pairs = segmenter.fitted.overlapping if segmenter.has_examples else []
    if wanted is not None or pairs:
        segmenter.set_params(overlap=bool(pairs) if wanted is None else wanted)
    return segmenter.fitted.told_of_overlap(segmenter.overlap) if pairs else []


def fit_pairs(
    segmenter: Segmenter, examples: Pairing, classes: Mapping[int, str] | None = None, choose: bool = False
) -> dict[str, str]:
    """Fit a segmenter to the labelled ones of a folder's images.

    Images or labels that cannot be read are left out, if others can.

    Args:
        segmenter: Segmenter to fit.
        examples: The images of the folder.
        classes: Names of label values, beside those that the folder's own card gives. Values that this calls unknown
            are so unless the segmenter has others.
        choose: Whether the labelled images choose settings too; see `Segmenter.choose`.

    Returns:
        Reasons why images were left out, by their names.

    Raises:
        ValueError: If there are no labels, they are unusable, or a class is named that none shows.
        OSError: If a file cannot be read.
    """
    labelled = examples.labelled
    if not labelled:
        message = (
            f"{examples.folder} has no labels: expected label maps in labels/ or masks/, or beside the images as "
            f"1_mask.png, or a file of an annotation tool, got {len(examples.pairs)} images alone. Add them, or say by "
            "templates where they lie."
        )
        raise ValueError(message)
    card = read_own_card(examples.folder)
    names = {**card.names, **(classes or {})}
    rules = card.rules(examples, segmenter.rules)
    if rules != segmenter.rules:
        given = {"unknown": rules.unknown, "colours": rules.colours or None, "instance_divisor": rules.divisor}
        segmenter.set_params(**given)
    faulty: dict[str, str] = {}
    fit = segmenter.choose if choose else segmenter.fit
    with Attempt() as fitting:
        _fit(fit, labelled, examples.classes, names)
    if fitting.error:
        faulty = _faults(segmenter, labelled)
        usable = [pair for pair in labelled if pair.name not in faulty]
        if not faulty or not usable:
            raise fitting.error
        _fit(fit, usable, examples.classes, names)
    if card.source:
        segmenter.credit(card.source)
    if absent := sorted((classes or {}).keys() - segmenter.fitted.names.keys()):
        message = (
            f"classes name values that no label has: expected some of {', '.join(map(str, segmenter.fitted.names))}, "
            f"got {', '.join(map(str, absent))}. Name the values that are drawn."
        )
        raise ValueError(message)
    return faulty


def _fit(
    fit: Callable[..., Segmenter], pairs: Sequence[ImagePair], classes: Sequence[str], names: Mapping[int, str]
) -> None:
    by_class = [name for name in classes if any(name in pair.labels for pair in pairs)]
    fit([pair.image for pair in pairs], labels_of(pairs, by_class), names)


def _faults(segmenter: Segmenter, pairs: Sequence[ImagePair]) -> dict[str, str]:
    """Read images with their labels one by one, and return by name what is wrong with those that cannot be used."""
    faults = {}
    for pair in pairs:
        with Attempt() as reading:
            labels = labels_of([pair], sorted(filter(None, pair.labels)))
            Examples([pair.image], labels, segmenter.rules, segmenter.channel, level=segmenter.level)[0]
        if reading.error:
            faults[pair.name] = reading.reason
    return faults


def labels_of(pairs: Sequence[ImagePair], classes: Sequence[str]) -> Labels:
    """Arrange the labels of labelled images as `Segmenter.fit` takes them.

    Args:
        pairs: Labelled images.
        classes: The classes that have files of their own; empty if labels are maps.
    """
    if classes:
        return {name: [_parts(pair.labels.get(name, ())) for pair in pairs] for name in classes}
    return [parts for pair in pairs if (parts := _parts(pair.labels[""]))]


def read_masks(
    pair: ImagePair, image: SourceImage, names: Mapping[int, str], rules: LabelRules = NOTHING_SAID
) -> Example:
    """Read the label of an image as an example with a mask for every class that it was annotated for.

    Args:
        pair: The image and its label.
        image: What was read of the image.
        names: Names of the classes by label value.
        rules: What the user says of the values of labels.

    Raises:
        ValueError: If the label does not fit, or shows and names none of the classes.
        OSError: If it cannot be read.
    """
    spelt = {name_key(name): name for name in pair.labels}
    is_map = "" in pair.labels
    known = {value: name for value, name in names.items() if is_map or name_key(name) in spelt}
    if not known:
        message = (
            f"label of {pair.name} is of none of the support's classes: expected {', '.join(names.values())}, "
            f"got {', '.join(pair.labels)}. Name the classes alike in both folders."
        )
        raise ValueError(message)
    by_class = () if is_map else tuple(spelt[name_key(name)] for name in known.values())
    examples = Examples([image], labels_of([pair], by_class), rules, names=names)
    (example,) = examples
    if is_map and len(known) == 1 and not example.names and [*example.masks] == [FULL]:
        example = replace(example, masks=dict.fromkeys(known, example.masks[FULL]))  # a mask of the one class
    named = {value: name_key(name) for value, name in examples.names.items()}
    meant = {value for value, name in known.items() if not named or named.get(value) == name_key(name)}
    if is_map and example.masks and not example.masks.keys() & meant:
        by_name, by_value = (names.values(), examples.names.values()), (names, example.masks)
        expected, got = map(tuple, by_name if named else by_value)
        message = (
            f"label of {pair.name} shows none of the support's classes: expected {'names' if named else 'values'} "
            f"{expected}, got {got}. {'Name' if named else 'Number'} the classes alike in both folders."
        )
        raise ValueError(message)
    empty = np.zeros(image.planes.shape, dtype=bool)
    masks = {value: example.masks.get(value, empty) if value in meant else empty for value in known}
    return Example(image, masks, unknown=example.unknown)


def _parts(paths: Sequence[Path]) -> Picture | Parts | None:
    return tuple(paths) if len(paths) > 1 else next(iter(paths), None)
