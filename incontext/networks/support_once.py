"""The support-once network: the support set is encoded once, and every query reads it."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

PATCH_PX = 8  # a label patch holds 8×8 values at every attended stage
POSITION_CHANNELS = 16


@dataclass(frozen=True)
class SupportOnceConfig:
    """Shape of a support-once network.

    Stage i works at a stride of `stem_px * 2**i` pixels. Coarse stages read the support by attention; fine ones compare
    their pixels with foreground and background prototypes and with a classifier fitted to the support.
    """

    channels: tuple[int, ...] = (24, 48, 96, 128, 128)
    """Channels per stage, fine to coarse."""
    stem_px: int = 2
    """Side of the patch that the stem folds into channels: 2 makes 128×128 cost what 64×64 does."""
    attend_from_px: int = 8
    """Stride from which stages are coarse: 8 or 16 pixels."""
    support_pool: int = 2
    """Support tokens of the finest coarse stage are averaged over so many by so many; 2 makes reading cost a fourth."""
    positions: bool = True
    """Whether attention knows where a token lies, beside what is there."""
    heads: int = 3
    """Attention heads per attended stage, beside the one per fine stage that fetches its prototypes."""
    head_channels: int = 32
    """Channels of every head, an even number; equal for queries, keys and values, so that the fused attention applies.

    A head that fetches prototypes halves them: foreground and background, each with its share of the cell.
    """
    groups: int = 4
    """Groups of every GroupNorm."""
    fitted_channels: int = 24
    """Features per fine stage that a linear classifier, fitted to the support, tells foreground by; 0 for none."""
    second_fit: bool = True
    """Whether fine stages also fit one to the query itself and what the coarse stages guess to be its foreground."""

    def __post_init__(self) -> None:
        if self.stem_px not in (1, 2, 4):
            msg = f"stem_px is unusable: expected 1, 2 or 4, got {self.stem_px}. Use 2 for 128×128 images."
            raise ValueError(msg)
        if self.attend_from_px not in (8, 16):
            msg = f"attend_from_px is unusable: expected 8 or 16, got {self.attend_from_px}. Use 8 for 128×128 images."
            raise ValueError(msg)
        if self.support_pool not in (1, 2):
            msg = f"support_pool is unusable: expected 1 or 2, got {self.support_pool}. Use 2."
            raise ValueError(msg)
        if len(self.channels) <= self.fine_stages:
            msg = (
                f"channels describe too few stages: expected more than {self.fine_stages}, got {len(self.channels)}. "
                f"Add coarser stages: those with a stride from {self.attend_from_px} pixels on read the support."
            )
            raise ValueError(msg)
        if self.head_channels < 4 or self.head_channels % 2:
            msg = f"head_channels is unusable: expected an even number from 4, got {self.head_channels}. Change it."
            raise ValueError(msg)
        if self.second_fit and not self.fitted_channels:
            msg = "second_fit has nothing to fit: expected fitted_channels above 0, got 0. Set second_fit to false."
            raise ValueError(msg)
        if any(width % self.groups for width in self.channels):
            msg = (
                f"channels do not divide into groups: expected multiples of {self.groups}, got {self.channels}. "
                "Change channels or groups."
            )
            raise ValueError(msg)

    @property
    def fine_stages(self) -> int:
        """Stages at a stride below that of attention."""
        return (self.attend_from_px // self.stem_px).bit_length() - 1

    @property
    def stride_px(self) -> int:
        """Stride of the coarsest tokens; image sides must be multiples of it."""
        return max(self.stem_px * 2 ** (len(self.channels) - 1), self.attend_from_px * self.support_pool)


@dataclass(frozen=True)
class SupportCode:
    """All that a query needs to know of a support set, in the form in which it is read."""

    keys: tuple[Tensor, ...]
    """Per attended stage, the support tokens' keys (B, heads, S·T, head_channels)."""
    values: tuple[Tensor, ...]
    """Per attended stage, what is read where a key matches: same shapes as the keys."""
    prototypes: tuple[Tensor, ...]
    """Per fine stage, mean foreground and background features of the whole support (B, 2, C)."""
    moments: tuple[Tensor, ...]
    """Per fine stage, all that a linear classifier is fitted from (B, 2, C + 1, C + 1 + targets); see `FittedRead`."""
    mean_label: Tensor
    """The support labels' mean at each place (B, 1, H, W)."""


@dataclass(frozen=True)
class ImageCodes:
    """What each labelled image contributes to a support code; every tensor opens with (B, S)."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    prototypes: tuple[Tensor, ...]
    moments: tuple[Tensor, ...]
    labels: Tensor

    def pooled(self) -> SupportCode:
        """Merge the images of each set; nothing remembers their order."""
        merge = "B S heads T C -> B heads (S T) C"
        return SupportCode(
            keys=tuple(rearrange(key, merge) for key in self.keys),
            values=tuple(rearrange(value, merge) for value in self.values),
            prototypes=tuple(F.normalize(p.mean(1), dim=-1) for p in self.prototypes),
            moments=tuple(m.mean(1) for m in self.moments),
            mean_label=self.labels.mean(1),
        )

    def leaving_one_out(self, count: int) -> "ImageCodes":
        """For each of the first `count` images the codes of all others, as sets of their own: (B·count, S - 1, ...)."""

        def regroup(value: Tensor) -> Tensor:
            # Slices rather than an index, whose gradient is many times slower to gather.
            others = [torch.cat([value[:, :i], value[:, i + 1 :]], dim=1) for i in range(count)]
            return torch.stack(others, dim=1).flatten(0, 1)

        return self._map(regroup)

    @classmethod
    def joined(cls, parts: Sequence["ImageCodes"]) -> "ImageCodes":
        """The images of several as one set."""

        def join(each: Iterable[Tensor]) -> Tensor:
            return torch.cat(list(each), dim=1)

        return cls(
            keys=tuple(map(join, zip(*(part.keys for part in parts), strict=True))),
            values=tuple(map(join, zip(*(part.values for part in parts), strict=True))),
            prototypes=tuple(map(join, zip(*(part.prototypes for part in parts), strict=True))),
            moments=tuple(map(join, zip(*(part.moments for part in parts), strict=True))),
            labels=join(part.labels for part in parts),
        )

    def select(self, places: Int[Tensor, "sets size"]) -> "ImageCodes":
        """Form support sets from the images of one set (1, S, ...), each named by their places in it."""
        return self._map(lambda value: value[0, places])

    def _map(self, change: Callable[[Tensor], Tensor]) -> "ImageCodes":
        return ImageCodes(
            keys=tuple(map(change, self.keys)),
            values=tuple(map(change, self.values)),
            prototypes=tuple(map(change, self.prototypes)),
            moments=tuple(map(change, self.moments)),
            labels=change(self.labels),
        )


class ConvUnit(nn.Sequential):
    """3×3 convolution, GroupNorm, SiLU."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(groups, out_channels),
            nn.SiLU(),
        )


class Stage(nn.Module):
    """Two convolution units, the second one residual."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.enter = ConvUnit(in_channels, out_channels, groups)
        self.refine = ConvUnit(out_channels, out_channels, groups)

    def forward(self, features: Float[Tensor, "N C H W"]) -> Float[Tensor, "N out H W"]:
        """Mix and refine features at one resolution."""
        features = self.enter(features)
        return features + self.refine(features)


class TokenMatch(nn.Module):
    """Queries and keys of cosine attention, with a learned temperature per head.

    A key knows its token's place and label patch beside its features, so a head may prefer labelled or nearby tokens.
    """

    def __init__(self, channels: int, heads: int, config: SupportOnceConfig) -> None:
        super().__init__()
        self.heads = heads
        self.positions = config.positions
        known = channels + (POSITION_CHANNELS if config.positions else 0)
        self.query = nn.Conv2d(known, heads * config.head_channels, 1)
        self.key = nn.Conv2d(known + PATCH_PX**2, heads * config.head_channels, 1)
        self.log_temperature = nn.Parameter(torch.full((heads, 1, 1), 2.0))

    def queries(self, features: Tensor) -> Tensor:
        """Unit vectors times the temperature, (B, heads, T, head_channels), for features (B, C, h, w)."""
        queries = self._split(self.query(self._placed(features)))
        return queries * self.log_temperature.clamp(max=4.5).exp()

    def keys(self, features: Tensor, patches: Tensor) -> Tensor:
        """Unit vectors (B, heads, T, head_channels) of labelled tokens."""
        return self._split(self.key(torch.cat([self._placed(features), patches], 1)))

    def _placed(self, features: Tensor) -> Tensor:
        return torch.cat([features, positions_like(features)], 1) if self.positions else features

    def _split(self, tokens: Tensor) -> Tensor:
        # Contiguous, since the fused attention of the CPU refuses anything else.
        tokens = rearrange(tokens, "B (heads C) h w -> B heads (h w) C", heads=self.heads).contiguous()
        return F.normalize(tokens, dim=-1)


class FittedRead(nn.Module):
    """A linear classifier of fine pixels, fitted to the support in closed form and applied to the query.

    Prototypes compare a pixel with means; a fit also knows how features vary and occur together, which is what tells
    thin structures from all that looks nearly like them. Foreground and background weigh the same. A fit needs all
    digits, so mixed precision stops here.

    Args:
        channels: Of the stage.
        fitted_channels: What they are reduced to before the fit.
        parts: Each pixel of the stage predicts the labels of its `parts` × `parts` parts.

    Source:
        Ridge regression as a layer: Bertinetto et al., Meta-learning with differentiable closed-form solvers, 2019.
    """

    MASS = 1e-4
    """Share of pixels below which a kind fades out of the fit instead of counting as much as the other."""

    def __init__(self, channels: int, fitted_channels: int, parts: int = 2) -> None:
        super().__init__()
        self.parts = parts
        self.project = nn.Conv2d(channels, fitted_channels, 1)
        self.log_ridge = nn.Parameter(torch.tensor(-4.0))

    @torch.autocast("cuda", enabled=False)
    def inputs(self, features: Tensor) -> Tensor:
        """What a fit sees of each pixel: its projected features and a constant, (N, C + 1, h, w)."""
        projected = self.project(features.float())
        return torch.cat([projected, torch.ones_like(projected[:, :1])], 1)

    @torch.autocast("cuda", enabled=False)
    def moments(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Products of a pixel's inputs with inputs and targets, averaged over an image's fore- and background.

        Shapes: inputs (N, C + 1, h, w), labels (N, 1, H, W) -> (N, 2, C + 1, C + 1 + targets).
        """
        height, width = inputs.shape[-2:]
        targets = _pooled_to(labels, (height * self.parts, width * self.parts))
        label = _pooled_to(labels, (height, width)).flatten(1)
        pixels = inputs.flatten(2)
        both = torch.cat([pixels, 2 * F.pixel_unshuffle(targets, self.parts).flatten(2) - 1], 1)
        weights = torch.stack([label, 1 - label], 1) / label.shape[-1]
        return torch.einsum("nkp,ncp,ndp->nkcd", weights, pixels, both)

    @torch.autocast("cuda", enabled=False)
    def forward(self, inputs: Tensor, moments: Tensor) -> Tensor:
        """Scores (N, targets, h, w) near 1 in the foreground and -1 in the background, from pooled moments."""
        channels = inputs.shape[1]
        masses = moments[:, :, -1, channels - 1, None, None]
        balanced = (moments / (masses + self.MASS)).mean(1)
        gram, target = balanced.split([channels, balanced.shape[-1] - channels], dim=-1)
        ridge = self.log_ridge.exp() * gram.diagonal(dim1=-2, dim2=-1).mean(-1)
        identity = torch.eye(channels, device=gram.device)
        weights = torch.linalg.solve(gram + ridge[:, None, None] * identity, target)
        scores = torch.einsum("bct,bqcp->bqtp", weights, inputs.flatten(2).unflatten(0, (len(weights), -1)))
        return scores.flatten(0, 1).unflatten(-1, inputs.shape[-2:])


class SupportOnceNet(nn.Module):
    """In-context segmentation with one pass over the support, however many queries follow.

    One encoder serves query and support. Coarse query tokens attend to all support tokens and bring back features with
    the label pixels that lie under them. Fine query pixels are compared with two kinds of foreground and background
    prototypes: those of the whole support, and those fetched by attention from the support tokens that look like the
    surroundings; and linear classifiers tell them apart, one fitted to the support, one to the query and a first guess.
    A U-Net decoder fuses the stages, and what its fine stages find is added to that guess.

    Both kinds of reading are means over the support (softmax attention is a weighted one), hence its order is
    irrelevant and duplicating the whole support changes nothing.

    Source:
        After the cross-blocks of UniverSeg (Butoi et al., ICCV 2023), with the query taken out of the support stream.
    """

    def __init__(self, config: SupportOnceConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SupportOnceConfig()
        widths, fine = config.channels, config.fine_stages
        read_channels = config.heads * config.head_channels
        entering = (config.stem_px**2, *widths[:-1])
        self.encoder = nn.ModuleList(
            Stage(before, after, config.groups) for before, after in zip(entering, widths, strict=True)
        )
        self.matches = nn.ModuleList(
            TokenMatch(width, config.heads + (fine if i == 0 else 0), config) for i, width in enumerate(widths[fine:])
        )
        self.values = nn.ModuleList(nn.Conv2d(width + PATCH_PX**2, read_channels, 1) for width in widths[fine:])
        self.contrasts = nn.ModuleList(nn.Conv2d(width, config.head_channels // 2 - 1, 1) for width in widths[:fine])
        parts = [min(2, config.stem_px * 2**level) for level in range(fine if config.fitted_channels else 0)]
        self.fits = nn.ModuleList(FittedRead(widths[i], config.fitted_channels, part) for i, part in enumerate(parts))
        fitted = [part**2 + (part**2 + 1 if config.second_fit else 0) for part in parts] or [0] * fine
        read = [5 + extra for extra in fitted] + [read_channels] * (len(widths) - fine)
        self.rising = nn.ModuleList(nn.Conv2d(below, here, 1) for here, below in itertools.pairwise(widths))
        from_below = (*widths[:-1], 0)
        self.decoder = nn.ModuleList(
            Stage(below + width + extra + 1, width, config.groups)
            for below, width, extra in zip(from_below, widths, read, strict=True)
        )
        self.head = nn.Conv2d(widths[0], config.stem_px**2, 1)
        if config.second_fit:
            self.guess = nn.Conv2d(widths[fine], config.attend_from_px**2, 1)
        # The layout that CPU convolutions are fastest in; maps take it over from the weights.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Float[Tensor, "B 1 H W"]:
        """Logits of one query per support set; images in [0, 1], labels in {0, 1}, sides multiples of the stride."""
        return self.segment(query_images, self.encode_support(support_images, support_labels))

    def encode_support(
        self, support_images: Float[Tensor, "B S 1 H W"], support_labels: Float[Tensor, "B S 1 H W"]
    ) -> SupportCode:
        """Encode support sets, once for all queries.

        Raises:
            ValueError: If labels and images differ in shape, there are none, or a side is no multiple of the stride.
        """
        self._check(support_images, support_labels)
        features = self.features(rearrange(support_images, "B S one H W -> (B S) one H W"))
        return self._image_codes(features, support_labels).pooled()

    def encode_images(self, images: Float[Tensor, "S 1 H W"], labels: Float[Tensor, "S 1 H W"]) -> ImageCodes:
        """Encode labelled images once for all support sets that they are in: see `ImageCodes.select`.

        Raises:
            ValueError: As `encode_support` does.
        """
        self._check(images[None], labels[None])
        return self._image_codes(self.features(images), labels[None])

    def segment(self, query_images: Float[Tensor, "N 1 H W"], code: SupportCode) -> Float[Tensor, "N 1 H W"]:
        """Logits of N = B·Q queries for the codes of B support sets; the Q queries of a set follow one another.

        Raises:
            ValueError: If the queries do not divide among the support sets or differ from them in size.
        """
        check_queries(query_images, code)
        return self._decode(self.features(query_images), code)

    def leave_one_out(
        self, images: Float[Tensor, "B n 1 H W"], labels: Float[Tensor, "B n 1 H W"], queries: int | None = None
    ) -> Float[Tensor, "B queries 1 H W"]:
        """Logits of images with the n - 1 others as their support, at the price of encoding each image once.

        Equal to calls of `forward`; the way to train, since an encoded image also yields a loss.

        Args:
            images: Sets of images in [0, 1].
            labels: Their labels in {0, 1}.
            queries: How many images of a set, from the first, to segment; all by default.

        Raises:
            ValueError: If a set holds fewer than two images or than queries, or as `encode_support` does.
        """
        self._check(images, labels)
        sets, count = images.shape[:2]
        queries = count if queries is None else queries
        if count < 2 or not 1 <= queries <= count:
            msg = (
                f"images cannot be left out: expected at least 2 per set and 1 to {count} queries, got {count} images "
                f"and {queries} queries. Draw more images per task."
            )
            raise ValueError(msg)
        features = self.features(rearrange(images, "B n one H W -> (B n) one H W"))
        code = self._image_codes(features, labels).leaving_one_out(queries).pooled()
        asking = [stage.unflatten(0, (sets, count))[:, :queries].flatten(0, 1) for stage in features]
        return self._decode(asking, code).unflatten(0, (sets, queries))

    def _check(self, images: Tensor, labels: Tensor) -> None:
        if images.shape != labels.shape:
            msg = (
                f"support_labels do not match support_images: expected {tuple(images.shape)}, got "
                f"{tuple(labels.shape)}. Pass one label per support image."
            )
            raise ValueError(msg)
        if images.shape[1] == 0:
            msg = f"support_images are empty: expected S >= 1, got {tuple(images.shape)}. Label at least one image."
            raise ValueError(msg)
        check_sides(images, self.config)

    def features(self, images: Float[Tensor, "N 1 H W"]) -> list[Tensor]:
        """Features of every stage, fine to coarse."""
        features = F.pixel_unshuffle(images - 0.5, self.config.stem_px)
        stages = []
        for level, stage in enumerate(self.encoder):
            features = stage(F.avg_pool2d(features, 2) if level else features)
            stages.append(features)
        return stages

    def _image_codes(self, features: list[Tensor], labels: Tensor) -> ImageCodes:
        """Turn the features of labelled images (B·S, C, h, w) and their labels (B, S, 1, H, W) into codes."""
        fine, count = self.config.fine_stages, labels.shape[1]
        flat = rearrange(labels, "B S one H W -> (B S) one H W")
        coarse = [F.avg_pool2d(features[fine], self.config.support_pool), *features[fine + 1 :]]
        contrasts = [self._contrast(level, features[level], flat, coarse[0].shape[-2:]) for level in range(fine)]
        keys, values = [], []
        for level, (match, value) in enumerate(zip(self.matches, self.values, strict=True)):
            tokens = coarse[level]
            patches = label_patches(flat, tokens)
            read = rearrange(
                value(torch.cat([tokens, patches], 1)),
                "B (heads C) h w -> B heads (h w) C",
                heads=self.config.heads,
            )
            keys.append(cast(TokenMatch, match).keys(tokens, patches))
            values.append(torch.cat([read, *(cell for cell, _ in contrasts)], 1) if level == 0 else read)

        def per_set(tensors: list[Tensor]) -> tuple[Tensor, ...]:
            return tuple(rearrange(t, "(B S) ... -> B S ...", S=count) for t in tensors)

        fits = [cast(FittedRead, fit) for fit in self.fits]
        moments = [fit.moments(fit.inputs(features[level]), flat) for level, fit in enumerate(fits)]
        prototypes = [whole for _, whole in contrasts]
        return ImageCodes(per_set(keys), per_set(values), per_set(prototypes), per_set(moments), labels)

    def _contrast(self, level: int, features: Tensor, labels: Tensor, cells: torch.Size) -> tuple[Tensor, Tensor]:
        """Foreground and background features per cell, (N, 1, cells, 2·(C + 1)), and of the whole image, (N, 2, C).

        The last of each C + 1 channels is the share of the cell that is foreground or background.
        """
        matched = self._matched(level, features)
        label = _pooled_to(labels, features.shape[-2:])
        weights = torch.stack([label, 1 - label], 1)
        weighted = weights * torch.cat([matched, torch.ones_like(label)], 1)[:, None]
        pooled = reduce(weighted, "N kind C (h a) (w b) -> N kind C (h w)", "mean", h=cells[0], w=cells[1])
        whole = reduce(pooled[:, :, :-1], "N kind C cells -> N kind C", "mean")
        return rearrange(pooled, "N kind C cells -> N 1 cells (kind C)"), whole

    def _matched(self, level: int, features: Tensor) -> Tensor:
        return F.normalize(self.contrasts[level](features), dim=1)

    def _decode(self, features: list[Tensor], code: SupportCode) -> Tensor:
        fine = self.config.fine_stages
        attended = [self._attend(level, tokens, code) for level, tokens in enumerate(features[fine:])]
        attended[0], fetched = attended[0].tensor_split([self.config.heads * self.config.head_channels], 1)
        cells = rearrange(fetched, "N (level kind C) h w -> level N kind C h w", level=fine, kind=2)
        compared = [self._compare(level, features[level], cells[level], code) for level in range(fine)]
        reads = compared + attended
        risen: list[Tensor] = []
        guess = None
        for level in reversed(range(len(features))):
            here = features[level]
            place = _repeat(_pooled_to(code.mean_label, here.shape[-2:]), len(here))
            fitted = self._fit(level, here, guess, code) if level < len(self.fits) else []
            fused = self.decoder[level](torch.cat([*risen, here, reads[level], place, *fitted], 1))
            if level == fine and self.config.second_fit:
                guess = F.pixel_shuffle(self.guess(fused), self.config.attend_from_px)
            if level:
                risen = [F.interpolate(self.rising[level - 1](fused), scale_factor=2, mode="bilinear")]
        logits = F.pixel_shuffle(self.head(fused), self.config.stem_px)
        return logits if guess is None else logits + guess

    def _fit(self, level: int, features: Tensor, guess: Tensor | None, code: SupportCode) -> list[Tensor]:
        """Scores of the classifier fitted to the support, then of that fitted to the guess, and the guess itself."""
        fit = cast(FittedRead, self.fits[level])
        inputs = fit.inputs(features)
        scores = [fit(inputs, code.moments[level])]
        if guess is not None:
            found = guess.sigmoid()
            scores += [fit(inputs, fit.moments(inputs, found)), _pooled_to(found, features.shape[-2:])]
        return scores

    def _attend(self, level: int, tokens: Tensor, code: SupportCode) -> Tensor:
        """What the support holds where it looks like each query token, (N, heads·C, h, w)."""
        sets, (height, width) = len(code.mean_label), tokens.shape[-2:]
        match = cast(TokenMatch, self.matches[level])
        queries = rearrange(match.queries(tokens), "(B Q) heads T C -> B heads (Q T) C", B=sets)
        read = F.scaled_dot_product_attention(queries, code.keys[level], code.values[level], scale=1.0)
        return rearrange(read, "B heads (Q h w) C -> (B Q) (heads C) h w", h=height, w=width)

    def _compare(self, level: int, features: Tensor, fetched: Tensor, code: SupportCode) -> Tensor:
        """Cosine similarities to the cell's prototypes and to the support's, and the cell's expected label.

        Shapes: features (N, C', H, W), fetched (N, 2, C + 1, h, w) -> (N, 5, H, W).
        """
        matched = self._matched(level, features)
        scale = self.config.attend_from_px // (self.config.stem_px * 2**level)
        cellwise = rearrange(matched, "N C (h a) (w b) -> N C h a w b", a=scale, b=scale)
        nearby = torch.einsum("nchawb,nkchw->nkhawb", cellwise, F.normalize(fetched[:, :, :-1], dim=2))
        overall = torch.einsum("nchw,nkc->nkhw", matched, _repeat(code.prototypes[level], len(features)))
        expected = F.interpolate(fetched[:, 0, -1:], scale_factor=scale, mode="nearest")
        return torch.cat([nearby.flatten(4, 5).flatten(2, 3), overall, expected], 1)


def check_sides(images: Tensor, config: SupportOnceConfig) -> None:
    """Make sure that a network can take images of this size.

    Raises:
        ValueError: If a side is no multiple of its stride.
    """
    stride = config.stride_px
    if images.shape[-1] % stride or images.shape[-2] % stride:
        msg = (
            f"image size does not fit the network: expected sides divisible by {stride}, got "
            f"{tuple(images.shape[-2:])}. Resize or pad the images, as incontext.Segmenter does."
        )
        raise ValueError(msg)


def check_queries(query_images: Tensor, code: SupportCode) -> None:
    """Make sure that queries can be asked of the code of some support sets.

    Raises:
        ValueError: If they do not divide among the sets or differ from them in size.
    """
    sets = len(code.mean_label)
    if len(query_images) % sets or query_images.shape[2:] != code.mean_label.shape[2:]:
        msg = (
            f"query_images do not fit the support code: expected a multiple of {sets} images of "
            f"{tuple(code.mean_label.shape[2:])}, got {tuple(query_images.shape)}. "
            "Pass the same number of queries for each support set, on the support's grid."
        )
        raise ValueError(msg)


def label_patches(labels: Float[Tensor, "N 1 H W"], tokens: Float[Tensor, "N C h w"]) -> Float[Tensor, "N patch h w"]:
    """The label's pixels under each token, 8×8 of them, averaged where a token covers more."""
    height, width = tokens.shape[-2:]
    return F.pixel_unshuffle(_pooled_to(labels, (height * PATCH_PX, width * PATCH_PX)), PATCH_PX)


def positions_like(features: Float[Tensor, "N C h w"]) -> Float[Tensor, "N position h w"]:
    """Sines and cosines of each token's relative place, four octaves along either axis."""
    octaves = torch.pi * 2.0 ** torch.arange(POSITION_CHANNELS // 4, device=features.device, dtype=features.dtype)

    def waves(count: int) -> Tensor:
        places = (torch.arange(count, device=features.device, dtype=features.dtype) + 0.5) / count
        angles = octaves[:, None] * places
        return torch.cat([angles.sin(), angles.cos()])

    height, width = features.shape[-2:]
    rows, columns = waves(height)[:, :, None], waves(width)[:, None, :]
    grid = torch.cat([rows.expand(-1, -1, width), columns.expand(-1, height, -1)])
    return grid.expand(len(features), -1, -1, -1)


def _pooled_to(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Average labels (N, 1, H, W) over the windows that make up a grid dividing theirs."""
    return F.avg_pool2d(labels, (labels.shape[-2] // size[0], labels.shape[-1] // size[1]))


def _repeat(values: Tensor, count: int) -> Tensor:
    """Repeat each support set's values for its queries."""
    return values.repeat_interleave(count // len(values), 0)
