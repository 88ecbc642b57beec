"""The rule of support selection: how many labelled images are shown for a query, which, and in which views."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from incontext.inference.selection import diverse, nearest
from incontext.networks.copies import COPIES

RULES = ("all", "nearest", "diverse", "random")

USUAL_SIZE = 16
"""Size of a support set where none is given: larger ones gain little."""
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes that are reversed in each view of a query and its support."""


@dataclass(frozen=True)
class Choice:
    """The rule of support selection: the way in which support sets are drawn from the support pool.

    Attributes:
        rule: `all` of the pool; those `nearest` to each query; a `diverse` or a `random` set for all queries. Other
            rules than `all` choose for every class among the images that show it.
        size: Number of images in a support set; by default 16.
        draws: Number of support sets in an ensemble, whose probabilities are averaged. Nearest images take turns: of
            two draws, the first has the nearest image, the third, the fifth …
        flips: Whether the probabilities of four views are averaged: query and support as they are, mirrored, upside
            down and both.
        copies: Whether the support has changed copies of its images, too, and the log-odds of two views are averaged,
            query and support as they are and mirrored; see `incontext.networks.copies`.
        seed: Seed of random choices.
    """

    rule: str = "all"
    size: int | None = None
    draws: int = 1
    flips: bool = False
    copies: bool = False
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
        """Number of images in a selected support set."""
        return self.size or USUAL_SIZE

    @property
    def per_query(self) -> bool:
        """Whether every query has support sets of its own."""
        return self.rule == "nearest"

    def __str__(self) -> str:
        size = "all" if self.rule == "all" else f"{self.images} {self.rule}"
        ensemble = f", an ensemble of {self.draws} draws" if self.draws > 1 else ""
        copies = f", each in {COPIES} changed copies and 2 mirrored views" if self.copies else ""
        return f"{size} of the labelled images{ensemble}{', each in 4 flips' if self.flips else ''}{copies}"

    @property
    def views(self) -> tuple[tuple[int, ...], ...]:
        """Axes that are reversed in each view that the mean is taken over."""
        if self.flips:
            return FLIPS
        return FLIPS[:2] if self.copies else FLIPS[:1]

    def shared(self, count: int, features: Callable[[], Tensor]) -> list[Int64[Tensor, " size"]]:
        """Select support sets for all queries alike, as indices into the candidates; equal draws are made once.

        Args:
            count: Number of candidates.
            features: Function that computes the candidates' features (count, C); not every rule calls it.
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
        """Select support sets for each query, as indices into the candidates; equal draws are made once."""
        size = min(self.images, len(candidates))
        draws = min(self.draws, len(candidates) // size)
        order = nearest(queries, candidates, draws * size)
        return [order[:, draw::draws] for draw in range(draws)]
