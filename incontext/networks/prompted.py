"""The prompted network: it corrects what a support-once network answers by clicks, scribbles and boxes on the query."""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from incontext.networks.geodesic import geodesic_distances
from incontext.networks.layers import check_groups, check_sizes
from incontext.networks.stages import Stage
from incontext.networks.support_code import SupportCode
from incontext.networks.support_once import SupportOnceNet, check_queries, check_sides

INSIDE, OUTSIDE, BOX = range(3)
"""Maps of prompts: pixels that are said to be inside, pixels that are said to be outside, and the filled box."""
REACH_PX = 8
"""Distance in pixels beyond which a prompt does not act by itself."""
NEAR_PX = 4.0
"""Standard deviation in pixels of the maps that tell how near the next prompt is."""
LEAST_SAID = 2.0
"""Least log-odds, of either sign, that a pixel has if it was prompted."""
STEP_COSTS = (0.02, 4.0, 2.0, 2.0)
"""Costs of a step to a neighbour before training: of any, and of unit changes of grey value, mask and features."""
COMPARED = 3
"""Number of stages, from the finest on, whose pixels are compared with those that were prompted."""


@dataclass(frozen=True)
class PromptedConfig:
    """Shape of a prompted network.

    It stands beside a support-once network, whose features it reads, and works at the strides of that one's stages.
    """

    read_channels: tuple[int, ...] = (24, 48, 96, 128, 128)
    """Channels per stage of the support-once network, fine to coarse."""
    channels: tuple[int, ...] = (16, 32, 64, 96, 96)
    """Channels per stage of this one."""
    stem_px: int = 2
    """Side of the patch that the stem folds into channels, as in the support-once network."""
    matched_channels: int = 16
    """Channels of the features in which pixels are compared with those that were prompted."""
    heads: int = 4
    """Heads of the attention by which a prompt acts on all places that look like it."""
    head_channels: int = 16
    """Channels of every head."""
    groups: int = 4
    """Groups of every GroupNorm."""
    geodesic: bool = False
    """Whether the finer stages see how near each pixel is to the prompts along paths that avoid edges."""

    def __post_init__(self) -> None:
        names = ("read_channels", "channels", "stem_px", "matched_channels", "heads", "head_channels", "groups")
        check_sizes(**{name: getattr(self, name) for name in names})
        if len(self.channels) != len(self.read_channels) or len(self.channels) < COMPARED:
            msg = (
                f"channels do not fit read_channels: expected as many, {COMPARED} at least, got {len(self.channels)} "
                f"and {len(self.read_channels)}. Name a number of channels for each stage."
            )
            raise ValueError(msg)
        check_groups(self.channels, self.groups)

    @property
    def stride_px(self) -> int:
        """Stride of the coarsest tokens; image sides must be multiples of it."""
        return int(self.stem_px * 2 ** (len(self.channels) - 1))


class Reading(NamedTuple):
    """Knowledge of a support-once network about queries, before and after it reads their support.

    `automatic` are the logits that it gives, (N, 1, H, W), 0 where there is no support. `stages` are the features of
    the queries beside those that its decoder made of them and of the support, fine to coarse, (N, 2·C, h, w); the
    latter are 0 where there is no support. `supported` tells where there is one, (N, 1, 1, 1), in {0, 1}.
    """

    images: Float[Tensor, "N 1 H W"]
    automatic: Float[Tensor, "N 1 H W"]
    stages: tuple[Tensor, ...]
    supported: Float[Tensor, "N 1 1 1"]

    @property
    def is_alone(self) -> bool:
        """Whether no query has a support, so that each becomes its own: see `answer`."""
        return not self.supported.any()


def read(network: SupportOnceNet, images: Float[Tensor, "N 1 H W"], code: SupportCode | None = None) -> Reading:
    """Read queries once, for all prompts that follow.

    Args:
        network: The network that the prompted one was trained beside.
        images: Queries, in [0, 1]; the N / B queries of each of B support sets follow one another.
        code: Code of their support sets, or None for queries without any example.

    Raises:
        ValueError: If the queries do not divide among the support sets, differ from them in size, or have a side that
            is no multiple of the network's stride.
    """
    if code is not None:
        check_queries(images, code)
    check_sides(images, network.config)
    return reading_of(network, images, network.features(images), code)


def reading_of(network: SupportOnceNet, images: Tensor, features: list[Tensor], code: SupportCode | None) -> Reading:
    """Read queries of which the features are known already."""
    if code is None:
        automatic, decoded = torch.zeros_like(images), [torch.zeros_like(each) for each in features]
    else:
        automatic, decoded = network.decode_stages(features, code)
    stages = tuple(torch.cat(pair, 1) for pair in zip(features, decoded, strict=True))
    return Reading(images, automatic, stages, images.new_full((len(images), 1, 1, 1), code is not None))


class Begun(NamedTuple):
    """A reading, and what the prompted network makes of it without any prompt: it is the same for all that follow."""

    reading: Reading
    entering: tuple[Tensor, ...]
    """Features that enter each stage."""
    matched: tuple[Tensor, ...]
    """Features of unit length, in which pixels are compared."""
    alike: Float[Tensor, "N heads T T"]
    """Share of each token of the attended stage in what another reads, over the last axis."""


def answer(
    network: SupportOnceNet,
    prompted: "PromptedNet",
    begun: Begun,
    maps: Float[Tensor, "N 3 H W"],
    previous: Float[Tensor, "N 1 H W"] | None = None,
) -> Float[Tensor, "N 1 H W"]:
    """Logits of queries, given all prompts so far, by a prompted network and the one that it stands beside.

    A query without support becomes its own: the other network reads the mask that the prompts yield as its label, finds
    what looks like it, and that is corrected by the prompts once more. See docs/findings.md on what it gains.

    Args:
        network: The network that has read the queries.
        prompted: The network that corrects it.
        begun: The queries, all of which have a support, or none.
        maps: Prompts in {0, 1}: see `INSIDE`, `OUTSIDE` and `BOX`.
        previous: Logits before the latest prompts; by default those without any prompt.
    """
    found = prompted.refine(begun, maps, previous)
    reading = begun.reading
    if not reading.is_alone:
        return found
    features = [stage.chunk(2, 1)[0] for stage in reading.stages]
    code = network.encode_features(features, (found > 0).to(found)[:, None])
    again = prompted.begin(reading_of(network, reading.images, features, code))
    return torch.where(said(maps), prompted.refine(again, maps, found), found)


def said(maps: Float[Tensor, "N 3 H W"]) -> Bool[Tensor, "N 1 1 1"]:
    """Whether anything is said about each query."""
    return maps.flatten(1).any(1)[:, None, None, None]


class PromptedNet(nn.Module):
    """Network that corrects the logits of a support-once network by prompts on the query, at the price of a decoder.

    A U-Net of few channels sees the image, the prompts, the mask before them, and the features that the other network
    has computed of the query and of what it read from the support. Four ways lead from a prompt to the mask: a bump of
    log-odds around every prompted pixel; at the finer stages the similarity of each pixel to those that were prompted,
    and how near it is to them along paths that avoid edges; and attention at a coarser one, which lets a place read
    from all that look like it. For a further prompt nothing but the U-Net is computed again. Queries without prompts
    keep the other network's logits, bit by bit.

    Source:
        Prompts beside a support: MultiverSeg (Wong et al., ICCV 2025). Their maps: ScribblePrompt (Wong et al., 2024).
        Distances along paths: DeepIGeoS (Wang et al., TPAMI 2019).
    """

    def __init__(self, config: PromptedConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PromptedConfig()
        widths, inner = config.channels, config.heads * config.head_channels
        pairs = list(zip(config.read_channels, widths, strict=True))
        self.enter = nn.ModuleList(nn.Conv2d(2 * read, width, 1) for read, width in pairs)
        self.match = nn.ModuleList(nn.Conv2d(2 * read, config.matched_channels, 1) for read, _ in pairs[:COMPARED])
        compared = 4 if config.geodesic else 2
        # image, two maps of prompts and of nearness, box, two masks, whether there is a support
        from_above = (9 * config.stem_px**2, *(width + 3 for width in widths[:-1]))
        self.encoder = nn.ModuleList(
            Stage(above + width + compared * (level < COMPARED), width, config.groups)
            for level, (above, width) in enumerate(zip(from_above, widths, strict=True))
        )
        attended = COMPARED - 1
        self.query_key = nn.Conv2d(2 * config.read_channels[attended], 2 * inner, 1)
        self.log_temperature = nn.Parameter(torch.full((config.heads, 1, 1), 2.0))
        self.value = nn.Conv2d(widths[attended], inner, 1)
        self.mix = nn.Conv2d(inner, widths[attended], 1)
        self.rising = nn.ModuleList(nn.Conv2d(below, here, 1) for here, below in itertools.pairwise(widths))
        self.decoder = nn.ModuleList(Stage(2 * width, width, config.groups) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], config.stem_px**2, 1)
        if config.geodesic:
            self.log_costs = nn.Parameter(torch.tensor([STEP_COSTS] * COMPARED).log())
        self.bump = nn.Parameter(torch.full((), 4.0))
        self.log_bump_px = nn.Parameter(torch.full((), 2.0).log())
        for silent in (self.mix, self.head):
            nn.init.zeros_(silent.weight)
            assert silent.bias is not None
            nn.init.zeros_(silent.bias)
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)

    def begin(self, reading: Reading) -> Begun:
        """Compute what does not depend on prompts."""
        stages = reading.stages
        entering = tuple(enter(stage) for enter, stage in zip(self.enter, stages, strict=True))
        pairs = zip(self.match, stages[:COMPARED], strict=True)
        matched = tuple(F.normalize(match(stage), dim=1) for match, stage in pairs)
        return Begun(reading, entering, matched, self._shares(stages[COMPARED - 1]))

    def refine(
        self, begun: Begun, maps: Float[Tensor, "N 3 H W"], previous: Float[Tensor, "N 1 H W"] | None = None
    ) -> Float[Tensor, "N 1 H W"]:
        """Logits of the queries, given all prompts so far.

        Pixels that were prompted are on the side that was said, by log-odds of at least `LEAST_SAID`.

        Args:
            begun: The queries.
            maps: Prompts in {0, 1}: see `INSIDE`, `OUTSIDE` and `BOX`.
            previous: Logits before the latest prompts; by default those without any prompt.
        """
        corrected = obeying(self.correct(begun, maps, previous), maps)
        return torch.where(said(maps), corrected, begun.reading.automatic)

    def correct(self, begun: Begun, maps: Tensor, previous: Tensor | None = None) -> Tensor:
        """Logits of the queries before prompted pixels are made to obey: what the network has learned."""
        reading = begun.reading
        squares = squared_distances(maps[:, :BOX])
        masks = [(reading.automatic if each is None else each).sigmoid() - 0.5 for each in (None, previous)]
        seen = [reading.images - 0.5, maps, (squares / (-2 * NEAR_PX**2)).exp(), *masks]
        full = torch.cat([*seen, reading.supported.expand_as(reading.images)], 1)
        here = F.pixel_unshuffle(full, self.config.stem_px)
        stages: list[Tensor] = []
        shown = torch.cat([reading.images, masks[-1]], 1)
        for level, (stage, entering) in enumerate(zip(self.encoder, begun.entering, strict=True)):
            pooled = self._pooled(maps, level, entering)
            above = [F.avg_pool2d(here, 2), pooled] if level else [here]
            compared = self._compared(begun.matched, level, pooled, shown)
            here = stage(torch.cat([*above, entering, *compared], 1))
            if level == COMPARED - 1:
                here = here + self._alike(begun.alike, here)
            stages.append(here)
        for level in reversed(range(len(self.decoder))):
            risen = F.interpolate(self.rising[level](here), scale_factor=2, mode="bilinear")
            here = self.decoder[level](torch.cat([risen, stages[level]], 1))
        bumps = (squares / (-2 * (2 * self.log_bump_px).exp())).exp()
        bump = self.bump * (bumps[:, INSIDE, None] - bumps[:, OUTSIDE, None])
        return reading.automatic + F.pixel_shuffle(self.head(here), self.config.stem_px) + bump

    def _shares(self, stage: Tensor) -> Tensor:
        """Share of each token in what another reads: see `Begun`."""
        pattern = "N (two heads C) h w -> two N heads (h w) C"
        both = rearrange(self.query_key(stage), pattern, two=2, heads=self.config.heads)
        query, key = F.normalize(both, dim=-1)
        alike: Tensor = (query * self.log_temperature.clamp(max=4.5).exp()) @ key.mT
        return alike.softmax(-1)

    def _pooled(self, maps: Tensor, _level: int, entering: Tensor) -> Tensor:
        """Prompts at the resolution of a stage, of which the features that enter it are given."""
        return F.adaptive_max_pool2d(maps, entering.shape[-2:])

    def _compared(self, matched: tuple[Tensor, ...], level: int, maps: Tensor, shown: Tensor) -> list[Tensor]:
        """Likeness of each pixel of a stage to the prompts, and nearness along paths; nothing at coarser stages."""
        if level >= COMPARED:
            return []
        likeness = _similarity(matched[level], maps)
        if not self.config.geodesic:
            return [likeness]
        height, width = maps.shape[-2:]
        steps = step_costs(self.log_costs[level].exp(), F.adaptive_avg_pool2d(shown, (height, width)), matched[level])
        return [likeness, (-geodesic_distances(maps[:, :BOX], *steps)).exp()]

    def _alike(self, alike: Tensor, features: Tensor) -> Tensor:
        """Values that each token reads from those that look like it."""
        values = rearrange(self.value(features), "N (heads C) h w -> N heads (h w) C", heads=self.config.heads)
        height, width = features.shape[-2:]
        mixed: Tensor = self.mix(rearrange(alike @ values, "N heads (h w) C -> N (heads C) h w", h=height, w=width))
        return mixed


def obeying(logits: Float[Tensor, "N 1 H W"], maps: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 1 H W"]:
    """Logits of which prompted pixels are on the side that was said, by `LEAST_SAID` at least."""
    logits = torch.where(maps[:, INSIDE, None] > 0, logits.clamp(min=LEAST_SAID), logits)
    return torch.where(maps[:, OUTSIDE, None] > 0, logits.clamp(max=-LEAST_SAID), logits)


def squared_distances(maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Squared distance in pixels to the nearest pixel of each map; at least `(REACH_PX + 1)**2` beyond its reach."""
    far = float((REACH_PX + 1) ** 2)
    squares = torch.where(maps > 0, 0.0, far)
    for axis in (-1, -2):
        padding = (REACH_PX, REACH_PX, 0, 0) if axis == -1 else (0, 0, REACH_PX, REACH_PX)
        padded = F.pad(squares, padding, value=far)
        for offset in range(-REACH_PX, REACH_PX + 1):
            shifted = padded.narrow(axis, REACH_PX + offset, squares.shape[axis])
            squares = torch.minimum(squares, shifted + offset**2)
    return squares


def step_costs(
    costs: Float[Tensor, "4"], shown: Float[Tensor, "N 2 h w"], matched: Float[Tensor, "N C h w"]
) -> list[Tensor]:
    """Costs of the steps between neighbours in columns and in rows: see `STEP_COSTS`.

    Args:
        costs: Cost of any step, and of changes of grey value, of the mask before and of features.
        shown: Grey values, and probabilities of the mask before.
        matched: Features of unit length.
    """
    steps = []
    for axis in (-2, -1):
        one, other, here, there = (
            each.narrow(axis, start, each.shape[axis] - 1) for each in (shown, matched) for start in (0, 1)
        )
        changes = torch.cat([(one - other).abs(), 1 - (here * there).sum(1, keepdim=True)], 1)
        steps.append(costs[0] + torch.einsum("k,nkhw->nhw", costs[1:], changes)[:, None])
    return steps


def _similarity(matched: Float[Tensor, "N C h w"], maps: Float[Tensor, "N 3 h w"]) -> Float[Tensor, "N 2 h w"]:
    """Cosine similarity of each pixel to the mean of those prompted inside, and outside; 0 where none was."""
    sums = torch.einsum("nchw,nkhw->nkc", matched, maps[:, :BOX])
    return torch.einsum("nchw,nkc->nkhw", matched, F.normalize(sums, dim=-1))
