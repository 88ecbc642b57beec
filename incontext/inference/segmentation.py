"""Results of segmentation: masks on the images' own grids, probabilities on demand, and a report."""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from incontext.images.case_planes import on_grid
from incontext.images.examples import Example
from incontext.images.prompts import DrawnMask, Prompts
from incontext.images.source_image import write_mask
from incontext.inference.next_plane import next_plane
from incontext.inference.planes import CasePrediction, Classes
from incontext.networks.measures import dice_of_areas
from incontext.networks.quality import QualityModel
from megamed.annotation_tools.model import SegmentedImage, distinct_names, file_names
from megamed.label_colours import colours_of
from megamed.vocabulary import WrittenTool


@dataclass(frozen=True)
class Report:
    """Account of a segmentation, in words to be read by a person and kept with the masks.

    Attributes:
        normalisation: Scaling of grey values to [0, 1], with its reason.
        support: Rule of support selection.
        label_budget: Number of labelled images in the support pool: the cost of the result in annotation.
        tiling: Windows through which images were seen, whole or in tiles, with the reason.
        weights: SHA-256 of the weights file; None for a network that came from none.
        tuning: Outcome of tuning the network on the labelled images; None if it was not asked for.
        warnings: Faults that were noticed, each with its reason and a fix.
        prompts: Number of clicks, scribbles, boxes and masks by which images were corrected.
        seconds: Wall-clock time of the call, in seconds.
    """

    normalisation: str
    support: str
    label_budget: int
    tiling: str
    weights: str | None
    tuning: str | None = None
    warnings: tuple[str, ...] = ()
    prompts: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Presence:
    """Presence of classes in images.

    Attributes:
        probability: Probability that an image shows a class; of a volume, that any of its planes does. NaN for classes
            that too few examples show.
        absent: Whether that is improbable in the whole of an image.
        dice_shifts: Log-odds to add to the Dice that is predicted where the class is, as the examples tell.
    """

    probability: Float32[np.ndarray, "images classes"]
    absent: Bool[np.ndarray, "images classes"]
    dice_shifts: Float32[np.ndarray, "images classes"]

    def after(
        self, told: Mapping[int, Prompts], judged: Sequence[int], values: Sequence[int], usual: int
    ) -> "Presence":
        """The presence of classes after prompts: what a person points at is there.

        Args:
            told: What was said of images, by their index.
            judged: Label values of the classes that were judged.
            values: Label values of all classes.
            usual: Label value of the class that prompts are about that name none.
        """
        probability = np.full((len(self.probability), len(values)), np.nan, np.float32)
        absent, shifts = np.zeros(probability.shape, dtype=bool), np.zeros_like(probability)
        columns = [values.index(value) for value in judged]
        probability[:, columns], absent[:, columns] = self.probability, self.absent
        shifts[:, columns] = self.dice_shifts
        shifts[list(told)] = 0  # no example was corrected as they are
        before = probability.copy()
        for image, prompts in told.items():
            for stroke in prompts.strokes:
                column = values.index(stroke.label or usual)
                absent[image, column] = False
                if isinstance(stroke.where, DrawnMask) and stroke.where.is_empty:  # of which nothing is left before it
                    probability[image, column] = before[image, column]
                elif stroke.inside:
                    probability[image, column] = 1
        return Presence(probability, absent, shifts)


class Probabilities(Sequence[Float32[np.ndarray, "*grid"]]):
    """The probabilities of every case, computed anew whenever one is asked for."""

    def __init__(self, found: Sequence[CasePrediction], classes: Classes) -> None:
        self._found = found
        self._classes = classes

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Float32[np.ndarray, "*grid"]: ...
    @overload
    def __getitem__(self, index: slice) -> "Probabilities": ...
    def __getitem__(self, index: int | slice) -> "np.ndarray | Probabilities":
        if isinstance(index, slice):
            return Probabilities(self._found[index], self._classes)
        found = self._found[index].on_grid(self._classes.probabilities)
        return found[0] if len(self._classes.names) == 1 else found


class Segmentation(Sequence[UInt8[np.ndarray, "*grid"]]):
    """A sequence of masks, one per image, stack or volume.

    Attributes:
        masks: Masks on the grids of their sources, of 0 and the support's label values. If classes may overlap, one
            {0, 1} mask per class: (classes, *grid).
        probabilities: Probabilities of each image, computed on access: (*grid) for one class, (classes, *grid) for
            several. Unless classes may overlap, the background has the rest to 1.
        classes: Names by label value, in the order of the classes in `probabilities`.
        colours: Colours by label value as `#rrggbb`: those that the labels have, else fixed ones.
        report: Account of settings, support, warnings and time.
        cases: The images, emptied of their pixels.
        overlap: Whether classes may overlap.
        presence: Probability that an image shows a class, NaN for classes that fewer than four examples show; None if
            it was not judged, as with fewer than four examples at all.
        absent: Whether a class is improbable in an image.
    """

    def __init__(
        self,
        found: Sequence[CasePrediction],
        classes: Classes,
        report: Report,
        quality: QualityModel | None = None,
        presence: Presence | None = None,
    ) -> None:
        self.cases = [each.case for each in found]
        self.classes = dict(classes.names)
        self.colours = colours_of(classes.names, classes.colours)
        self.overlap = classes.overlap
        self.report = report
        judged = None if quality is None else [each.judged(classes) for each in found]
        self.masks: list[UInt8[np.ndarray, ...]] = (
            [each.on_grid(classes.mask) for each in found] if judged is None else [mask for mask, _ in judged]
        )
        self._log_odds = [] if judged is None else [log_odds for _, log_odds in judged]
        self.probabilities = Probabilities(found, classes)
        self._found = found
        self._classes = classes
        self._quality = quality
        self.presence = None if presence is None else presence.probability
        grid = len(found), len(classes.names)
        self.absent: Bool[np.ndarray, "images classes"] = (
            np.zeros(grid, dtype=bool) if presence is None else presence.absent
        )
        self._dice_shifts = np.zeros(grid, np.float32) if presence is None else presence.dice_shifts

    @cached_property
    def predicted_dice(self) -> Float32[np.ndarray, "images classes"]:
        """Predicted Dice of each mask with what a person would draw.

        Where four or more examples tell of presence, they also shift what the probabilities predict, by as much as
        their own Dice by the other examples is higher or lower than predicted.

        Where a class is probably absent, its probability counts: that of absence if nothing is drawn, for then both are
        empty, else that of presence.

        Raises:
            ValueError: If the calibration of the weights has no quality model.
        """
        if not len(self):
            return np.zeros((0, len(self.classes)), dtype=np.float32)
        quality, shifts = self._known_quality, torch.from_numpy(self._dice_shifts)
        drawn = np.stack(
            [quality.dice_from(each, shift).numpy() for each, shift in zip(self._log_odds, shifts, strict=True)]
        )
        if self.presence is None:
            return drawn
        empty = [[not self.layer(index, value).any() for value in self.classes] for index in range(len(self))]
        expected = np.where(np.array(empty), 1 - self.presence, self.presence * drawn)
        return np.where(self.absent, expected, drawn)

    @property
    def look_first(self) -> list[int]:
        """Indices of the images with a mask that is probably poor, the poorest first.

        An image counts by the least predicted Dice of the classes found in it, and if none was, by the largest of all.

        Raises:
            ValueError: If the calibration of the weights has no quality model.
        """
        poorest = np.array([self._poorest(index) for index in range(len(self))])
        order = np.argsort(poorest, kind="stable").tolist()
        return [index for index in order if poorest[index] < self._known_quality.flag_below]

    def _poorest(self, index: int) -> float:
        shown = [self.layer(index, value).any() for value in self.classes]
        found = self.predicted_dice[index][shown]
        return float(found.min() if found.size else self.predicted_dice[index].max())

    @property
    def _known_quality(self) -> QualityModel:
        if self._quality is None:
            message = (
                "predicted_dice is unknown: expected weights whose calibration tells of quality, got others. "
                "Run `incontext calibrate` on them, or use the packaged weights."
            )
            raise ValueError(message)
        return self._quality

    def layer(self, index: int, value: int) -> Bool[np.ndarray, "*grid"]:
        """The mask of the class that has a label value."""
        if self.overlap:
            return self.masks[index][list(self.classes).index(value)] > 0
        return self.masks[index] == value

    def next_plane(self, index: int = 0) -> int:
        """Index of the plane of a stack or volume whose drawing would help most: see `next_plane.next_plane`.

        Args:
            index: Index of the stack or volume.

        Raises:
            ValueError: If all of its planes are drawn.
        """
        return next_plane(self._found[index], self._classes)

    def write(self, index: int, path: str | Path, value: int = 0) -> Path:
        """Write a mask in the format of a suffix, with the geometry of its image: see `source_image.write_mask`.

        Args:
            index: Index of the image.
            path: File to write.
            value: Label value of the one class to write; 0 for all of them, if they do not overlap.

        Raises:
            ValueError: If the format cannot hold the mask, as none holds classes that overlap.
        """
        if self.overlap and not value:
            message = (
                "mask cannot be written: expected one label per pixel, got classes that may overlap. "
                "Write them one by one, by their values, or set overlap=False."
            )
            raise ValueError(message)
        mask = self.layer(index, value) * np.uint8(value) if value else self.masks[index]
        names = {value: self.classes[value]} if value else self.classes
        return write_mask(mask, self.cases[index], Path(path), names, self.colours)

    def write_as(self, tool: WrittenTool, folder: str | Path) -> list[Path]:
        """Write all masks in the files of an annotation tool, with the names and colours of the classes.

        A tool that has one file for all images gets `coco.json` or the like, whose entries of other images stay; the
        others get files such as `labelme/a.json` for `a.png`. Classes may overlap where the tool allows it.

        Args:
            tool: Name of the tool, one of `WrittenTool`.
            folder: Folder to write into.

        Returns:
            Paths of the files.

        Raises:
            ValueError: If the tool cannot hold the masks, or a file that is there cannot be read.
            ImportError: If the library for the tool's files is not installed; the message has the command.
        """
        from megamed.annotation_tools import writers

        names = file_names([case.source for case in self.cases])
        return writers.write_files(Path(folder), tool, [self.drawn(index, name) for index, name in enumerate(names)])

    def drawn(self, index: int, file_name: str) -> SegmentedImage:
        """Return the masks of an image by class, as annotation tools take them."""
        case = self.cases[index]
        is_volume = case.kind == "volume" and case.geometry is not None
        shape = case.grid if is_volume else case.shape
        names = distinct_names(self.classes)
        return SegmentedImage(
            file_name,
            shape,
            {names[value]: self.layer(index, value).reshape(shape) for value in self.classes},
            values={name: value for value, name in names.items()},
            colours={names[value]: colour for value, colour in self.colours.items()},
            affine=case.geometry.affine if is_volume and case.geometry else None,
            source=case.source,
            full_size=case.full_size,
        )

    def __len__(self) -> int:
        return len(self.masks)

    @overload
    def __getitem__(self, index: int) -> UInt8[np.ndarray, "*grid"]: ...
    @overload
    def __getitem__(self, index: slice) -> list[UInt8[np.ndarray, "*grid"]]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        return self.masks[index]

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "*grid"]]:
        return iter(self.masks)

    def __repr__(self) -> str:
        return f"Segmentation({len(self)} masks of {', '.join(self.classes.values())})"


def dice(mask: Bool[np.ndarray, "*grid"], label: Bool[np.ndarray, "*grid"]) -> float:
    """Dice of a mask with a label, 2·|A∩B| / (|A| + |B|); 1 if both are empty."""
    counts = np.count_nonzero(mask & label), np.count_nonzero(mask) + np.count_nonzero(label)
    return dice_of_areas(*torch.tensor(counts, dtype=torch.float64)).item()


def dice_by_class(masks: Mapping[int, Bool[np.ndarray, "..."]], label: Example) -> dict[int, float]:
    """Dice of masks with those of an example on its grid, by label value, where somebody judged."""
    known = True if label.unknown is None else ~on_grid(label.unknown, label.case)
    return {
        value: dice(masks[value] & known, on_grid(drawn, label.case) & known) for value, drawn in label.masks.items()
    }


def mean_dice(result: Segmentation, index: int, example: Example) -> float:
    """Dice of one image's mask with its label: the mean over the classes that were looked for in it, 1 if none was."""
    scores = []
    known = True if example.unknown is None else ~on_grid(example.unknown, example.case)
    for value in result.classes:
        if example.annotated is None or value in example.annotated:
            label = example.masks.get(value, np.zeros(example.case.planes.shape, dtype=bool))
            scores.append(dice(result.layer(index, value) & known, on_grid(label, example.case) & known))
    return float(np.mean(scores)) if scores else 1.0


def finished(report: Report, start: float) -> Report:
    """Complete a report by its time, and issue its warnings at the line that called the calling method."""
    for message in report.warnings:
        warnings.warn(message, stacklevel=3)
    return replace(report, seconds=round(time.perf_counter() - start, 3))
