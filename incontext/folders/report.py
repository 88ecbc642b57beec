"""Reports on the segmented images of a folder: one for each image, their summary, and a table of statistics."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from incontext.folders.class_names import called
from incontext.folders.expectation import Expectation
from incontext.inference.segmentation import Segmentation
from megamed.cells import safe_line

LOOKED_AT = 5
"""Number of poor masks that are named."""
NAMED = 3
"""Number of images that a warning names."""
NUMBER = re.compile(r"\d+(\.\d+)?")

COLUMNS = ("file", "mask", "label", "class", "pixels", "area_mm2", "volume_mm3", "predicted_dice", "presence", "dice")
"""Columns of the table of statistics."""


@dataclass(frozen=True)
class ImageReport:
    """Findings in one image; those of classes are by label value.

    Attributes:
        file: The image's file name, below the folder of all images.
        mask: The mask's file name, below the folder of masks; empty if classes overlap.
        size_px: Height and width, or the sides of a volume.
        area_px: Number of pixels of each class.
        area_mm2: Area of each class; None if the image tells no size of its pixels, or is a volume.
        volume_mm3: Volume of each class; None unless the image is a volume that tells the size of its voxels.
        confidence: Mean probability of the chosen class over the mask; None for an empty mask.
        predicted_dice: Expected Dice of each class; None for weights that were not calibrated to predict it.
        look_first: Whether the mask is probably poor; None for such weights too.
        dice: Overlap with the image's label for each class that was annotated; None without a label.
        presence: Probability that the image shows each class; None if it was not judged.
        absent: Label values of classes that the image probably lacks, of which nothing may have been drawn.
        prompts: Number of prompts that corrected the mask.
        masks: File name of the mask of each class, if classes overlap; else empty.
        full_size_px: Height and width at full resolution, if a reduced level of it was segmented.
    """

    file: str
    mask: str
    size_px: tuple[int, ...]
    area_px: dict[int, int]
    area_mm2: dict[int, float] | None
    volume_mm3: dict[int, float] | None
    confidence: float | None
    predicted_dice: dict[int, float] | None
    look_first: bool | None
    dice: dict[int, float] | None
    presence: dict[int, float] | None = None
    absent: tuple[int, ...] = ()
    prompts: int = 0
    masks: dict[int, str] = field(default_factory=dict)
    full_size_px: tuple[int, int] | None = None

    @property
    def mask_files(self) -> list[str]:
        """File names of all masks of the image, below the folder of masks."""
        return [*self.masks.values()] or [self.mask]


@dataclass(frozen=True)
class Summary:
    """Results of `segment_folder`.

    Attributes:
        support: File names of the labelled images; empty for a saved task.
        classes: Names of the support's label values.
        images: One report per image that was segmented.
        failures: Reason why an image could not be segmented, by file name.
        warnings: Warnings, each with the images that it is about, its reason and a fix.
        resumed: Number of the images that an earlier run had segmented.
        notes: Notes on how the folders were understood.
        tool_files: Files of annotation tools that were written, below the folder of results.
        expected: Dice to expect by the labelled images, and those that look wrong; None if they are too few to tell.
        folders: Where the images to segment (`query`), the labelled ones (`support`) and the `task` lie; see `places`.
    """

    support: list[str]
    classes: Mapping[int, str]
    images: list[ImageReport] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    resumed: int = 0
    notes: list[str] = field(default_factory=list)
    tool_files: list[str] = field(default_factory=list)
    expected: Expectation | None = None
    folders: Mapping[str, str] = field(default_factory=dict)

    def look_first(self) -> Iterator[str]:
        """Name the masks that are probably the poorest, each with its poorest class."""
        worst = [
            (*min((dice, value) for value, dice in report.predicted_dice.items()), report.file)
            for report in self.images
            if report.look_first and report.predicted_dice
        ]
        for dice, value, file in sorted(worst)[:LOOKED_AT]:
            yield f"Look first at {file}: a Dice of {dice:.2f} is predicted for {self.named(value)}."
        if len(worst) > LOOKED_AT:
            more = with_noun(len(worst) - LOOKED_AT, "mask is", "masks are")
            yield f"{more} probably poor, too: those with look_first in summary.json."

    def absent(self) -> Iterator[str]:
        """Name the images that probably lack each class."""
        for value in self.classes:
            if files := [report.file for report in self.images if value in report.absent]:
                yield f"Probably without {self.named(value)}: {listed(files)}."

    def named(self, value: int) -> str:
        """Call a class by its name, if it has one."""
        return called(value, self.classes[value])

    @property
    def mean_dice(self) -> dict[int, float]:
        """Each class's mean Dice over the images that were annotated for it; only of such classes."""
        scores = [report.dice for report in self.images if report.dice is not None]
        by_class = {value: [score[value] for score in scores if value in score] for value in self.classes}
        return {value: float(np.mean(found)) for value, found in by_class.items() if found}


def predicted_dice(result: Segmentation) -> dict[str, float]:
    """Predicted Dice of each class of one volume or film by what it is called; empty if the weights predict none."""
    with suppress(ValueError):
        names = [called(value, name) for value, name in result.classes.items()]
        return dict(zip(names, result.predicted_dice[0].tolist(), strict=True))
    return {}


def statistics_csv(summary: Summary) -> str:
    """Write a CSV table of `COLUMNS` with a row for each image and class; unknown values are empty."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(safe_line, _rows(summary)))
    return content.getvalue()


def grouped(warned: Iterable[tuple[str, str]], common: Collection[str]) -> list[str]:
    """Say each warning once, with the images that it is about.

    Args:
        warned: Names of images, and warnings that each gave; those that differ in numbers alone are one.
        common: Warnings that are about no image in particular.
    """
    groups: dict[str, tuple[str, list[str]]] = {}
    for file, message in warned:
        bare = message.removeprefix(f"{PurePosixPath(file).name}: ").replace(file, "{file}")
        kind = message if message in common else NUMBER.sub("#", bare)
        groups.setdefault(kind, (message, []))[1].append(file)
    return [message if message in common else _about(message, files) for message, files in groups.values()]


def _about(message: str, files: list[str]) -> str:
    """Name the images that a warning is about, before it or, if it names the first one, behind it."""
    bare = message.removeprefix(f"{PurePosixPath(files[0]).name}: ")
    if files[0] not in bare:
        return f"{listed(files)}: {bare}"
    return f"{bare} So it is with {listed(files[1:])}." if files[1:] else bare


def with_noun(count: int, one: str, several: str = "") -> str:
    """Write a number with its noun.

    >>> with_noun(1, "mask"), with_noun(2, "mask"), with_noun(3, "other is", "others are")
    ('1 mask', '2 masks', '3 others are')
    """
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def listed(files: Sequence[str]) -> str:
    """Name some files and count the others.

    >>> listed(["a.png", "b.png", "c.png", "d.png"])
    'a.png, b.png, c.png and 1 more'
    """
    return ", ".join(files[:NAMED]) + (f" and {len(files) - NAMED} more" if len(files) > NAMED else "")


def _rows(summary: Summary) -> Iterator[list[object]]:
    for report in summary.images:
        optional = (report.area_mm2, report.volume_mm3, report.predicted_dice, report.presence, report.dice)
        for value, name in summary.classes.items():
            known = [f"{each[value]:.6g}" if each and value in each else None for each in optional]
            yield [report.file, report.masks.get(value, report.mask), value, name, report.area_px[value], *known]
