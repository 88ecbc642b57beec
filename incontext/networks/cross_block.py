"""The cross-block network: an encoder–decoder of cross-blocks from a query image and its support to a logit map."""

from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from incontext.networks.layers import (
    CrossBlock,
    FirstCrossBlock,
    SupportMean,
    check_sizes,
    conv2d,
    mean_over_support,
)


@dataclass(frozen=True)
class CrossBlockConfig:
    """Channel plan of a cross-block network; the default is that of UniverSeg v1."""

    encoder_channels: tuple[int, ...] = (64, 64, 64, 64)
    """Channels per encoder block, fine to coarse; each block after the first halves the resolution."""
    decoder_channels: tuple[int, ...] = (64, 64, 64)
    """Channels per decoder block, coarse to fine: one block for each encoder block but the last."""

    def __post_init__(self) -> None:
        if min(self.encoder_channels + self.decoder_channels, default=0) < 1:
            msg = (
                "channel plan is unusable: expected positive channels in every block, got "
                f"{self.encoder_channels} and {self.decoder_channels}. Give each block at least one channel."
            )
            raise ValueError(msg)
        check_sizes(encoder_channels=self.encoder_channels, decoder_channels=self.decoder_channels)
        if len(self.encoder_channels) < 2 or len(self.decoder_channels) != len(self.encoder_channels) - 1:
            msg = (
                "channel plan does not form an encoder–decoder: expected at least two encoder blocks and one decoder "
                f"block fewer, got {len(self.encoder_channels)} and {len(self.decoder_channels)}. "
                "Give one decoder block for each encoder block but the last."
            )
            raise ValueError(msg)

    @property
    def stride_px(self) -> int:
        """Number that image sides must be multiples of: 1, since any size is taken."""
        return 1


class CrossBlockNet(nn.Module):
    """Network for in-context segmentation in which query and support maps interact at every stage.

    The support's part of the last block feeds nothing: its weights (`decoder[-1].support`) are kept, since released
    files hold them, but never used, and get no gradient.

    Args:
        config: The channel plan.
        chunk_size: Support images walked through a stage at once when no gradient is needed. It changes memory and
            speed, not the result: at full resolution only the chunk at hand and a running sum are held.

    Source:
        Butoi, Gonzalez Ortiz et al., UniverSeg, ICCV 2023; released weights load by `incontext.load_universeg`.
    """

    def __init__(self, config: CrossBlockConfig | None = None, chunk_size: int = 4) -> None:
        super().__init__()
        self.config = config = config or CrossBlockConfig()
        self.chunk_size = chunk_size
        first, *deeper = config.encoder_channels
        self.encoder = nn.ModuleList([FirstCrossBlock(first), *map(CrossBlock, config.encoder_channels, deeper)])
        below = (config.encoder_channels[-1], *config.decoder_channels[:-1])
        joined = [low + skip for low, skip in zip(below, config.encoder_channels[-2::-1], strict=True)]
        self.decoder = nn.ModuleList(map(CrossBlock, joined, config.decoder_channels))
        self.head = conv2d(config.decoder_channels[-1], 1, size_px=1, slope=1.0)

    def forward(
        self,
        query_images: Float[Tensor, "B 1 H W"],
        support_images: Float[Tensor, "B S 1 H W"],
        support_labels: Float[Tensor, "B S 1 H W"],
    ) -> Float[Tensor, "B 1 H W"]:
        """Logits of one query per support set; images in [0, 1], labels in {0, 1}, sides of any size.

        Raises:
            ValueError: If the shapes do not fit each other, the support is empty, or a side vanishes when halved.
        """
        self._check(query_images, support_images, support_labels)
        batch_size, support_size = support_images.shape[:2]
        chunk_size = support_size if torch.is_grad_enabled() else self.chunk_size
        supports = torch.cat([support_images, support_labels], dim=2)
        chunks = [rearrange(each, "B S C H W -> (S B) C H W") for each in supports.split(chunk_size, dim=1)]
        mean = partial(mean_over_support, batch_size=batch_size)
        first, *encoder = self.encoder
        *decoder, last = self.decoder

        # At full resolution the support only streams by, leaving its mean and, halved, the maps of the next stage.
        fine_mean = SupportMean(batch_size)
        fine_query, stream = first(query_images, mean(chunks), chunks)
        query, stream = fine_query, fine_mean.watch(stream)

        skips: list[tuple[Tensor, list[Tensor]]] = []
        for block in encoder:
            query, chunks = halve(query), [halve(chunk) for chunk in stream]
            query, stream = block(query, mean(chunks), chunks)
            skips.append((query, stream := list(stream)))

        query, chunks = skips.pop()
        for block in decoder:
            skip_query, skip_chunks = skips.pop()
            support_mean = join(mean(chunks), mean(skip_chunks))
            query, stream = block(join(query, skip_query), support_mean, map(join, chunks, skip_chunks))
            chunks = list(stream)

        query, _ = last(join(query, fine_query), join(mean(chunks), fine_mean.value()), ())
        return self.head(query)

    def encode_support(
        self, support_images: Float[Tensor, "B S 1 H W"], support_labels: Float[Tensor, "B S 1 H W"]
    ) -> tuple[Tensor, Tensor]:
        """Only keep the support, which here has to be walked through with every query."""
        return support_images, support_labels

    def segment(self, query_images: Float[Tensor, "N 1 H W"], code: tuple[Tensor, Tensor]) -> Float[Tensor, "N 1 H W"]:
        """Logits of N = B·Q queries for B support sets; the Q queries of a set follow one another.

        Raises:
            ValueError: If the queries do not divide among the support sets, or as `forward` does.
        """
        sets = len(code[0])
        if query_images.shape[0] % sets:
            msg = (
                f"query_images do not fit the support: expected a multiple of {sets} images, got {len(query_images)}. "
                "Pass the same number of queries for each support set."
            )
            raise ValueError(msg)
        images, labels = (each.repeat_interleave(query_images.shape[0] // sets, dim=0) for each in code)
        return self(query_images, images, labels)

    def leave_one_out(
        self, images: Float[Tensor, "B n 1 H W"], labels: Float[Tensor, "B n 1 H W"], queries: int | None = None
    ) -> Float[Tensor, "B queries 1 H W"]:
        """Logits of the first `queries` images of each set (all by default), the n - 1 others being their support."""
        queries = images.shape[1] if queries is None else queries

        def others(sets: Tensor) -> Tensor:
            return torch.stack([torch.cat([sets[:, :i], sets[:, i + 1 :]], dim=1) for i in range(queries)], dim=1)

        logits = self(images[:, :queries].flatten(0, 1), others(images).flatten(0, 1), others(labels).flatten(0, 1))
        return logits.unflatten(0, (len(images), queries))

    def _check(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> None:
        if query_images.ndim != 4 or query_images.shape[1] != 1:
            msg = (
                f"query_images have the wrong shape: expected (B, 1, H, W), got {tuple(query_images.shape)}. "
                "Pass grey images, one query per support set."
            )
            raise ValueError(msg)
        B, _, H, W = query_images.shape
        S = support_images.shape[1]
        for name, images in (("support_images", support_images), ("support_labels", support_labels)):
            if images.shape != (B, S, 1, H, W):
                msg = (
                    f"{name} do not fit the other inputs: expected {(B, S, 1, H, W)}, got {tuple(images.shape)}. "
                    "Pass one label per support image, and both on the grid of the query."
                )
                raise ValueError(msg)
        if S == 0:
            msg = f"support_images are empty: expected S >= 1, got {tuple(support_images.shape)}. Label an image."
            raise ValueError(msg)
        smallest = 2 ** (len(self.encoder) - 1)
        if min(H, W) < smallest:
            msg = (
                f"query_images are too small: expected sides of at least {smallest}, got {(H, W)}. "
                "Resize the images, as incontext.Segmenter does."
            )
            raise ValueError(msg)


def halve(maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C h w"]:
    """Maximum of every 2×2 pixels; the last row or column of an odd side is dropped."""
    return F.max_pool2d(maps, 2)


def join(low: Float[Tensor, "N C h w"], skip: Float[Tensor, "N D H W"]) -> Float[Tensor, "N C+D H W"]:
    """Enlarge `low` to the grid of the skip connection, bilinearly and corner to corner, and concatenate them."""
    enlarged = F.interpolate(low, skip.shape[-2:], mode="bilinear", align_corners=True)
    return torch.cat([enlarged, skip], dim=1)
