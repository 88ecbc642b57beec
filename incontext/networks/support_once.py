"""The support-once network: the support set is encoded once, and every query reads it."""

import itertools
from dataclasses import dataclass
from typing import cast

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from incontext.networks.layers import check_groups, check_sizes
from incontext.networks.stages import Stage
from incontext.networks.support_code import ImageCodes, SupportCode
from incontext.networks.support_reads import PATCH_PX, FittedRead, TokenMatch, label_patches
from incontext.networks.unknown import kinds, known_part, pooled_to


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
    """Side of the square of support tokens that the finest coarse stage averages; 2 makes reading cost a fourth."""
    positions: bool = True
    """Whether queries and keys of attention contain the position of their token beside its features."""
    heads: int = 3
    """Attention heads per attended stage, beside the one per fine stage that fetches its prototypes."""
    head_channels: int = 32
    """Channels of every head, an even number; equal for queries, keys and values, so that the fused attention applies.

    A head that fetches prototypes halves them: foreground and background, each with its share of the cell.
    """
    groups: int = 4
    """Groups of every GroupNorm."""
    fitted_channels: int = 24
    """Number of features per fine stage that a linear classifier is fitted to, by the support; 0 for no classifier."""
    second_fit: bool = True
    """Whether fine stages also fit a classifier to the query itself, labelled by the guess of the coarse stages."""

    def __post_init__(self) -> None:
        widths = {name: getattr(self, name) for name in ("channels", "heads", "head_channels", "groups")}
        check_sizes(**widths, fitted_channels=self.fitted_channels or 1)
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
        check_groups(self.channels, self.groups)

    @property
    def fine_stages(self) -> int:
        """Stages at a stride below that of attention."""
        return (self.attend_from_px // self.stem_px).bit_length() - 1

    @property
    def stride_px(self) -> int:
        """Stride of the coarsest tokens; image sides must be multiples of it."""
        return max(self.stem_px * 2 ** (len(self.channels) - 1), self.attend_from_px * self.support_pool)


class SupportOnceNet(nn.Module):
    """Network for in-context segmentation with one pass over the support, however many queries follow.

    One encoder serves query and support. Coarse query tokens attend to all support tokens and bring back features with
    the label pixels that lie under them. Fine query pixels are compared with two kinds of foreground and background
    prototypes: those of the whole support, and those fetched by attention from support tokens that are similar to the
    surroundings; and linear classifiers separate them, one fitted to the support, one to the query and a first guess.
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
            TokenMatch(width, config.heads + (0 if i else fine), config.head_channels, config.positions)
            for i, width in enumerate(widths[fine:])
        )
        self.values = nn.ModuleList(nn.Conv2d(width + PATCH_PX**2, read_channels, 1) for width in widths[fine:])
        self.contrasts = nn.ModuleList(nn.Conv2d(width, config.head_channels // 2 - 1, 1) for width in widths[:fine])
        parts = [min(2, config.stem_px * 2**level) for level in range(fine if config.fitted_channels else 0)]
        self.fits = nn.ModuleList(FittedRead(widths[i], config.fitted_channels, part) for i, part in enumerate(parts))
        # What decoder stages see of the support: see `_fit` and `_compare` for fine stages, `_attend` for coarse ones.
        fitted = [part**2 + (part**2 + 1 if config.second_fit else 0) for part in parts] or [0] * fine
        read = [5 + extra for extra in fitted] + [read_channels] * (len(widths) - fine)
        self.rising = nn.ModuleList(nn.Conv2d(below, here, 1) for here, below in itertools.pairwise(widths))
        from_below = (*widths[:-1], 0)
        self.decoder = nn.ModuleList(
            Stage(below + width + extra + 1, width, config.groups)
            for below, width, extra in zip(from_below, widths, read, strict=True)
        )
        self.head: nn.Module = nn.Conv2d(widths[0], config.stem_px**2, 1)
        if config.second_fit:
            self.guess = nn.Conv2d(widths[fine], config.attend_from_px**2, 1)
        # The layout that CPU convolutions are fastest in; maps take it over from the weights.
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)

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
        return self.encode_features(features, support_labels)

    def encode_features(self, features: list[Tensor], support_labels: Float[Tensor, "B S 1 H W"]) -> SupportCode:
        """Encode support sets of which the features (B·S, C, h, w) of every stage are known already."""
        return self._image_codes(features, support_labels).pooled()

    def encode_images(self, images: Float[Tensor, "S 1 H W"], labels: Float[Tensor, "S 1 H W"]) -> ImageCodes:
        """Encode labelled images once for all support sets that they are in: see `ImageCodes.select`.

        Raises:
            ValueError: If labels and images differ in shape, there are none, or a side is no multiple of the stride.
        """
        self._check(images[None], labels[None])
        return self._image_codes(self.features(images), labels[None])

    def segment(self, query_images: Float[Tensor, "N 1 H W"], code: SupportCode) -> Float[Tensor, "N 1 H W"]:
        """Logits of N = B·Q queries for the codes of B support sets; the Q queries of a set follow one another.

        Raises:
            ValueError: If the queries do not divide among the support sets or differ from them in size.
        """
        check_queries(query_images, code)
        return self.decode(self.features(query_images), code)

    def leave_one_out(
        self, images: Float[Tensor, "B n 1 H W"], labels: Float[Tensor, "B n 1 H W"], queries: int | None = None
    ) -> Float[Tensor, "B queries 1 H W"]:
        """Logits of images with the n - 1 others as their support, at the price of encoding each image once.

        Equal to calls of `forward`; the way to train, since an encoded image also yields a loss.

        Args:
            images: Sets of images in [0, 1].
            labels: Labels of the images, in {0, 1}.
            queries: Number of images of each set to segment, counted from the first; all by default.

        Raises:
            ValueError: If a set holds fewer than two images or than queries, or as `encode_support` does.
        """
        asking, code = self.left_out(images, labels, queries)
        return self.decode(asking, code).unflatten(0, (len(images), -1))

    def left_out(
        self, images: Float[Tensor, "B n 1 H W"], labels: Float[Tensor, "B n 1 H W"], queries: int | None = None
    ) -> tuple[list[Tensor], SupportCode]:
        """Features of the queries of `leave_one_out`, set by set, and the code of the support of each.

        Raises:
            ValueError: As `leave_one_out` does.
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
        return asking, code

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
        # Only the support's tokens are pooled, so that there are fewer to read; queries keep theirs.
        coarse = [F.avg_pool2d(features[fine], self.config.support_pool), *features[fine + 1 :]]
        known, cells = known_part(flat), coarse[0].shape[-2:]
        contrasts = [self._contrast(level, features[level], flat, known, cells) for level in range(fine)]
        keys, values = [], []
        for level, (match, value) in enumerate(zip(self.matches, self.values, strict=True)):
            tokens = coarse[level]
            patches = label_patches(flat, tokens, known)
            read = rearrange(
                value(torch.cat([tokens, patches], 1)),
                "B (heads C) h w -> B heads (h w) C",
                heads=self.config.heads,
            )
            keys.append(cast(TokenMatch, match).keys(tokens, patches))
            # On the finest coarse stage one more head per fine stage fetches the cells' prototypes.
            values.append(torch.cat([read, *(cell for cell, _ in contrasts)], 1) if level == 0 else read)

        def per_set(tensors: list[Tensor]) -> tuple[Tensor, ...]:
            return tuple(rearrange(t, "(B S) ... -> B S ...", S=count) for t in tensors)

        fits = [cast(FittedRead, fit) for fit in self.fits]
        moments = [fit.moments(fit.inputs(features[level]), flat, known) for level, fit in enumerate(fits)]
        prototypes = [whole for _, whole in contrasts]
        return ImageCodes(per_set(keys), per_set(values), per_set(prototypes), per_set(moments), labels)

    def _contrast(
        self, level: int, features: Tensor, labels: Tensor, known: Tensor | None, cells: torch.Size
    ) -> tuple[Tensor, Tensor]:
        """Means of `a_kp f_p` over the pixels p of each cell, (N, 1, cells, 2·(C + 1)), and of the image, (N, 2, C).

        `f_p` are features of unit length, and `a_kp` is the pixel's share of kind k, foreground or background, of which
        one that nobody judged has none. The means of cells are over what was judged of them. The last of each C + 1
        channels is the cell's share of the kind. The means become prototypes by being brought to unit
        length, but only after they were averaged over the support: an image that shows more of a kind counts more.
        """
        matched = self._matched(level, features)
        weights = kinds(labels, known, features.shape[-2:])
        weighted = weights * torch.cat([matched, torch.ones_like(weights[:, 0])], 1)[:, None]
        pooled = reduce(weighted, "N kind C (h a) (w b) -> N kind C (h w)", "mean", h=cells[0], w=cells[1])
        whole = reduce(pooled[:, :, :-1], "N kind C cells -> N kind C", "mean")
        if known is not None:
            pooled = pooled / pooled_to(known.to(labels), cells).flatten(2)[:, None].clamp(min=1e-6)
        return rearrange(pooled, "N kind C cells -> N 1 cells (kind C)"), whole

    def _matched(self, level: int, features: Tensor) -> Tensor:
        """Features of unit length (N, C, h, w), in which pixels of query and support are compared."""
        return F.normalize(self.contrasts[level](features), dim=1)

    def decode(self, features: list[Tensor], code: SupportCode) -> Tensor:
        """Logits (N, 1, H, W) from the queries' features of every stage and what these read of the support."""
        return self.decode_stages(features, code)[0]

    def decode_stages(self, features: list[Tensor], code: SupportCode) -> tuple[Tensor, list[Tensor]]:
        """The logits of `decode`, and the features that the decoder has computed at every stage, fine to coarse."""
        fine = self.config.fine_stages
        attended = [self._attend(level, tokens, code) for level, tokens in enumerate(features[fine:])]
        # The finest coarse stage has `fine` heads more; what they fetch are cells of prototypes, not reads of its own.
        attended[0], fetched = attended[0].tensor_split([self.config.heads * self.config.head_channels], 1)
        cells = rearrange(fetched, "N (level kind C) h w -> level N kind C h w", level=fine, kind=2)
        compared = [self._compare(level, features[level], cells[level], code) for level in range(fine)]
        reads = compared + attended
        risen: list[Tensor] = []
        stages: list[Tensor] = []
        guess = None
        for level in reversed(range(len(features))):
            here = features[level]
            prior = _repeat(pooled_to(code.mean_label, here.shape[-2:]), here.shape[0])
            fitted = self._fit(level, here, guess, code) if level < len(self.fits) else []
            fused = self.decoder[level](torch.cat([*risen, here, reads[level], prior, *fitted], 1))
            # The last coarse stage guesses logits at full resolution: fine stages fit a classifier to them, and what
            # they decode is a correction of them.
            if level == fine and self.config.second_fit:
                guess = F.pixel_shuffle(self.guess(fused), self.config.attend_from_px)
            stages.insert(0, fused)
            if level:
                risen = [F.interpolate(self.rising[level - 1](fused), scale_factor=2, mode="bilinear")]
        logits = F.pixel_shuffle(self.head(fused), self.config.stem_px)
        return (logits if guess is None else logits + guess), stages

    def _fit(self, level: int, features: Tensor, guess: Tensor | None, code: SupportCode) -> list[Tensor]:
        """Scores of the classifier fitted to the support, then of that fitted to the guess, and the guess itself."""
        fit = cast(FittedRead, self.fits[level])
        inputs = fit.inputs(features)
        scores = [fit(inputs, code.moments[level])]
        if guess is not None:
            found = guess.sigmoid()
            scores += [fit(inputs, fit.moments(inputs, found)), pooled_to(found, features.shape[-2:])]
        return scores

    def _attend(self, level: int, tokens: Tensor, code: SupportCode) -> Tensor:
        """Support values read by attention for each query token: tokens (N, c, h, w) -> (N, heads·C, h, w).

        softmax(q·k) v over the tokens of all S support images at once: a weighted mean, which depends neither on their
        order nor on how many copies of all of them there are.
        """
        sets, (height, width) = code.mean_label.shape[0], tokens.shape[-2:]
        match = cast(TokenMatch, self.matches[level])
        # The Q queries of a set stand in one row of tokens: they share keys and values.
        queries = rearrange(match.queries(tokens), "(B Q) heads T C -> B heads (Q T) C", B=sets)
        seen = None if code.seen is None else code.seen[level][:, None, None]
        # Scale 1, since queries already carry their temperature.
        read = F.scaled_dot_product_attention(queries, code.keys[level], code.values[level], seen, scale=1.0)
        return rearrange(read, "B heads (Q h w) C -> (B Q) (heads C) h w", h=height, w=width)

    def _compare(self, level: int, features: Tensor, fetched: Tensor, code: SupportCode) -> Tensor:
        """Cosine similarities to the cell's prototypes (2) and to the support's (2), and the cell's expected label (1).

        Shapes: features (N, C', H, W), fetched (N, 2, C + 1, h, w) -> (N, 5, H, W).
        """
        matched = self._matched(level, features)
        scale = self.config.attend_from_px // (self.config.stem_px * 2**level)  # pixels per cell's side
        cellwise = rearrange(matched, "N C (h a) (w b) -> N C h a w b", a=scale, b=scale)
        # Attention has averaged the cells' sums; unit length makes them prototypes of the kinds k.
        nearby = torch.einsum("nchawb,nkchw->nkhawb", cellwise, F.normalize(fetched[:, :, :-1], dim=2))
        overall = torch.einsum("nchw,nkc->nkhw", matched, _repeat(code.prototypes[level], features.shape[0]))
        # Kind 0 is foreground, and the last channel its share of the cells that were fetched.
        expected = F.interpolate(fetched[:, 0, -1:], scale_factor=scale, mode="nearest")
        return torch.cat([nearby.flatten(4, 5).flatten(2, 3), overall, expected], 1)


def check_sides(images: Tensor, config: SupportOnceConfig) -> None:
    """Make sure that a network can take images of this size.

    Raises:
        ValueError: If a side is no multiple of its stride.
    """
    stride, sides = config.stride_px, tuple(images.shape[-2:])
    if any(side % stride for side in sides):
        nearest = max(stride, round(max(sides) / stride) * stride)
        msg = (
            f"image size does not fit the network: expected sides divisible by {stride}, got {sides}. Resize or pad "
            f"the images; incontext.Segmenter does so to its size_px, such as {nearest}."
        )
        raise ValueError(msg)


def check_queries(query_images: Tensor, code: SupportCode) -> None:
    """Make sure that queries can be asked of the code of some support sets.

    Raises:
        ValueError: If they do not divide among the sets or differ from them in size.
    """
    sets = code.mean_label.shape[0]
    if query_images.shape[0] % sets or query_images.shape[2:] != code.mean_label.shape[2:]:
        msg = (
            f"query_images do not fit the support code: expected a multiple of {sets} images of "
            f"{tuple(code.mean_label.shape[2:])}, got {tuple(query_images.shape)}. "
            "Pass the same number of queries for each support set, on the support's grid."
        )
        raise ValueError(msg)


def _repeat(values: Tensor, count: int) -> Tensor:
    """Repeat each support set's values for its queries."""
    return values.repeat_interleave(count // values.shape[0], 0)
