"""Logits of the planes of an image: on the network's squares, laid on the image's own grid, and resolved to masks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped, UInt8
from torch import Tensor

from incontext.images.case_planes import on_grid
from incontext.images.source_image import SourceImage
from incontext.images.tiling import blend
from incontext.networks.prompted import LEAST_SAID
from incontext.networks.quality import expected_log_odds, soft_counts
from megamed.squares import Box

CERTAIN = 20.0
"""Log-odds of a class where a person drew it; elsewhere on that plane its negative."""


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
        if self.overlap or len(self.names) == 1:  # of one class they are the same
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
        return self.layers_in(self.mask(log_odds))

    def layers_in(self, mask: UInt8[Tensor, "*C H W"]) -> Bool[Tensor, "C H W"]:
        """The layers of a mask."""
        if self.overlap:
            return mask > 0
        return mask == torch.tensor(list(self.names), dtype=torch.uint8, device=mask.device)[:, None, None]


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
    is_prompted: bool = False
    """Whether somebody corrected it, be it by a box or a mask, which say nothing of single pixels."""

    def bands(self) -> Iterator[Float[Tensor, "C rows W"]]:
        """The logits on the plane's own grid, some rows at a time."""
        for rows, band in blend(self.logits, self.boxes, self.shape):
            for each in self.said:
                each.obeyed(band, rows.start)
            yield band


@dataclass(frozen=True)
class DrawnPlane:
    """A plane that a person labelled, which stays as it was drawn, but for the pixels that nobody judged."""

    label: UInt8[np.ndarray, "H W"] = field(repr=False)
    values: Sequence[int]
    unknown: Bool[np.ndarray, "H W"] | None = field(default=None, repr=False)
    """Pixels that nobody judged, which are as in `found`; None if there are none."""
    found: Plane | None = None
    """Logits that the network finds on the plane; needed where there are unknown pixels."""

    def bands(self) -> Iterator[Float[Tensor, "C rows W"]]:
        """Log-odds of ±`CERTAIN`, by the label, where somebody judged."""
        drawn = torch.from_numpy(np.stack([self.label == each for each in self.values]))
        certain = CERTAIN * (2 * drawn.float() - 1)
        if self.unknown is None or self.found is None:
            yield certain
            return
        start = 0
        for band in self.found.bands():
            rows = slice(start, start := start + band.shape[1])
            yield torch.where(torch.from_numpy(self.unknown[rows]), band.cpu(), certain[:, rows])


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
        return self._placed(self.on_planes(resolve))

    def judged(self, classes: Classes) -> tuple[UInt8[np.ndarray, "*grid"], Float[Tensor, "C 2"]]:
        """The mask on the grid of the source, and the log-odds of its expected precision and recall.

        These are one pair per class, over the planes that nobody drew. Both are made at once, as it takes longer to lay
        logits on the grid than to count them.
        """
        total = torch.zeros(len(classes.names), 3)

        def counted(band: Tensor) -> Tensor:
            mask = classes.mask(band)
            total.add_(soft_counts(classes.probabilities(band), classes.layers_in(mask)).cpu())
            return mask

        found = [_resolved(each, counted if isinstance(each, Plane) else classes.mask) for each in self.planes]
        return self._placed(np.stack(found, axis=-3)), expected_log_odds(total)

    def _placed(self, planes: Shaped[np.ndarray, "*C N H W"]) -> Shaped[np.ndarray, "*grid"]:
        if planes.ndim == 3:
            return on_grid(planes, self.case)
        return np.stack([on_grid(layer, self.case) for layer in planes])


def _resolved(plane: Plane | DrawnPlane, resolve: Callable[[Tensor], Tensor]) -> np.ndarray:
    return torch.cat([resolve(band).cpu() for band in plane.bands()], dim=-2).numpy()
