"""Results of segmentation: masks on the images' own grids, probabilities on demand, and a report."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, Shaped, UInt8
from torch import Tensor

from incontext.images.examples import Example, on_grid
from incontext.images.prompts import Prompts
from incontext.images.source_image import SourceImage, write_mask
from incontext.images.tiling import blend
from incontext.networks.measures import dice_of_areas
from incontext.networks.quality import QualityModel, expected_log_odds, soft_counts
from megamed.annotation_tools.model import SegmentedImage, distinct_names, file_names
from megamed.label_colours import colours_of
from megamed.squares import Box
from megamed.vocabulary import WrittenTool

CERTAIN = 20.0
"""Log-odds of a class where a person drew it; elsewhere on that plane its negative."""
LEAST_SAID = 2.0
"""Least log-odds, of either sign, of pixels that are said to be inside or outside of a class."""


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


@dataclass(frozen=True)
class Classes:
    """The classes of a segmentation, and the rule by which they compete for pixels.

    Attributes:
        names: Names by label value, in the order of logits and probabilities along C.
        overlap: Whether a pixel may be of several classes at once.
        colours: Colours by label value as `#rrggbb`.
    """

    names: Mapping[int, str]
    overlap: bool = False
    colours: Mapping[int, str] = field(default_factory=dict)

    def probabilities(self, log_odds: Float[Tensor, "*N C H W"]) -> Float[Tensor, "*N C H W"]:
        """Probability of each class: a softmax with a background of log-odds 0 or, if classes may overlap, sigmoids."""
        if self.overlap:
            return log_odds.sigmoid()
        background = torch.zeros_like(log_odds[..., :1, :, :])
        return torch.cat([background, log_odds], dim=-3).softmax(dim=-3)[..., 1:, :, :]

    def log_odds(self, probabilities: Float[Tensor, "*N C H W"]) -> Float[Tensor, "*N C H W"]:
        """Log-odds of each class against the background, from probabilities: the inverse of `probabilities`."""
        if self.overlap:
            return probabilities.logit(eps=1e-6)
        background = 1 - probabilities.sum(dim=-3, keepdim=True)
        return probabilities.clamp(min=1e-6).log() - background.clamp(min=1e-6).log()

    def mask(self, log_odds: Float[Tensor, "C H W"]) -> UInt8[Tensor, "*C H W"]:
        """The most probable label value of each pixel; if classes may overlap, a mask for each."""
        if self.overlap:
            return (log_odds > 0).to(torch.uint8)
        mask, best = torch.zeros_like(log_odds[0], dtype=torch.uint8), torch.zeros_like(log_odds[0])
        for value, layer in zip(self.names, log_odds, strict=True):  # class by class: several times as fast as `max`
            mask.masked_fill_(layer > best, value)
            best = torch.maximum(best, layer)
        return mask

    def layers(self, log_odds: Float[Tensor, "C H W"]) -> Bool[Tensor, "C H W"]:
        """The masks of all classes, each in a layer of its own."""
        if self.overlap:
            return log_odds > 0
        values = torch.tensor(list(self.names), dtype=torch.uint8, device=log_odds.device)
        return self.mask(log_odds) == values[:, None, None]


@dataclass(frozen=True, eq=False)
class Presence:
    """Presence of classes in images.

    Attributes:
        probability: Probability that an image shows a class; of a volume, that any of its planes does. NaN for classes
            that too few examples show.
        absent: Whether that is improbable in the whole of an image.
    """

    probability: Float32[np.ndarray, "images classes"]
    absent: Bool[np.ndarray, "images classes"]

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
        absent = np.zeros(probability.shape, dtype=bool)
        columns = [values.index(value) for value in judged]
        probability[:, columns], absent[:, columns] = self.probability, self.absent
        for image, prompts in told.items():
            for stroke in prompts.strokes:
                column = values.index(stroke.label or usual)
                absent[image, column] = False
                if stroke.inside:
                    probability[image, column] = 1
        return Presence(probability, absent)


@dataclass(frozen=True)
class Said:
    """Pixels of a plane of which a person said whether they are of a class."""

    class_index: int
    inside: bool
    rows: Int64[np.ndarray, " n"] = field(repr=False)
    columns: Int64[np.ndarray, " n"] = field(repr=False)

    def obeyed(self, band: Float[Tensor, "C rows W"], start: int) -> None:
        """Change logits so that these pixels are as they are said to be, in rows from `start` on."""
        here = (self.rows >= start) & (self.rows < start + band.shape[1])
        rows, columns = torch.from_numpy(self.rows[here] - start), torch.from_numpy(self.columns[here])
        found = band[self.class_index, rows, columns]
        obeying = found.clamp(min=LEAST_SAID) if self.inside else found.clamp(max=-LEAST_SAID)
        band[self.class_index, rows, columns] = obeying


@dataclass(frozen=True)
class Plane:
    """The logits of a plane on the network's squares, from which logits on the plane's own grid are computed anew."""

    shape: tuple[int, int]
    boxes: Sequence[Box]
    logits: Float[Tensor, "tiles C size size"] = field(repr=False)
    presence: Float[Tensor, "tiles C"] | None = field(default=None, repr=False)
    """Probability that a square shows each class; None if it was not judged."""
    said: Sequence[Said] = ()
    """Pixels that are as a person said; later words count more than earlier ones."""

    def bands(self) -> Iterator[Float[Tensor, "C rows W"]]:
        """The logits on the plane's own grid, some rows at a time."""
        for rows, band in blend(self.logits, self.boxes, self.shape):
            for each in self.said:
                each.obeyed(band, rows.start)
            yield band


@dataclass(frozen=True)
class DrawnPlane:
    """A plane that a person labelled, which stays as it was drawn."""

    label: UInt8[np.ndarray, "H W"] = field(repr=False)
    values: Sequence[int]

    def bands(self) -> Iterator[Float[Tensor, "C rows W"]]:
        """Log-odds of ±`CERTAIN`, by the label."""
        drawn = torch.from_numpy(np.stack([self.label == each for each in self.values]))
        yield CERTAIN * (2 * drawn.float() - 1)


@dataclass(frozen=True)
class CasePrediction:
    """The prediction for one source image: the logits of its planes, on the network's squares.

    Attributes:
        case: The source image, which may have been emptied of its pixels.
        planes: The planes of the source image, in their order along its axis.
    """

    case: SourceImage
    planes: Sequence[Plane | DrawnPlane]

    def on_planes(self, resolve: Callable[[Tensor], Tensor]) -> Shaped[np.ndarray, "*C N H W"]:
        """Map logits (C, rows, W), band by band, to values on the planes of the case.

        Args:
            resolve: Function of the logits of some rows, such as `Classes.mask`.
        """
        return np.stack([_resolved(plane, resolve) for plane in self.planes], axis=-3)

    def on_grid(self, resolve: Callable[[Tensor], Tensor]) -> Shaped[np.ndarray, "*grid"]:
        """Map logits to values on the grid of the source, (*grid) or (C, *grid), as `on_planes` does."""
        planes = self.on_planes(resolve)
        if planes.ndim == 3:
            return on_grid(planes, self.case)
        return np.stack([on_grid(layer, self.case) for layer in planes])

    def expected_log_odds(self, classes: Classes) -> Float[Tensor, "C 2"]:
        """Log-odds of expected precision and recall, one pair per class, over the planes that nobody drew."""
        total = torch.zeros(len(classes.names), 3)
        for plane in self.planes:
            for band in plane.bands() if isinstance(plane, Plane) else ():
                total += soft_counts(classes.probabilities(band), classes.layers(band)).cpu()
        return expected_log_odds(total)


def _resolved(plane: Plane | DrawnPlane, resolve: Callable[[Tensor], Tensor]) -> np.ndarray:
    return torch.cat([resolve(band).cpu() for band in plane.bands()], dim=-2).numpy()


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
        self.masks: list[UInt8[np.ndarray, ...]] = [each.on_grid(classes.mask) for each in found]
        self.probabilities = Probabilities(found, classes)
        self._found = found
        self._classes = classes
        self._quality = quality
        self.presence = None if presence is None else presence.probability
        self.absent: Bool[np.ndarray, "images classes"] = (
            np.zeros((len(found), len(classes.names)), dtype=bool) if presence is None else presence.absent
        )

    @cached_property
    def predicted_dice(self) -> Float32[np.ndarray, "images classes"]:
        """Predicted Dice of each mask with what a person would draw, computed on first access.

        Where a class is probably absent, its probability counts: that of absence if nothing is drawn, for then both are
        empty, else that of presence.

        Raises:
            ValueError: If the calibration of the weights has no quality model.
        """
        if not len(self):
            return np.zeros((0, len(self.classes)), dtype=np.float32)
        log_odds = [each.expected_log_odds(self._classes) for each in self._found]
        drawn = np.stack([self._known_quality.dice_from(each).numpy() for each in log_odds])
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

    def write(self, index: int, path: str | Path) -> Path:
        """Write a mask in the format of a suffix, with the geometry of its image: see `source_image.write_mask`.

        Raises:
            ValueError: If the format cannot hold it, as none holds classes that overlap.
        """
        if self.overlap:
            message = (
                "mask cannot be written: expected one label per pixel, got classes that may overlap. "
                "Write them one by one, or set overlap=False."
            )
            raise ValueError(message)
        return write_mask(self.masks[index], self.cases[index], Path(path), self.classes, self.colours)

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


def dice_by_class(mask: UInt8[np.ndarray, "..."], label: Example) -> dict[int, float]:
    """Dice of a label map with the masks of an example on its grid, by label value, where somebody judged."""
    known = True if label.unknown is None else ~on_grid(label.unknown, label.case)
    return {
        value: dice((mask == value) & known, on_grid(drawn, label.case) & known) for value, drawn in label.masks.items()
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
