"""Inputs and outcome of an experiment: its collection and options, and the points that it measures."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.analysis.statistics import Interval
from benchmarks.plans.task_plans import Settings
from benchmarks.run import Track
from benchmarks.scoring.evaluator import Execution
from benchmarks.scoring.results import claim_folder
from incontext import __version__
from incontext.networks.checkpoint import locate
from megamed import Collection, manifest
from megamed.files import read_json, sha256_of, write_json

FOLDERS = ("scribbles", "data")
"""Options that no experiment but one has, and its folders alone state."""
GROUPINGS = ("dataset", "modality", "anatomy")
"""Groupings of datasets by which a training can leave some out."""


class Coordinates(NamedTuple):
    """Coordinates of a measurement in the figure: panel, series and value on the horizontal axis."""

    x: float | str
    """Value on a numerical axis, or the name of a group of bars."""
    series: str = ""
    """Name of the curve, or of the colour of bars, that the point belongs to."""
    panel: str = ""
    """Title of one of several panels side by side; empty for a point that all panels share."""

    def __str__(self) -> str:
        x = self.x if isinstance(self.x, str) else f"{self.x:g}"
        return ", ".join(filter(None, (self.panel, self.series, x)))


@dataclass(frozen=True)
class Point:
    """Measurement at one point of the figure, with its interval."""

    place: Coordinates
    value: Interval
    reference: Coordinates | None = None
    """Coordinates of the point that this one is compared with."""
    difference: Interval | None = None
    """Paired difference of the point minus its reference."""
    about: str = ""
    """Remark on the point, which the tables print beside it."""
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
    scribbles: str = ""
    """Folder of people's scribbles."""
    data: str = ""
    """Folder of datasets with source files."""

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
    """Progress display; by default there is none."""

    @property
    def settings(self) -> Settings:
        """Settings that decide tasks, queries and supports."""
        return self.options.settings

    def panel_of(self, predictor: str, panel: str = "") -> str:
        """Title of a predictor's panel, or of one of several: its name if there are several predictors, then theirs."""
        return ", ".join(filter(None, (predictor if len(self.options.predictors) > 1 else "", panel)))

    @property
    def weights(self) -> Path:
        """Path of the weights file of the one predictor to examine.

        Raises:
            ValueError: If there are several predictors, or the only one is no weights file.
        """
        names = self.options.predictors
        path = locate("default" if names == ("packaged",) else names[0])
        if len(names) > 1 or not path.is_file():
            msg = (
                "The experiment looks into one network: expected packaged, open or a weights file, got "
                f"{', '.join(names)}."
            )
            raise ValueError(msg)
        return path

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Options, collection hash and version, as JSON values; all that is kept in a folder is of equal ones."""
        options = {name: value for name, value in asdict(self.options).items() if value or name not in FOLDERS}
        decides = {
            "experiment": self.name,
            **options.pop("settings"),
            "options": options,
            "collection_sha256": sha256_of(self.collection.path / manifest.NAME),
            "version": __version__,
        }
        values: dict[str, Any] = json.loads(json.dumps(decides))
        return values

    def claim(self, predictors: dict[str, str] | None = None) -> None:
        """Claim the folder, whose lock the runner holds, for this experiment, or check that it belongs to it.

        Args:
            predictors: Fingerprints of the predictors, by name; a fingerprint changes with the version.

        Raises:
            ValueError: If the folder holds another experiment, or other predictors.
        """
        claim_folder(self.out, self.identity, predictors or {})

    def claim_weights(self) -> dict[str, Any]:
        """Claim the folder for the one network to examine, and return its fingerprint, for the details of findings.

        Raises:
            ValueError: If there is no such network, or the folder holds another experiment, or other weights.
        """
        fingerprints = {"weights": sha256_of(self.weights)}
        self.claim(fingerprints)
        return {"fingerprints": fingerprints}

    def kept(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Read a named measurement of an earlier run, or take it now and write it, as JSON values."""
        path = self.out / "measured" / f"{name}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, measure())
        return read_json(path, "Delete it, and the same command measures it again.")

    def kept_draws(self, name: str, measure: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
        """Read or take a named measurement for each of as many seeds as there are draws: see `kept`."""
        seeds = range(self.settings.seed, self.settings.seed + self.settings.draws)
        return [self.kept(f"{name}-seed{seed}", partial(measure, seed)) for seed in seeds]
