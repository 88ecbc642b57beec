"""A fitted segmenter as one module: images in, probabilities of the classes out, whatever the size of the images.

All else is constant: weights, tuned or not, codes of the labelled images, scaling and windows. What it computes is what
`Segmenter.predict` computes of a single image, in operations that can be traced, hence of tensors alone.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor, nn
from torch.utils import _pytree as trees

from incontext.images.normalisation import FEW_NEGATIVE, Normalisation
from incontext.images.shared_scale import QUARTILES, SharedScale
from incontext.images.tiling import OVERLAP, hill
from incontext.inference.leave_one_out import IMPOSSIBLE
from incontext.inference.presence import PresenceModel
from incontext.inference.reader import Reader
from incontext.inference.support_pool import Preparation
from incontext.networks.families import Network
from incontext.networks.protocols import FeatureReader
from incontext.networks.support_code import SupportCode
from megamed.squares import PERCENTILES


class OneInput(nn.Module):
    """Probabilities of the classes in images of any size.

    Args:
        network: Network that computes, of which a copy is taken.
        reader: Reader of the labelled images, whose support is the same for all images.
        preparation: Scaling, windows and size of the squares that the network sees.
        presence: Model of presence, by which classes are taken off an image; None if that never happens.
        absent: Treatment of a class where it is improbable; see `Segmenter`.
    """

    def __init__(
        self,
        network: Network,
        reader: Reader,
        preparation: Preparation,
        presence: PresenceModel | None = None,
        absent: str = "keep",
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
        self.classes, self.temperature = reader.classes, reader.temperature
        self.preparation = preparation
        draws = [(axes, draw) for axes in reader.choice.views for draw in reader.supports(axes)]
        if preparation.tiling.side_px is not None:  # the number of squares is free then, and divides among no sets
            draws = [(axes, _taken_apart(draw)) for axes, draw in draws]
        self.has_copies = reader.choice.copies
        self.passes = nn.ModuleList(_Pass(self.network, axes, draw) for axes, draw in draws)
        self.presence = presence
        self.off_below = None if presence is None else presence.off_below(absent)
        self.hill = hill(preparation.size_px)

    def forward(self, image: Float32[Tensor, "N 1 H W"]) -> Float32[Tensor, "N C H W"]:
        """Return the probability of each class in images of grey values as files hold them."""
        size_px, tile_px = self.preparation.size_px, self.preparation.tiling.side_px
        rows, columns = (Windows(image, axis, tile_px) for axis in (2, 3))
        grey = scaled(image, self.preparation.normalisation)[:, 0]
        cut = torch.einsum("ysh,nhw,xtw->nyxst", rows.shares(size_px), grey, columns.shares(size_px))
        squares = cut.flatten(0, 2)[:, None]
        found = self._without_absent(grey, squares, self._log_odds(squares))
        found = found.unflatten(0, cut.shape[:3])
        down, across = (each.laid_back(self.hill) for each in (rows, columns))
        return self.classes.probabilities(torch.einsum("yhs,nyxcst,xwt->nchw", down, found, across))

    def _reaches(self, grey: Float32[Tensor, "N H W"]) -> Float32[Tensor, "N 2"]:
        """Tell how far the grey values of images reach, as `Normalisation.reach` does."""
        if self.preparation.normalisation.kind == "window":
            return torch.stack([torch.zeros_like(grey[:, 0, 0]), torch.ones_like(grey[:, 0, 0])], dim=1)
        return torch.stack([grey.amin((1, 2)), grey.amax((1, 2))], dim=1)

    def _log_odds(self, squares: Tensor) -> Tensor:
        """Log-odds (N, C, size, size) of squares (N, 1, size, size), the mean over passes as `Reader` takes it."""
        passes = [each(squares) / self.temperature for each in self.passes]
        if len(passes) == 1:
            return passes[0]
        if self.has_copies:
            return torch.stack(passes).mean(dim=0)
        return self.classes.log_odds(torch.stack([self.classes.probabilities(each) for each in passes]).mean(dim=0))

    def _without_absent(self, grey: Tensor, squares: Tensor, log_odds: Tensor) -> Tensor:
        """Take classes off images where they are improbable: an image shows a class if one of its windows does."""
        if self.presence is None or self.off_below is None:
            return log_odds
        network, windows = self.network, squares.shape[0] // grey.shape[0]
        stages = network.features(squares) if isinstance(network, FeatureReader) else None
        masks, reaches = _layers(log_odds, self.classes.overlap), self._reaches(grey).repeat_interleave(windows, 0)
        probable = self.presence.probability(squares, reaches, stages, log_odds, masks)
        of_image = probable.unflatten(0, (-1, windows)).amax(1).repeat_interleave(windows, 0)
        absent = of_image < self.off_below
        return log_odds.masked_fill(absent[:, :, None, None], IMPOSSIBLE)


class _Pass(nn.Module):
    """Logits of all classes by one support of each, in one view of the squares."""

    def __init__(self, network: Network, axes: tuple[int, ...], draw: Sequence[tuple[Any, int]]) -> None:
        super().__init__()
        self.network, self.axes = network, axes
        self.codes = nn.ModuleList(_Constant(code) for code, _ in draw)
        self.sets = [sets for _, sets in draw]

    def forward(self, squares: Tensor) -> Tensor:
        view, network = squares.flip(self.axes) if self.axes else squares, self.network
        stages = network.features(view) if isinstance(network, FeatureReader) else None
        found = []
        for code, sets in zip(self.codes, self.sets, strict=True):
            if stages is None or not isinstance(network, FeatureReader):
                logits = network.segment(view.repeat(sets, 1, 1, 1), code())
            else:
                logits = network.decode([each.repeat(sets, 1, 1, 1) for each in stages], code())
            found.append(logits.unflatten(0, (sets, squares.shape[0]))[:, :, 0].transpose(0, 1))
        together = torch.cat(found, dim=1)
        return together.flip(self.axes) if self.axes else together


def _taken_apart(draw: Sequence[tuple[Any, int]]) -> list[tuple[Any, int]]:
    """Codes of single sets."""
    return [(code.of_set(i) if sets > 1 else code, 1) for code, sets in draw for i in range(sets)]


class _Constant(nn.Module):
    """The code of support sets, whatever a network makes of them, with its tensors as buffers."""

    def __init__(self, code: Any) -> None:
        super().__init__()
        self.is_code = isinstance(code, SupportCode)
        told = {name: part for name, part in vars(code).items() if part is not None} if self.is_code else code
        leaves, self.form = trees.tree_flatten(told)
        for index, each in enumerate(leaves):
            self.register_buffer(f"part_{index}", each.cpu().clone())

    def forward(self) -> Any:
        told = trees.tree_unflatten(list(self.buffers()), self.form)
        return SupportCode(**told) if self.is_code else told


class Windows:
    """The windows along one axis of an image, as matrices that cut them out, and lay them back.

    What `Preparation.boxes` says in numbers, this says in tensors, so that a graph computes it for any size of
    an image: one window around the whole, or tiles.

    Args:
        image: Images (N, 1, H, W).
        axis: Axis of the windows.
        tile_px: Side of a tile in pixels; None for no tiles.
    """

    def __init__(self, image: Tensor, axis: int, tile_px: int | None) -> None:
        extent, longer = image.shape[axis], torch.sym_max(image.shape[2], image.shape[3])
        self.side = self._number(longer)
        self.longest = longer
        self.is_tiled = tile_px is not None
        count: Any = 1
        if tile_px is not None:
            self.is_whole = self.side <= tile_px
            self.side = torch.where(self.is_whole, self.side, float(tile_px))
            self.longest = torch.sym_max(longer, tile_px)
            step = round(tile_px * (1 - OVERLAP) * 2)
            # where it is negative, ONNX rounds it towards 0 and Python away from it: neither is above 0
            reckoned = 1 + torch.sym_max(0, (2 * (extent - tile_px) + step - 1) // step)
            # of a number that comes out of a tensor, tracing does not take for granted that it is never 1
            count = torch.full((), reckoned).item()
            torch._check(count >= 1)
        length, number = self._number(extent), torch.arange(count, dtype=torch.float64)
        alone = -torch.floor((self.side - length) / 2)
        spread = torch.round(number * (length - self.side) / torch.sym_max(count - 1, 1))
        starts = torch.where(length <= self.side, alone, spread)
        self.places = torch.arange(extent, dtype=torch.float64) - starts[:, None]
        self.inside = (self.places >= 0) & (self.places < self.side)

    @staticmethod
    def _number(value: Any) -> Float64[Tensor, ""]:
        return torch.full((), value, dtype=torch.float64)

    def shares(self, size_px: int) -> Float32[Tensor, "windows size extent"]:
        """Share of each pixel of the axis in each pixel of each window's square, as `resampling.to_square` takes it."""
        centres = (torch.arange(size_px, dtype=torch.float64)[:, None] + 0.5) * (self.side / size_px)
        reach = (self.side / size_px).clamp(min=1)
        every = torch.arange(self.longest, dtype=torch.float64)
        total = (_triangle(every - centres, reach) * (every < self.side)).sum(1, keepdim=True)
        shares = _triangle(self.places[:, None] - centres, reach) * self.inside[:, None]
        return (shares / total).float()

    def laid_back(self, hill: Float32[Tensor, " size"]) -> Float32[Tensor, "windows extent size"]:
        """Share of each pixel of each window's square in each pixel of the axis, as `tiling.blend` takes it.

        Args:
            hill: Weights of the pixels of a tile, which count less towards its edge.
        """
        size_px = hill.shape[0]
        centres = (self.places[:, :, None] + 0.5) * (size_px / self.side)
        reach = (size_px / self.side).clamp(min=1)
        shares = _triangle(torch.arange(size_px, dtype=torch.float64) - centres, reach)
        shares = shares / shares.sum(2, keepdim=True).clamp(min=1e-12) * self.inside[:, :, None]
        if self.is_tiled:
            shares = shares * torch.where(self.is_whole, 1.0, hill.double())
            shares = shares / shares.sum((0, 2), keepdim=True)
        return shares.float()


def _triangle(distances: Tensor, reach: Tensor) -> Tensor:
    """Weights of pixels by the distance of their first edge from a centre."""
    return (1 - (distances + 0.5).abs() / reach).clamp(min=0)


def scaled(image: Float32[Tensor, "N 1 H W"], normalisation: Normalisation) -> Float32[Tensor, "N 1 H W"]:
    """Scale each image to [0, 1] as `normalisation.apply` does it; a constant image becomes 0."""
    values = image.double()  # as there: float32 cannot hold the difference of two extreme values
    if normalisation.low is not None and normalisation.high is not None:
        return ((values - normalisation.low) / (normalisation.high - normalisation.low)).clamp(0, 1).float()
    low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
    if normalisation.kind == "percentile":
        lower, upper = _percentiles(values.flatten(1))
        has_both = (lower < upper)[:, :, None, None]
        low = torch.where(has_both, lower[:, :, None, None], low)
        high = torch.where(has_both, upper[:, :, None, None], high)
    if normalisation.shared is not None:
        low, high = _widened(normalisation.shared, low, high, values)
    varies = low < high
    shares = (values - low) / torch.where(varies, high - low, 1.0)
    return torch.where(varies, shares, 0.0).clamp(0, 1).float()


def _widened(
    shared: SharedScale, low: Float64[Tensor, "N 1 1 1"], high: Float64[Tensor, "N 1 1 1"], values: Tensor
) -> tuple[Float64[Tensor, "N 1 1 1"], Float64[Tensor, "N 1 1 1"]]:
    """Range of each image on the scale of the examples, as `SharedScale.widened` finds it."""
    stretched = [(low + least * (high - low), low + most * (high - low)) for least, most in shared.shares]
    is_alike = (low < high) & _are_among(values, stretched)
    is_on_it = ~is_alike & _are_among(values, shared.quartiles)
    ends = (low.clamp(max=shared.low), low), (high.clamp(min=shared.high), high)
    return torch.where(is_on_it, *ends[0]), torch.where(is_on_it, *ends[1])


def _are_among(values: Tensor, quartiles: Sequence[tuple[Any, Any]]) -> Bool[Tensor, "N 1 1 1"]:
    """Whether each quartile of the grey values of images lies between two values."""
    is_among = torch.ones_like(values[:, :1, :1, :1], dtype=torch.bool)
    for share, (least, most) in zip(QUARTILES, quartiles, strict=True):
        below, up_to = ((values < least).double(), (values <= most).double())
        is_among = is_among & (below.mean((1, 2, 3), keepdim=True) <= share)
        is_among = is_among & (up_to.mean((1, 2, 3), keepdim=True) >= share)
    return is_among


def _percentiles(values: Float64[Tensor, "N pixels"]) -> tuple[Float64[Tensor, "N 1"], Float64[Tensor, "N 1"]]:
    """Percentiles of the positive values of each image, or of all where many are negative or none is positive."""
    many_negative = (values < 0).double().mean(1, keepdim=True) > FEW_NEGATIVE
    counted = (values > 0) | many_negative | (values.amax(1, keepdim=True) <= 0)
    ascending = torch.where(counted, values, torch.inf).sort(dim=1).values
    last = counted.sum(1, keepdim=True).double() - 1

    def at(percentile: float) -> Tensor:
        place = last * (percentile / 100)
        below, above = (ascending.gather(1, each.long()) for each in (place.floor(), place.ceil()))
        return below + (above - below) * (place - place.floor())

    return at(PERCENTILES[0]), at(PERCENTILES[1])


def _layers(log_odds: Float[Tensor, "N C H W"], overlap: bool) -> Bool[Tensor, "N C H W"]:
    """The masks of all classes, each in a layer of its own, of many images; see `Classes.layers`."""
    best = log_odds if overlap else log_odds.amax(1, keepdim=True)
    return (log_odds > 0) & (log_odds == best)
