"""Codes of the support-once network: of single labelled images, and of the support sets that they form."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from incontext.networks.unknown import judged, mean_over_images

PARTS = ("keys", "values", "prototypes", "moments", "seen")
"""Fields of a code that hold a tensor for each stage."""


@dataclass(frozen=True)
class SupportCode:
    """Everything that a query reads of B support sets."""

    keys: tuple[Tensor, ...]
    """Keys of the support tokens, (B, heads, S·T, head_channels) for each attended stage."""
    values: tuple[Tensor, ...]
    """Values that attention reads where a key matches the query, in the shapes of the keys."""
    prototypes: tuple[Tensor, ...]
    """Mean foreground and background features of the whole support, of unit length: (B, 2, C) for each fine stage."""
    moments: tuple[Tensor, ...]
    """Sums over pixels that a linear classifier is fitted from, (B, 2, C + 1, C + 1 + targets) for each fine stage; see
    `FittedRead`."""
    mean_label: Tensor
    """The support labels' mean at each pixel (B, 1, H, W)."""
    seen: tuple[Tensor, ...] | None = None
    """Whether anything was judged of each support token, (B, S·T) for each attended stage; of others nothing is read.
    None if it was of all."""

    @classmethod
    def stacked(cls, codes: Sequence["SupportCode"]) -> "SupportCode":
        """The codes of several batches of support sets as one batch; all sets hold equally many images."""

        def join(name: str) -> tuple[Tensor, ...]:
            return tuple(map(torch.cat, zip(*(getattr(code, name) for code in codes), strict=True)))

        return cls(
            keys=join("keys"),
            values=join("values"),
            prototypes=join("prototypes"),
            moments=join("moments"),
            mean_label=torch.cat([code.mean_label for code in codes]),
            seen=_joined_seen(codes),
        )

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "SupportCode":
        """Put together what `tensors` names.

        Raises:
            ValueError: If one is missing or is none of a code.
        """
        parts: dict[str, list[Tensor]] = {part: [] for part in PARTS}
        for name in sorted(tensors.keys() - {"mean_label"}):
            part, _, index = name.partition("_")
            if part not in parts or index != str(len(parts[part])):
                msg = f"code has an odd part: expected numbers of {', '.join(PARTS)} from 0 on, got {name}."
                raise ValueError(msg)
            parts[part].append(tensors[name])
        if "mean_label" not in tensors:
            msg = f"code is incomplete: expected mean_label, got {', '.join(sorted(tensors))}."
            raise ValueError(msg)
        keys, values, prototypes, moments, seen = map(tuple, parts.values())
        return cls(keys, values, prototypes, moments, tensors["mean_label"], seen or None)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, by the name of their field and the number in it."""
        named = {f"{part}_{i}": each for part in PARTS for i, each in enumerate(getattr(self, part) or ())}
        return {**named, "mean_label": self.mean_label}

    def to(self, device: torch.device) -> "SupportCode":
        """The code on a device."""
        return SupportCode.of({name: each.to(device) for name, each in self.tensors().items()})

    def is_like(self, other: "SupportCode") -> bool:
        """Whether another code is of the same network and size of images, whatever their number."""
        ours, theirs = self.tensors(), other.tensors()
        known = {name for name in ours.keys() | theirs.keys() if not name.startswith("seen")}
        if not known <= ours.keys() & theirs.keys():
            return False
        seen = [tuple(each.shape) for each in self.seen or ()]
        return (
            all(_shape_of_one(name, ours[name]) == _shape_of_one(name, theirs[name]) for name in known)
            and (tokens := _tokens(self)) == [value.shape[2] for value in self.values]
            and all(many % few == 0 for many, few in zip(tokens, _tokens(other), strict=True))
            and seen in ([], [(len(self.mean_label), count) for count in tokens])
        )

    def of_set(self, index: int) -> "SupportCode":
        """The code of one of the support sets."""
        return SupportCode.of({name: each[index : index + 1] for name, each in self.tensors().items()})


def _tokens(code: SupportCode) -> list[int]:
    """Number of tokens of each attended stage."""
    return [key.shape[2] for key in code.keys]


def _shape_of_one(name: str, tensor: Tensor) -> tuple[int, ...]:
    """Shape of a tensor of a code but for its number of tokens, which grows with the images."""
    shape = tuple(tensor.shape)
    return (*shape[:2], *shape[3:]) if name.startswith(("keys", "values")) else shape


def _joined_seen(codes: Sequence[SupportCode]) -> tuple[Tensor, ...] | None:
    """Join the marks of tokens of several batches; None if all are read."""
    if all(code.seen is None for code in codes):
        return None

    def seen(code: SupportCode) -> tuple[Tensor, ...]:
        return code.seen or tuple(torch.ones_like(key[:, 0, :, 0], dtype=torch.bool) for key in code.keys)

    return tuple(map(torch.cat, zip(*map(seen, codes), strict=True)))


@dataclass(frozen=True)
class ImageCodes:
    """The contribution of each labelled image to a support code, by its names; every tensor opens with (B, S)."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    prototypes: tuple[Tensor, ...]
    moments: tuple[Tensor, ...]
    labels: Tensor

    def pooled(self) -> SupportCode:
        """Merge the images of each set; their order is forgotten."""
        merge = "B S heads T C -> B heads (S T) C"
        return SupportCode(
            keys=tuple(rearrange(key, merge) for key in self.keys),
            values=tuple(rearrange(value, merge) for value in self.values),
            prototypes=tuple(F.normalize(p.mean(1), dim=-1) for p in self.prototypes),
            moments=tuple(m.mean(1) for m in self.moments),
            mean_label=mean_over_images(self.labels),
            seen=self._seen(),
        )

    def viewed(self, code: SupportCode) -> "ImageCodes":
        """Let keys and values lie in the memory of the code that these codes were pooled to."""

        def view(tensor: Tensor) -> Tensor:
            return rearrange(tensor, "B heads (S T) C -> B S heads T C", S=self.labels.shape[1])

        return replace(self, keys=tuple(map(view, code.keys)), values=tuple(map(view, code.values)))

    def _seen(self) -> tuple[Tensor, ...] | None:
        """Whether anything was judged of each token; in sets of which nothing was, all are read."""
        known = judged(self.labels)
        if known.all():
            return None
        area = known.shape[-2] * known.shape[-1]
        flat = known.flatten(0, 1).float()
        seen = []
        for key in self.keys:
            side_px = math.isqrt(area // key.shape[-2])
            tokens = F.max_pool2d(flat, side_px).flatten(1).unflatten(0, known.shape[:2]).flatten(1) > 0
            seen.append(tokens | ~tokens.any(1, keepdim=True))
        return tuple(seen)

    def leaving_one_out(self, count: int) -> "ImageCodes":
        """Support sets of all images but one, for each of the first `count` images: (B·count, S - 1, ...)."""

        def regroup(value: Tensor) -> Tensor:
            # Slices rather than an index, whose gradient is many times slower to gather.
            others = [torch.cat([value[:, :i], value[:, i + 1 :]], dim=1) for i in range(count)]
            return torch.stack(others, dim=1).flatten(0, 1)

        return self._map(regroup)

    @classmethod
    def joined(cls, parts: Sequence["ImageCodes"]) -> "ImageCodes":
        """The images of several sets as one set."""

        def join(each: Iterable[Tensor]) -> Tensor:
            return torch.cat(list(each), dim=1)

        return cls(
            keys=tuple(map(join, zip(*(part.keys for part in parts), strict=True))),
            values=tuple(map(join, zip(*(part.values for part in parts), strict=True))),
            prototypes=tuple(map(join, zip(*(part.prototypes for part in parts), strict=True))),
            moments=tuple(map(join, zip(*(part.moments for part in parts), strict=True))),
            labels=join(part.labels for part in parts),
        )

    def select(self, indices: Int[Tensor, "sets size"]) -> "ImageCodes":
        """Form support sets from the images of one set (1, S, ...), of which each row of indices names some."""
        return self._map(lambda value: value[0, indices])

    def _map(self, change: Callable[[Tensor], Tensor]) -> "ImageCodes":
        return ImageCodes(
            keys=tuple(map(change, self.keys)),
            values=tuple(map(change, self.values)),
            prototypes=tuple(map(change, self.prototypes)),
            moments=tuple(map(change, self.moments)),
            labels=change(self.labels),
        )
