"""Segmentation of squares by a support pool: supports are selected, encoded once, and read by every query."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from incontext.inference.backends import backend_of, finite
from incontext.inference.choice import Choice
from incontext.inference.code_stacks import of_classes, stacked, turns
from incontext.inference.memory import batch_size
from incontext.inference.planes import Classes
from incontext.inference.selection import image_features
from incontext.inference.support_pool import Pool, SharedCodes
from incontext.inference.uncertainty import uncertainty
from incontext.networks.protocols import Backend, Codes, FeatureEncoder, FeatureReader
from incontext.networks.support_code import ImageCodes, SupportCode
from incontext.networks.unknown import as_shares

CODES_PER_SQUARE = 24
"""Number of support images whose codes take as much memory as the computation of one query."""


@dataclass(frozen=True)
class Engine:
    """Engine of a reader: backend, features, batch size and device.

    Attributes:
        backend: The network, or its exported graphs.
        features: Function from images (N, 1, H, W) to features (N, C); None if the network has none.
        batch_size: Number of squares to compute at a time.
        device: The device to compute on.
        stages: Function from images (N, 1, H, W) to features of every stage; None if the network has none.
    """

    backend: Backend
    features: Callable[[Tensor], Tensor] | None
    batch_size: int
    device: torch.device
    stages: Callable[[Tensor], list[Tensor]] | None = None

    @classmethod
    def of(cls, network: nn.Module, pool: Pool, backend: str, memory_gb: float | None, device: torch.device) -> Self:
        """Make the engine of a network, within a memory budget; see `backends.backend_of`."""
        supports = 0 if isinstance(network, Backend) else len(pool.images)
        return cls(
            backend=backend_of(network, backend),
            features=partial(image_features, network) if isinstance(network, FeatureEncoder) else None,
            batch_size=batch_size(pool.images.shape[-1] ** 2, supports, memory_gb, device),
            device=device,
            stages=network.features if isinstance(network, FeatureEncoder) else None,
        )


@dataclass(frozen=True)
class Encoded:
    """Labelled squares that may support one class, as the network has encoded them.

    Attributes:
        squares: Indices of the squares in the pool.
        codes: Codes of the squares.
        draws: Support sets for all queries alike, as indices into the squares; none where every query has its own.
        features: Features by which those nearest to a query are found; None where they are not sought.
    """

    squares: Int64[Tensor, " n"]
    codes: Codes
    draws: Sequence[Int64[Tensor, " size"]] = ()
    features: Float[Tensor, "n C"] | None = None


class Reader:
    """Segmentation of queries by a support pool, of which each image is encoded once, when it is first needed.

    Args:
        pool: The labelled squares to select supports from.
        choice: The rule of support selection.
        engine: Backend, features, batch size and device.
        classes: The classes of the pool.
        temperature: The number that logits are divided by.
    """

    def __init__(self, pool: Pool, choice: Choice, engine: Engine, classes: Classes, temperature: float = 1.0) -> None:
        self.pool = pool.with_copies() if choice.copies else pool
        self.choice = choice
        self.engine = engine
        self.classes = classes
        self.temperature = temperature
        self._codes: dict[tuple[int, ...], Any] = {}
        self._encoded: list[Encoded] = []
        self._seen: tuple[Tensor, list[Tensor]] | None = None
        self._resampled: list[Codes] = []
        self._earlier: dict[int, Encoded] = {}

    @property
    def device(self) -> torch.device:
        """The device that queries are computed on."""
        return self.engine.device

    @property
    def queries_per_batch(self) -> int:
        """Number of queries whose passes for all classes fill a batch."""
        if self.choice.per_query:
            return max(1, self.engine.batch_size // (1 + self.choice.images // CODES_PER_SQUARE))
        return max(1, self.engine.batch_size // len(self.classes.names))

    @torch.inference_mode()
    def __call__(self, queries: Float32[Tensor, "N 1 size size"]) -> Float32[Tensor, "N C size size"]:
        """Log-odds of each class against the background, of the mean over draws and views."""
        queries = queries.to(self.engine.device)
        passes = [
            finite(logits).flip(axes) / self.temperature
            for axes in self.choice.views
            for logits in self._passes(queries.flip(axes) if axes else queries, axes)
        ]
        if self.choice.copies:
            return torch.stack(passes).float().mean(dim=0).cpu()  # so that no mask depends on the temperature
        return self.mean(passes)

    @torch.inference_mode()
    def stages(self, images: Tensor) -> list[Tensor] | None:
        """Features of every stage, once for all that is asked of a batch of images; None if the network has none."""
        if self.engine.stages is None:
            return None
        if self._seen is None or self._seen[0] is not images:
            self._seen = images, self.engine.stages(images.to(self.engine.device))
        return self._seen[1]

    def go_on_from(self, earlier: "Reader") -> None:
        """Take over the codes of squares that another reader has encoded by the same network.

        Args:
            earlier: A reader of the first squares of this one's pool.
        """
        if earlier.choice.copies or self.choice.copies:  # the squares of the one are no beginning of the other's
            return
        encoded = earlier._codes.get((), []) if self.choice.per_query else earlier._encoded
        self._earlier = dict(zip(earlier.classes.names, encoded, strict=True)) if encoded else earlier._earlier

    def mean(self, passes: Sequence[Float[Tensor, "N C size size"]]) -> Float32[Tensor, "N C size size"]:
        """Log-odds of the mean probabilities of several passes."""
        if len(passes) == 1:
            return passes[0].float().cpu()
        mean = torch.stack([self.classes.probabilities(each.float()) for each in passes]).mean(dim=0)
        return self.classes.log_odds(mean).cpu()

    @torch.inference_mode()
    def encoded(self) -> list[Encoded]:
        """The labelled squares that support each class, encoded once for this and for the next segmentation."""
        if self.choice.per_query:
            return self._of_queries(())
        self._encoded = self._encoded or self._of_all(())
        return self._encoded

    @torch.inference_mode()
    def shared_codes(self) -> SharedCodes:
        """Codes of the supports that all queries share; all that is predicted is a function of them and the query.

        Raises:
            ValueError: If every query has a support of its own, or the network has no such codes.
        """
        return {axes: [of_classes(draw) for draw in self.supports(axes)] for axes in self.choice.views}

    def read(self, codes: SharedCodes) -> None:
        """Take over the codes of supports whose images are not at hand.

        Raises:
            ValueError: If they are not of this network.
        """
        blank, most = torch.zeros(1, *self.pool.images.shape[1:], device=self.device), self.engine.batch_size
        like = self.engine.backend.encode_images(blank, blank).pooled()
        if not all(code.is_like(like) for draws in codes.values() for draw in draws for code in draw):
            message = "codes do not fit the network: expected those of its weights, got others. Load others."
            raise ValueError(message)
        self._codes = {
            axes: [stacked([code.to(self.device) for code in draw], most) for draw in draws]
            for axes, draws in codes.items()
        }

    @torch.inference_mode()
    def doubt(self, queries: Float32[Tensor, "N 1 size size"], draws: int) -> Float32[Tensor, "N C size size"]:
        """Uncertainty of each pixel about each class, in bits: see `uncertainty.uncertainty`.

        The support that is resampled is the same for all queries; under the rule `nearest` it is a diverse one.
        """
        queries = queries.to(self.engine.device)
        if not self._resampled:
            indices = range(len(self.classes.names))
            self._resampled = [self._encode(self._shared(index), index, ()) for index in indices]
        maps = [
            uncertainty(self.engine.backend, queries, codes, draws, self.choice.seed, self.temperature)
            for codes in self._resampled
        ]
        return torch.cat(maps, dim=1).float().cpu()

    @torch.inference_mode()
    def support_code(self, queries: Float32[Tensor, "N 1 size size"], class_index: int) -> SupportCode:
        """Code of the support by which queries are segmented; of an ensemble that of the first draw."""
        if self.choice.per_query:
            encoded = self._of_queries(())[class_index]
            chosen = self.choice.nearest(self.features(queries), known(encoded))[0]
            return encoded.codes.select(chosen).pooled()
        return of_classes(self._shared_codes(())[0])[class_index]

    @torch.inference_mode()
    def supports(self, axes: tuple[int, ...] = ()) -> list[list[tuple[Any, int]]]:
        """Codes of the support of all queries in one of the `FLIPS`, for each draw: see `stacked`.

        Raises:
            ValueError: If every query has a support of its own.
        """
        if self.choice.per_query:
            message = "support is not one for all images: expected all, diverse or random, got nearest. Choose one."
            raise ValueError(message)
        return self._shared_codes(axes)

    def _shared(self, class_index: int) -> Tensor:
        """Indices into the pool of the first support set that all queries share."""
        candidates = self._candidates(class_index)
        return candidates[self.choice.shared(len(candidates), partial(self._pool_features, candidates))[0]]

    def _passes(self, queries: Tensor, axes: tuple[int, ...]) -> Iterator[Tensor]:
        """Logits (N, C, size, size) of the queries, once for each draw."""
        if self.choice.per_query:
            yield from self._nearest_passes(queries, self._of_queries(axes))
            return
        for draw in self._shared_codes(axes):
            yield torch.cat([self._segment(queries, code, sets) for code, sets in draw], dim=1)

    def _shared_codes(self, axes: tuple[int, ...]) -> list[list[tuple[Any, int]]]:
        """Codes of the support sets that all queries share, for each draw; see `_pooled`."""
        if axes not in self._codes:
            encoded = self._of_all(axes) if axes else self.encoded()
            self._codes[axes] = self._pooled(encoded)
            if not axes and len(self._codes[axes]) == 1:
                self._encoded = _viewed(encoded, self._codes[axes][0])
        return self._codes[axes]

    def _nearest_passes(self, queries: Tensor, encoded: Sequence[Encoded]) -> Iterator[Tensor]:
        asking = self.features(queries)
        for indices in turns([self.choice.nearest(asking, known(each)) for each in encoded]):
            supports = [each.codes.select(chosen).pooled() for each, chosen in zip(encoded, indices, strict=True)]
            yield torch.cat([self.engine.backend.segment(queries, support) for support in supports], dim=1)

    def _segment(self, queries: Tensor, code: Any, sets: int) -> Tensor:
        backend, stages = self.engine.backend, self.stages(queries)
        if isinstance(backend, FeatureReader) and stages:
            logits = backend.decode([each.repeat(sets, 1, 1, 1) for each in stages], code)
        else:
            logits = backend.segment(queries.repeat(sets, 1, 1, 1), code)
        return logits.unflatten(0, (sets, len(queries)))[:, :, 0].transpose(0, 1)

    def _pooled(self, encoded: Sequence[Encoded]) -> list[list[tuple[Any, int]]]:
        """Codes of all classes for each draw, stacked to batches where they fit, with the size of each batch."""
        draws: list[list[Any]] = []
        for each in encoded:
            is_all = len(each.draws) == 1
            sets = [each.codes] if is_all else [each.codes.select(draw[None]) for draw in each.draws]
            draws.append([codes.pooled() for codes in sets])
        return [stacked(each, self.engine.batch_size) for each in turns(draws)]

    def _of_all(self, axes: tuple[int, ...]) -> list[Encoded]:
        """The squares that are drawn for all queries alike, of each class."""
        encoded = []
        for class_index in range(len(self.classes.names)):
            candidates = self._candidates(class_index)
            chosen = self.choice.shared(len(candidates), partial(self._pool_features, candidates))
            used, local = torch.cat(chosen).unique(return_inverse=True)
            squares = candidates[used]
            encoded.append(Encoded(squares, self._encode(squares, class_index, axes), local.split(len(chosen[0]))))
        return encoded

    def _of_queries(self, axes: tuple[int, ...]) -> list[Encoded]:
        """The squares among which each query finds its own support, of each class."""
        if axes not in self._codes:
            self._codes[axes] = [
                Encoded(squares, self._encode(squares, index, axes), features=self._pool_features(squares, axes))
                for index, squares in enumerate(map(self._candidates, range(len(self.classes.names))))
            ]
        return self._codes[axes]

    def _candidates(self, class_index: int) -> Tensor:
        return self.pool.candidates(class_index, showing=self.choice.rule != "all")

    def _encode(self, squares: Tensor, class_index: int, axes: tuple[int, ...]) -> Codes:
        earlier = None if axes else self._earlier.get(list(self.classes.names)[class_index])
        known = torch.zeros(0, dtype=torch.int64) if earlier is None else earlier.squares
        is_known = torch.isin(squares, known)
        if earlier is None or not is_known.any():
            return self._encode_now(squares, class_index, axes)
        taken = earlier.codes.select(torch.searchsorted(known, squares[is_known])[None].to(self.engine.device))
        if is_known.all():
            return taken
        joined = type(taken).joined([taken, self._encode_now(squares[~is_known], class_index, axes)])
        order = torch.cat([is_known.nonzero()[:, 0], (~is_known).nonzero()[:, 0]]).argsort()
        return joined.select(order[None].to(self.engine.device))

    def _encode_now(self, squares: Tensor, class_index: int, axes: tuple[int, ...]) -> Codes:
        parts = [
            self.engine.backend.encode_images(
                self.pool.images[chunk].flip(axes).to(self.engine.device),
                as_shares(self.pool.labels[chunk, class_index, None].flip(axes).to(self.engine.device)),
            )
            for chunk in squares.split(self.engine.batch_size)
        ]
        return type(parts[0]).joined(parts)

    def _pool_features(self, squares: Tensor, axes: tuple[int, ...] = ()) -> Tensor:
        chunks = squares.split(self.engine.batch_size)
        return torch.cat([self.features(self.pool.images[chunk].flip(axes).to(self.engine.device)) for chunk in chunks])

    def features(self, images: Tensor) -> Tensor:
        """Features (N, C) of images, by which those nearest to a query are found.

        Raises:
            ValueError: If the network computes none.
        """
        if self.engine.features is None:
            message = (
                f"support={self.choice.rule!r} does not fit the network: expected one that computes features of "
                "single images, got one that does not. Choose support='random' or 'all', or the packaged weights."
            )
            raise ValueError(message)
        return self.engine.features(images)


@dataclass(frozen=True)
class Doubt:
    """Adapter that computes the uncertainty of a reader's predictions in the place of log-odds."""

    reader: Reader
    draws: int

    @property
    def device(self) -> torch.device:
        """The device that queries are computed on, as for the reader."""
        return self.reader.device

    @property
    def queries_per_batch(self) -> int:
        """Number of queries that fill a batch, as for the reader."""
        return self.reader.queries_per_batch

    def __call__(self, queries: Float32[Tensor, "N 1 size size"]) -> Float32[Tensor, "N C size size"]:
        """Uncertainty of each pixel of each query, in bits: see `Reader.doubt`."""
        return self.reader.doubt(queries, self.draws)


def known(encoded: Encoded) -> Tensor:
    """The features of squares among which each query finds its own support."""
    assert encoded.features is not None
    return encoded.features


def _viewed(encoded: Sequence[Encoded], pooled: Sequence[tuple[Any, int]]) -> list[Encoded]:
    """Let the codes of labelled squares lie in the memory of the sets that all of them form, one for each class."""
    codes = [each.codes for each in encoded if isinstance(each.codes, ImageCodes)]
    if len(codes) < len(encoded):
        return list(encoded)
    views = [each.viewed(code) for each, code in zip(codes, of_classes(pooled), strict=True)]
    return [replace(each, codes=view) for each, view in zip(encoded, views, strict=True)]
