"""What labelled examples say of a query: the pool of them, the choice out of it, and the reading of every choice."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from incontext.inference.segmentation import Classes
from incontext.inference.selection import diverse, nearest
from incontext.inference.support_pool import Pool
from incontext.inference.uncertainty import uncertainty
from incontext.networks.support_once import SupportCode

RULES = ("all", "nearest", "diverse", "random")

USUAL_SIZE = 16
"""Support images that a rule chooses if not told how many: more gain little."""
CODES_PER_SQUARE = 24
"""Support images whose codes take as much memory as a query at work."""
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes that are turned round in each view of a query and its support."""


@runtime_checkable
class Codes(Protocol):
    """What a backend makes of labelled images, for support sets to be formed from; see `support_once.ImageCodes`."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The images of several as one set."""

    def select(self, places: Tensor) -> Self:
        """Form support sets from the images of one set, each named by their places in it (sets, size)."""

    def pooled(self) -> Any:
        """The sets' codes, as `Backend.segment` takes them."""


@runtime_checkable
class Backend(Protocol):
    """What computes: see `incontext.inference.backends`."""

    def encode_images(self, images: Tensor, labels: Tensor) -> Any:
        """`Codes` of labelled images (S, 1, H, W)."""

    def segment(self, queries: Tensor, code: Any) -> Tensor:
        """Logits of queries (B·Q, 1, H, W), given the code of B support sets."""


@dataclass(frozen=True)
class Choice:
    """By which rule supports are chosen from a pool.

    Attributes:
        rule: `all` of the pool; those `nearest` to each query; a `diverse` or a `random` set for all queries. Other
            rules than `all` choose for every class among the images that show it.
        size: Images of a support set; by default 16.
        draws: Supports of an ensemble, whose probabilities are averaged. Nearest ones take turns: of the two draws of
            an ensemble, the first has the nearest image, the third, the fifth …
        flips: Whether the probabilities of four views are averaged: query and support as they are, mirrored, upside
            down and both.
        seed: Of random choices.
    """

    rule: str = "all"
    size: int | None = None
    draws: int = 1
    flips: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            message = f"support is unknown: expected {', '.join(RULES)}, got {self.rule!r}. Choose one."
            raise ValueError(message)
        if self.rule == "all" and self.size is not None:
            message = (
                f"support_size does not fit support='all': expected None, got {self.size}. "
                "Say how to choose: support='nearest', 'diverse' or 'random'."
            )
            raise ValueError(message)
        if self.rule == "all" and self.draws > 1:
            message = (
                f"ensemble does not fit support='all': expected 1, got {self.draws}, which would be the same draw. "
                "Say how to draw: support='random', 'diverse' or 'nearest'."
            )
            raise ValueError(message)
        for name, value in (("support_size", self.size), ("ensemble", self.draws)):
            if value is not None and value < 1:
                message = f"{name} is impossible: expected at least 1, got {value}. Ask for more."
                raise ValueError(message)

    @property
    def images(self) -> int:
        """Of a support set that is chosen."""
        return self.size or USUAL_SIZE

    @property
    def per_query(self) -> bool:
        """Whether every query has supports of its own."""
        return self.rule == "nearest"

    def __str__(self) -> str:
        size = "all" if self.rule == "all" else f"{self.images} {self.rule}"
        ensemble = f", an ensemble of {self.draws} draws" if self.draws > 1 else ""
        return f"{size} of the labelled images{ensemble}{', each in 4 flips' if self.flips else ''}"

    def shared(self, count: int, features: Callable[[], Tensor]) -> list[Int64[Tensor, " size"]]:
        """Places of each draw among so many candidates; draws that would be equal are one.

        Args:
            count: Of candidates.
            features: Tells theirs (count, C), for which a rule may not ask.
        """
        size = min(self.images, count)
        if self.rule == "all" or size == count:
            return [torch.arange(count)]
        generators = [torch.Generator().manual_seed(1_000_003 * self.seed + draw) for draw in range(self.draws)]
        if self.rule == "random":
            return [torch.randperm(count, generator=each)[:size] for each in generators]
        known = features().cpu()
        return [diverse(known, size, each) for each in generators]

    def nearest(self, queries: Float[Tensor, "N C"], candidates: Float[Tensor, "n C"]) -> list[Int64[Tensor, "N size"]]:
        """Places of each draw for each query, by their features; draws that would be equal are one."""
        size = min(self.images, len(candidates))
        draws = min(self.draws, len(candidates) // size)
        order = nearest(queries, candidates, draws * size)
        return [order[:, draw::draws] for draw in range(draws)]


@dataclass(frozen=True)
class Means:
    """With what supports are read.

    Attributes:
        backend: What computes.
        features: Tells what images (N, 1, H, W) look like, as (N, C); None if the network cannot.
        batch_size: Squares that are computed at a time.
        device: Where.
    """

    backend: Backend
    features: Callable[[Tensor], Tensor] | None
    batch_size: int
    device: torch.device


class Reader:
    """Reads a pool for queries. Each image is encoded once, when it is first needed.

    Args:
        pool: The labelled squares.
        choice: Which of them are a support.
        means: With what.
        classes: Of the pool.
        temperature: Divides the logits.
    """

    def __init__(self, pool: Pool, choice: Choice, means: Means, classes: Classes, temperature: float = 1.0) -> None:
        self.pool = pool
        self.choice = choice
        self.means = means
        self.classes = classes
        self.temperature = temperature
        self._codes: dict[tuple[int, ...], Any] = {}
        self._resampled: list[Any] = []

    @property
    def queries_per_batch(self) -> int:
        """Of how many queries the passes for all classes fill a batch."""
        if self.choice.per_query:
            return max(1, self.means.batch_size // (1 + self.choice.images // CODES_PER_SQUARE))
        return max(1, self.means.batch_size // len(self.classes.names))

    @torch.inference_mode()
    def __call__(self, queries: Float32[Tensor, "N 1 size size"]) -> Float32[Tensor, "N C size size"]:
        """Log-odds of each class against the background, of the mean over draws and flips."""
        queries = queries.to(self.means.device)
        passes = [
            logits.flip(axes) / self.temperature
            for axes in (FLIPS if self.choice.flips else FLIPS[:1])
            for logits in self._passes(queries.flip(axes), axes)
        ]
        if len(passes) == 1:
            return passes[0].float().cpu()
        mean = torch.stack([self.classes.probabilities(each.float()) for each in passes]).mean(dim=0)
        return self.classes.log_odds(mean).cpu()

    @torch.inference_mode()
    def doubt(self, queries: Float32[Tensor, "N 1 size size"], draws: int) -> Float32[Tensor, "N C size size"]:
        """How undecided each pixel is about each class, in bits: see `trust.uncertainty`.

        What is resampled is the support that is the same for all queries: where each would have its own, a diverse one.
        """
        queries = queries.to(self.means.device)
        if not self._resampled:
            self._resampled = [self._encode(self._shared(place), place, ()) for place in range(len(self.classes.names))]
        maps = [
            uncertainty(self.means.backend, queries, codes, draws, self.choice.seed, self.temperature)
            for codes in self._resampled
        ]
        return torch.cat(maps, dim=1).float().cpu()

    def _shared(self, place: int) -> Tensor:
        """The squares of the first draw for all queries."""
        candidates = self._candidates(place)
        return candidates[self.choice.shared(len(candidates), partial(self._pool_features, candidates))[0]]

    def _passes(self, queries: Tensor, axes: tuple[int, ...]) -> Iterator[Tensor]:
        """Logits (N, C, size, size) by each draw."""
        if axes not in self._codes:
            self._codes[axes] = self._encode_nearest(axes) if self.choice.per_query else self._encode_shared(axes)
        if self.choice.per_query:
            yield from self._nearest_passes(queries, self._codes[axes])
        else:
            for draw in self._codes[axes]:
                yield torch.cat([self._segment(queries, code, sets) for code, sets in draw], dim=1)

    def _nearest_passes(self, queries: Tensor, codes: list[tuple[Tensor, Codes]]) -> Iterator[Tensor]:
        asking = self._features(queries)
        for places in turns([self.choice.nearest(asking, known) for known, _ in codes]):
            supports = [each.select(chosen).pooled() for (_, each), chosen in zip(codes, places, strict=True)]
            yield torch.cat([self.means.backend.segment(queries, support) for support in supports], dim=1)

    def _segment(self, queries: Tensor, code: Any, sets: int) -> Tensor:
        logits = self.means.backend.segment(queries.repeat(sets, 1, 1, 1), code)
        return logits.unflatten(0, (sets, len(queries)))[:, :, 0].transpose(0, 1)

    def _encode_shared(self, axes: tuple[int, ...]) -> list[list[tuple[Any, int]]]:
        """For each draw the codes of all classes, several as one where they fit, and how many each holds."""
        draws: list[list[Any]] = []
        for place in range(len(self.classes.names)):
            candidates = self._candidates(place)
            chosen = self.choice.shared(len(candidates), partial(self._pool_features, candidates))
            used, local = torch.cat(chosen).unique(return_inverse=True)
            codes = self._encode(candidates[used], place, axes)
            sets = [codes] if len(chosen) == 1 else [codes.select(each[None]) for each in local.split(len(chosen[0]))]
            draws.append([each.pooled() for each in sets])
        return [stacked(each, self.means.batch_size) for each in turns(draws)]

    def _encode_nearest(self, axes: tuple[int, ...]) -> list[tuple[Tensor, Codes]]:
        """For each class its candidates' features and codes."""
        candidates = [self._candidates(place) for place in range(len(self.classes.names))]
        return [
            (self._pool_features(squares, axes), self._encode(squares, place, axes))
            for place, squares in enumerate(candidates)
        ]

    def _candidates(self, place: int) -> Tensor:
        return self.pool.candidates(place, showing=self.choice.rule != "all")

    def _encode(self, squares: Tensor, place: int, axes: tuple[int, ...]) -> Any:
        parts = [
            self.means.backend.encode_images(
                self.pool.images[chunk].flip(axes).to(self.means.device),
                self.pool.labels[chunk, place, None].flip(axes).to(self.means.device, torch.float32),
            )
            for chunk in squares.split(self.means.batch_size)
        ]
        return type(parts[0]).joined(parts)

    def _pool_features(self, squares: Tensor, axes: tuple[int, ...] = ()) -> Tensor:
        chunks = squares.split(self.means.batch_size)
        return torch.cat([self._features(self.pool.images[chunk].flip(axes).to(self.means.device)) for chunk in chunks])

    def _features(self, images: Tensor) -> Tensor:
        if self.means.features is None:
            message = (
                f"support={self.choice.rule!r} does not fit the network: expected one that tells the features of "
                "single images, got one that does not. Choose support='random' or 'all', or the packaged weights."
            )
            raise ValueError(message)
        return self.means.features(images)


@dataclass(frozen=True)
class Doubt:
    """Tells `Reader.doubt` where a reader tells log-odds."""

    reader: Reader
    draws: int

    @property
    def queries_per_batch(self) -> int:
        """As of the reader."""
        return self.reader.queries_per_batch

    def __call__(self, queries: Float32[Tensor, "N 1 size size"]) -> Float32[Tensor, "N C size size"]:
        """The doubt about queries."""
        return self.reader.doubt(queries, self.draws)


def turns(draws: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """For each draw what every class has there; a class that has fewer starts anew."""
    return [[of_class[i % len(of_class)] for of_class in draws] for i in range(max(map(len, draws)))]


def stacked(codes: Sequence[Any], most: int) -> list[tuple[Any, int]]:
    """Support codes, each of one set, as codes of up to so many sets of one size, and how many sets each holds."""
    stacks: list[list[Any]] = []
    for code in codes:
        fits = stacks and len(stacks[-1]) < most and isinstance(code, SupportCode)
        if fits and code.keys[0].shape == stacks[-1][0].keys[0].shape:
            stacks[-1].append(code)
        else:
            stacks.append([code])
    return [(_concatenated(stack) if len(stack) > 1 else stack[0], len(stack)) for stack in stacks]


def _concatenated(codes: Sequence[SupportCode]) -> SupportCode:
    def join(name: str) -> tuple[Tensor, ...]:
        return tuple(map(torch.cat, zip(*(getattr(code, name) for code in codes), strict=True)))

    return SupportCode(
        keys=join("keys"),
        values=join("values"),
        prototypes=join("prototypes"),
        moments=join("moments"),
        mean_label=torch.cat([code.mean_label for code in codes]),
    )


@dataclass(frozen=True)
class WholeSets:
    """`Codes` for a network that knows supports only as a whole: the labelled images themselves."""

    images: Float[Tensor, "B S 1 H W"]
    labels: Float[Tensor, "B S 1 H W"]
    encode: Callable[[Tensor, Tensor], Any]

    @classmethod
    def joined(cls, parts: Sequence["WholeSets"]) -> "WholeSets":
        """The images of several as one set."""
        images, labels = (torch.cat([getattr(part, name) for part in parts], dim=1) for name in ("images", "labels"))
        return cls(images, labels, parts[0].encode)

    def select(self, places: Int64[Tensor, "sets size"]) -> "WholeSets":
        """Form support sets from the images of one set, each named by their places in it."""
        return WholeSets(self.images[0, places], self.labels[0, places], self.encode)

    def pooled(self) -> Any:
        """What the network makes of the sets."""
        return self.encode(self.images, self.labels)


class WholeSetBackend:
    """Computes with a network that knows supports only as a whole.

    Args:
        network: One with `encode_support` and `segment`, or else one to be called as
            `network(query_images, support_images, support_labels)`, which reads the support with every query.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.reads_once = hasattr(network, "encode_support") and hasattr(network, "segment")

    def encode_images(self, images: Float[Tensor, "S 1 H W"], labels: Float[Tensor, "S 1 H W"]) -> WholeSets:
        """Keep labelled images until they are a set."""
        keep = self.network.encode_support if self.reads_once else lambda *both: both
        return WholeSets(images[None], labels[None], keep)  # type: ignore[arg-type]

    def segment(self, queries: Float[Tensor, "N 1 H W"], code: Any) -> Float[Tensor, "N 1 H W"]:
        """Logits of queries; those of a set follow one another."""
        if self.reads_once:
            return self.network.segment(queries, code)  # type: ignore[operator]
        return self.network(queries, *(each.repeat_interleave(len(queries) // len(each), dim=0) for each in code))
