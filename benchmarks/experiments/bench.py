"""What an experiment is run on and what it finds: options, places along its axis, and the points measured there."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.analysis.statistics import Interval
from benchmarks.plans.task_plans import Settings
from benchmarks.scoring.evaluator import Execution
from benchmarks.scoring.results import Row, claim_folder
from megamed import Collection, manifest
from megamed.files import read_json, sha256_of, write_json

Track = Callable[[Iterable[list[Row]], int], Iterable[list[Row]]]
"""Passes batches of rows through while showing progress towards a number of rows."""

GROUPINGS = ("dataset", "modality", "anatomy")
"""What can be left out of a training."""


class Coordinates(NamedTuple):
    """Coordinates of a point in a figure."""

    x: float | str
    """A number along the axis, or the name of a bar."""
    series: str = ""
    """The curve, or the colour of bars."""
    panel: str = ""
    """One of several pictures side by side."""

    def __str__(self) -> str:
        x = self.x if isinstance(self.x, str) else f"{self.x:g}"
        return ", ".join(filter(None, (self.panel, self.series, x)))


@dataclass(frozen=True)
class Point:
    """One measurement of an experiment."""

    place: Coordinates
    value: Interval
    reference: Coordinates | None = None
    """Coordinates of the point that this one is compared with."""
    difference: Interval | None = None
    """Paired difference of the point minus its reference."""
    about: str = ""
    """Remark on the point."""
    tasks: int = 0
    """Number of tasks that the mean is taken over."""
    seconds_per_query: float | None = None


@dataclass(frozen=True)
class Findings:
    """Outcome of an experiment."""

    points: list[Point]
    details: dict[str, Any]
    """Further facts to keep, as JSON values: plan hashes, fingerprints of predictors, failures."""


@dataclass(frozen=True)
class ExperimentOptions:
    """Options that decide the outcome of an experiment; each experiment uses those it needs."""

    settings: Settings
    """Tasks, queries and supports. The support size does not apply where it is the question."""
    predictors: tuple[str, ...] = ("packaged",)
    """Names of predictors, as `load_predictor` knows them."""
    steps: int = 400
    """Optimiser steps of each training."""
    seeds: int = 1
    """Trainings per point, with seeds 0, 1, …"""
    by: str = "dataset"
    """Grouping by which a training leaves data out: one of `GROUPINGS`."""
    leave_out: tuple[str, ...] = ()
    """Names of the groups to leave out, one after the other; by default a few."""

    def __post_init__(self) -> None:
        if self.by not in GROUPINGS:
            msg = f"Unknown grouping: expected one of {', '.join(GROUPINGS)}, got {self.by!r}."
            raise ValueError(msg)
        for name, least in (("steps", 1), ("seeds", 1)):
            if (value := getattr(self, name)) < least:
                msg = f"{name} is too small: expected at least {least}, got {value}."
                raise ValueError(msg)


@dataclass(frozen=True)
class Bench:
    """One experiment's collection, options and folder."""

    name: str
    collection: Collection
    options: ExperimentOptions
    out: Path
    execution: Execution
    track: Track = lambda batches, total: batches
    """Shows progress."""

    @property
    def settings(self) -> Settings:
        """Tasks, queries and supports."""
        return self.options.settings

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that decides the outcome, as JSON values."""
        options = asdict(self.options)
        decides = {
            "experiment": self.name,
            **options.pop("settings"),
            "options": options,
            "collection_sha256": sha256_of(self.collection.path / manifest.NAME),
        }
        values: dict[str, Any] = json.loads(json.dumps(decides))
        return values

    def claim(self, predictors: dict[str, str] | None = None) -> None:
        """Make the folder, whose lock the runner holds, that of this experiment, or check that it is.

        Args:
            predictors: By name, what tells versions apart.

        Raises:
            ValueError: If the folder holds another experiment, or other predictors.
        """
        claim_folder(self.out, self.identity, predictors or {})

    def kept(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A measurement by its name, taken now or by an earlier run, as JSON values."""
        path = self.out / "measured" / f"{name}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, measure())
        return read_json(path, "Delete it, and the same command measures it again.")
