"""What was found: masks on the images' own grids, probabilities computed when asked for, and a report of how."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Shaped, UInt8
from torch import Tensor

from incontext.cases import Case, write_mask
from incontext.examples import on_grid
from incontext.preprocess import Box
from incontext.tiles import blend


@dataclass(frozen=True)
class Report:
    """How a segmentation came about.

    Attributes:
        normalisation: How grey values became [0, 1], and why.
        support: By which rule each image got its support.
        label_budget: How many labelled images there were to choose from: what the result cost in annotation.
        tiling: Whether images were cut into tiles, and why.
        weights: SHA-256 of the weights file; None for a network that came from none.
        warnings: What looked wrong, each with its reason and a fix.
        seconds: That it took.
    """

    normalisation: str
    support: str
    label_budget: int
    tiling: str
    weights: str | None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Classes:
    """The classes of a segmentation, and how they compete.

    Attributes:
        names: By label value; their order is that of logits and probabilities.
        overlap: Whether a pixel may be of several classes at once.
    """

    names: Mapping[int, str]
    overlap: bool = False

    def probabilities(self, log_odds: Float[Tensor, "*N C H W"]) -> Float[Tensor, "*N C H W"]:
        """Of each class: the softmax with a background of log-odds 0, or if they may overlap, sigmoids."""
        if self.overlap:
            return log_odds.sigmoid()
        background = torch.zeros_like(log_odds[..., :1, :, :])
        return torch.cat([background, log_odds], dim=-3).softmax(dim=-3)[..., 1:, :, :]

    def log_odds(self, probabilities: Float[Tensor, "*N C H W"]) -> Float[Tensor, "*N C H W"]:
        """Against the background: what `probabilities` undoes."""
        if self.overlap:
            return probabilities.logit(eps=1e-6)
        background = 1 - probabilities.sum(dim=-3, keepdim=True)
        return probabilities.clamp(min=1e-6).log() - background.clamp(min=1e-6).log()

    def mask(self, log_odds: Float[Tensor, "C H W"]) -> UInt8[Tensor, "*C H W"]:
        """The most probable label value of each pixel; if classes may overlap, a mask for each."""
        if self.overlap:
            return (log_odds > 0).to(torch.uint8)
        best, place = log_odds.max(dim=0)
        values = torch.tensor(list(self.names), dtype=torch.uint8, device=place.device)
        return torch.where(best > 0, values[place], 0)


@dataclass(frozen=True)
class Plane:
    """The logits of a plane in the squares through which the network saw it: little to keep, enough for all else."""

    shape: tuple[int, int]
    boxes: Sequence[Box]
    logits: Float[Tensor, "tiles C size size"] = field(repr=False)

    def on_grid(self, resolve: Callable[[Tensor], Tensor]) -> np.ndarray:
        """What becomes of the logits on the plane's own grid, which is gone through band by band."""
        bands = [resolve(band).cpu() for _, band in blend(self.logits, self.boxes, self.shape)]
        return torch.cat(bands, dim=-2).numpy()


@dataclass(frozen=True)
class Found:
    """One case and the logits of its planes; `case` may have been emptied of its pixels."""

    case: Case
    planes: Sequence[Plane]

    def on_planes(self, resolve: Callable[[Tensor], Tensor]) -> Shaped[np.ndarray, "*C N H W"]:
        """What becomes of the logits on the planes of the case."""
        return np.stack([plane.on_grid(resolve) for plane in self.planes], axis=-3)

    def on_grid(self, resolve: Callable[[Tensor], Tensor]) -> Shaped[np.ndarray, "*grid"]:
        """What becomes of them on the grid of its source, (*grid) or (C, *grid)."""
        planes = self.on_planes(resolve)
        if planes.ndim == 3:
            return on_grid(planes, self.case)
        return np.stack([on_grid(layer, self.case) for layer in planes])


class Probabilities(Sequence[Float32[np.ndarray, "*grid"]]):
    """The probabilities of every case, computed anew whenever one is asked for."""

    def __init__(self, found: Sequence[Found], classes: Classes) -> None:
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
        masks: On their own grids, holding 0 and the support's label values. If classes may overlap, one {0, 1} mask per
            class: (classes, *grid).
        probabilities: A sequence too, computed when asked for: (*grid) for one class, (classes, *grid) for several.
            Unless classes may overlap, what is missing to 1 is the probability of the background.
        classes: Names by label value, in the order of the classes in `probabilities`.
        report: How it came about.
        cases: The images, emptied of their pixels.
        overlap: Whether classes may overlap.
    """

    def __init__(self, found: Sequence[Found], classes: Classes, report: Report) -> None:
        self.cases = [each.case for each in found]
        self.classes = dict(classes.names)
        self.overlap = classes.overlap
        self.report = report
        self.masks: list[UInt8[np.ndarray, ...]] = [each.on_grid(classes.mask) for each in found]
        self.probabilities = Probabilities(found, classes)

    def layer(self, index: int, value: int) -> Bool[np.ndarray, "*grid"]:
        """Where a mask shows the class of a label value."""
        if self.overlap:
            return self.masks[index][list(self.classes).index(value)] > 0
        return self.masks[index] == value

    def write(self, index: int, path: Path) -> Path:
        """Write a mask in the format of a suffix, with the geometry of its image: see `cases.write_mask`.

        Raises:
            ValueError: If the format cannot hold it, as none holds classes that overlap.
        """
        if self.overlap:
            message = (
                "mask cannot be written: expected one label per pixel, got classes that may overlap. "
                "Write them one by one, or set overlap=False."
            )
            raise ValueError(message)
        return write_mask(self.masks[index], self.cases[index], path, self.classes)

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
    """Overlap 2·|A∩B| / (|A| + |B|); 1 if both are empty."""
    total = np.count_nonzero(mask) + np.count_nonzero(label)
    return 2 * np.count_nonzero(mask & label) / total if total else 1.0
