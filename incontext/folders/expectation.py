"""Expectations of masks from the labelled images of a folder, and a picture of those that the others contradict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from incontext.folders.class_names import called
from incontext.folders.folder_images import read_folder
from incontext.folders.overlay import Tile, contact_sheet, draw
from incontext.folders.user_folder import fit_pairs, settle_overlap
from incontext.images.examples import MOST_JUDGED, spread
from incontext.images.source_image import NONE
from incontext.inference.expected import told
from incontext.segmenter import Segmenter
from megamed.failures import Attempt
from megamed.path_templates import Templates

PICTURE = "contradicted.png"
"""Name of the picture of examples that look wrong."""
DRAWN = 10
"""Examples in the picture."""


@dataclass(frozen=True)
class Expectation:
    """Dice to expect of new images, and labelled images that look wrong.

    Attributes:
        dice: Expected Dice of each class, by label value.
        interval: Interval of 95 % confidence of each.
        suspects: Names of the labelled images whose labels look wrong, worst first.
        numbers: Numbers of these examples, in the order in which they were given.
        classes: Names of the classes by label value.
        before_tuning: Whether the network was tuned since, so that more is to be expected.
        notes: Notes on classes that share pixels.
        forgotten: Label value of a class that the others find in a labelled image that shows none, by its name.
    """

    dice: dict[int, float]
    interval: dict[int, tuple[float, float]]
    suspects: list[str]
    numbers: list[int]
    classes: Mapping[int, str]
    before_tuning: bool = False
    notes: Sequence[str] = ()
    forgotten: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Tell people, class by class."""
        yield from (f"Note: {note}" for note in self.notes)
        when = " before tuning" if self.before_tuning else ""
        for value, dice in self.dice.items():
            of = "" if len(self.classes) == 1 else f" for {called(value, self.classes[value])}"
            about = told(dice, self.interval[value])
            yield f"Expect a Dice{of} of about {about}{when}: so the labelled images segment each other."
        for name in self.suspects:
            said = "the other labelled images contradict it"
            if name in self.forgotten:
                value = self.forgotten[name]
                what = called(value, self.classes[value])
                said = f"it says that there is no {what}, and the other labelled images find one"
            yield f"Look at the label of {name}: {said}."


def expectation_of(segmenter: Segmenter, names: Sequence[str] = ()) -> Expectation | None:
    """Judge a fitted segmenter's examples by each other; None if they are too few.

    Args:
        segmenter: Segmenter with examples.
        names: Names of the images that it was fitted to, in their order; by default examples are numbered from 1.
    """
    found = segmenter.expected_
    if found is None:
        return None
    places = segmenter.fitted.pool.places if names else ()

    def name(number: int) -> str:
        if not places:
            return f"Labelled image {number + 1}"
        index, plane = places[number]
        return names[index] if plane is None else f"{names[index]}, plane {plane}"

    suspects = list(found.suspects)
    names_of = dict(segmenter.fitted.names)
    is_tuned = bool((tuned := segmenter.tuned) and tuned.delta)
    forgotten = {name(number): value for number, value in found.forgotten.items()}
    named = [*map(name, suspects)]
    interval = dict(found.interval)
    return Expectation(dict(found.dice), interval, named, suspects, names_of, is_tuned, forgotten=forgotten)


def expect_of_folder(
    segmenter: Segmenter, folder: Path, templates: Templates | None = None, names: Mapping[int, str] | None = None
) -> Expectation | None:
    """Judge the labelled images of a folder by each other, of many some; None if they are too few or do not fit.

    Args:
        segmenter: Segmenter to fit to them.
        folder: Folder in which some images have labels.
        templates: Paths of images and labels, where their names leave open which belong together.
        names: Names that the user gives to label values.
    """
    found = read_folder(folder, templates, names or NONE)
    some = tuple(found.labelled[i] for i in spread(len(found.labelled), MOST_JUDGED))
    faulty, notes = dict[str, str](), list[str]()
    with Attempt() as fitting:
        faulty = fit_pairs(segmenter, replace(found, pairs=some), names or {})
        notes = settle_overlap(segmenter, None)
    if fitting.error:
        return None
    expected = expectation_of(segmenter, [pair.name for pair in some if pair.name not in faulty])
    return expected and replace(expected, notes=notes)


def picture(segmenter: Segmenter, expected: Expectation) -> Image.Image | None:
    """Draw each suspect, its label, and what the other examples say, in a row; None if none is, or has its image."""
    if segmenter.fitted.codes:
        return None
    rows = []
    for name, number in zip(expected.suspects[:DRAWN], expected.numbers, strict=False):
        image, label, mask = segmenter.judgement.by_others(number)
        shown = [("image", label & False), ("its label", label), ("the others say", mask)]
        colours = dict(enumerate(segmenter.fitted.colours.values(), start=1))
        rows.append([Tile(f"{name}, {what}", draw(image, _flat(layers), colours)) for what, layers in shown])
    return contact_sheet(rows) if rows else None


def _flat(layers: Bool[np.ndarray, "C H W"]) -> UInt8[np.ndarray, "H W"]:
    """Number the classes of layers from 1; of those that overlap the last one stays."""
    numbered = np.arange(1, len(layers) + 1, dtype=np.uint8)[:, None, None] * (layers > 0)
    return numbered.max(axis=0)
