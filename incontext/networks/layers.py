"""Cross-convolution: how one query map meets a set of support maps, exactly as published but cheaper.

With `u` a query map, `v_i` one of S support maps and `φ` a LeakyReLU, a cross-block computes

    z_i = cross([u, v_i]),    u' = φ(query(mean_i z_i)),    v_i' = φ(support(z_i)).

Nothing stands between `cross` and the convolution after it. So `cross` splits into A∗u + B∗v_i, the mean moves inside,
and `u'` needs only the mean of the `v_i`, while the `v_i'` can be produced, used and forgotten a few at a time.

Support maps therefore travel in chunks (N, C, H, W) with N = s·B, support-major: the first B maps are one support image
of every episode in the batch, the next B another. Chunks may differ in s.

Source:
    Butoi, Gonzalez Ortiz et al., UniverSeg, ICCV 2023, section 3.2.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.01
"""Slope of φ below zero."""
MOST_STAGES = 16
"""Most stages of a network on its way down, or up; an image of 65,536 pixels is one pixel then."""
MOST_CHANNELS = 4096
"""Most channels, heads or features of a kind in a network."""


def check_sizes(**sizes: int | tuple[int, ...]) -> None:
    """Make sure that a network can be of the sizes that its configuration names.

    Raises:
        ValueError: If a tuple has too many numbers, or a number is below 1 or too large.
    """
    for name, value in sizes.items():
        numbers = value if isinstance(value, tuple) else (value,)
        if len(numbers) > MOST_STAGES:
            msg = f"{name} is unusable: expected at most {MOST_STAGES} numbers, got {len(numbers)}. Use fewer stages."
            raise ValueError(msg)
        if wrong := [number for number in numbers if not 1 <= number <= MOST_CHANNELS]:
            msg = f"{name} is unusable: expected 1 to {MOST_CHANNELS}, got {wrong[0]}. Change it."
            raise ValueError(msg)


def check_groups(channels: tuple[int, ...], groups: int) -> None:
    """Make sure that the channels of every stage divide into the groups of its GroupNorms.

    Raises:
        ValueError: If those of one do not.
    """
    if any(width % groups for width in channels):
        msg = (
            f"channels do not divide into groups: expected multiples of {groups}, got {channels}. "
            "Change channels or groups."
        )
        raise ValueError(msg)


def conv2d(in_channels: int, out_channels: int, size_px: int = 3, slope: float = SLOPE) -> nn.Conv2d:
    """Convolution that keeps the size, Kaiming-initialised for the φ after it; slope 1 where none follows."""
    conv = nn.Conv2d(in_channels, out_channels, size_px, padding=size_px // 2)
    nn.init.kaiming_normal_(conv.weight, a=slope)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class CrossBlock(nn.Module):
    """Lets a query map and support maps of equally many channels interact.

    Args:
        channels: Number of channels of the query map, and of each support map.
        out_channels: Number of channels of the next query map, and of each of the next support maps.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.cross = conv2d(2 * channels, out_channels, slope=1.0)
        self.query = conv2d(out_channels, out_channels)
        self.support = conv2d(out_channels, out_channels)

    def forward(
        self, query: Float[Tensor, "B C H W"], support_mean: Float[Tensor, "B C H W"], chunks: Iterable[Tensor]
    ) -> tuple[Float[Tensor, "B D H W"], Iterator[Tensor]]:
        """Return the next query map, and the next chunks as an iterator that computes each when asked for it."""
        query_weight, support_weight = self.cross.weight.chunk(2, dim=1)
        from_query = F.conv2d(query, query_weight, self.cross.bias, padding=1)

        def cross(support: Tensor) -> Tensor:
            maps = F.conv2d(support, support_weight, padding=1)
            maps.unflatten(0, (-1, query.shape[0])).add_(from_query)
            return maps

        return phi(self.query(cross(support_mean))), (phi(self.support(cross(chunk))) for chunk in chunks)


class FirstCrossBlock(nn.Module):
    """The cross-block that sees the images: one query channel, two support channels (image and label).

    With so few channels, copying the query is cheap and two convolutions in a row are cheaper as one.
    """

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.cross = conv2d(3, out_channels, slope=1.0)
        self.query = conv2d(out_channels, out_channels)
        self.support = conv2d(out_channels, out_channels)

    def forward(
        self, query: Float[Tensor, "B 1 H W"], support_mean: Float[Tensor, "B 2 H W"], chunks: Iterable[Tensor]
    ) -> tuple[Float[Tensor, "B D H W"], Iterator[Tensor]]:
        """Return the next query map and the next chunks, as `CrossBlock.forward` does."""

        def cross_then(conv: nn.Conv2d, support: Tensor) -> Tensor:
            copies = repeat(query, "B C H W -> (s B) C H W", s=support.shape[0] // query.shape[0])
            return conv_twice(torch.cat([copies, support], dim=1), self.cross, conv)

        next_query = phi(cross_then(self.query, support_mean))
        return next_query, (phi(cross_then(self.support, chunk)) for chunk in chunks)


def conv_twice(maps: Float[Tensor, "N C H W"], first: nn.Conv2d, second: nn.Conv2d) -> Float[Tensor, "N D H W"]:
    """`second(first(maps))` for 3×3 convolutions, computed as one of 5×5.

    The two pad zeros twice, the one only around both, so the outermost pixels differ: these are computed in two steps,
    from strips three pixels wide. The result is channels_last, the layout that is faster on a CPU.
    """
    maps = maps.contiguous(memory_format=torch.channels_last)
    weight = F.conv_transpose2d(second.weight, first.weight)
    bias = second(first(maps.new_zeros(1, first.in_channels, 3, 3)))[0, :, 1, 1]
    out = F.conv2d(maps, weight, bias, padding=2)
    out[..., :1, :] = second(first(maps[..., :3, :]))[..., :1, :]
    out[..., -1:, :] = second(first(maps[..., -3:, :]))[..., -1:, :]
    out[..., :1] = second(first(maps[..., :3]))[..., :1]
    out[..., -1:] = second(first(maps[..., -3:]))[..., -1:]
    return out


def phi(maps: Tensor) -> Tensor:
    """LeakyReLU in place: whoever calls it owns the convolution output it passes."""
    return F.leaky_relu_(maps, SLOPE)


class SupportMean:
    """Mean over the support as a running sum, so that the maps need not be held together.

    Args:
        batch_size: B, the number of consecutive maps that belong to different episodes.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._total: Any = 0  # a tensor from the first map on
        self._count = 0

    def watch(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Hand the chunks on, counting each in."""
        for chunk in chunks:
            for maps in chunk.unflatten(0, (-1, self._batch_size)):
                self._total += maps
                self._count += 1
            yield chunk

    def value(self) -> Float[Tensor, "B C H W"]:
        """The mean of what has passed so far."""
        return self._total / self._count


def mean_over_support(chunks: Iterable[Tensor], batch_size: int) -> Float[Tensor, "B C H W"]:
    """Mean over the support, for each episode of the batch."""
    mean = SupportMean(batch_size)
    for _ in mean.watch(chunks):
        pass
    return mean.value()
