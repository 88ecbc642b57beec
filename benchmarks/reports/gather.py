"""Results of a report, read from the folders of one benchmark's runs, by support size and predictor."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from benchmarks.analysis.statistics import DatasetScores, estimate, subject_means
from benchmarks.analysis.summary import CANDIDATE_METRICS, summarise, summarise_candidates
from benchmarks.plans.task_plans import DEFAULTS
from benchmarks.scoring.results import Candidates, Cost, Row, read_records, read_rows, shared_rows, showing, total_costs
from benchmarks.scoring.settings_file import SETTINGS_NAME, is_summary_changed, read_settings
from megamed.files import read_json
from megamed.manifest import first_fault

logger = logging.getLogger(__name__)

PER_SIZE = ("support_size", "plan_hash")
"""Settings in which the runs of one benchmark may differ."""
FURTHER_METRICS = tuple(name for name, kind in get_type_hints(Row).items() if kind is float and name != "dice")
"""Names of the metrics beside Dice that rows hold."""
NOTED = ("failed", "skipped", "training_data_not_compared")
"""Keys of a summary under which it names failures and omissions, where there are any."""

_Notes = dict[str, str | list[str] | dict[str, str]]


class _Interval(BaseModel):
    mean: float
    low: float
    high: float
    subjects: int = 0


class _Settings(BaseModel):
    support_size: int
    seed: int


class _Alarms(BaseModel):
    overall: dict[str, _Interval] = Field(default_factory=dict)
    tasks: dict[str, dict[str, _Interval]] = Field(default_factory=dict)


class _Counts(BaseModel):
    seconds_per_query: float | None = None


class _Structure(BaseModel):
    """Structure of a run's summary, as far as reports read it."""

    settings: _Settings
    method: str
    overall: dict[str, _Interval] = Field(min_length=1)
    datasets: dict[str, dict[str, _Interval]] = Field(min_length=1)
    tasks: dict[str, dict[str, _Interval]] = Field(min_length=1)
    counts: dict[str, _Counts]
    predictors: dict[str, dict[str, Any]] = Field(default_factory=dict)
    licenses: dict[str, str] = Field(default_factory=dict)
    annotators: dict[str, dict[str, dict[str, _Interval]]] = Field(default_factory=dict)
    false_alarms: _Alarms = _Alarms()
    failed: _Notes = Field(default_factory=dict)
    skipped: _Notes = Field(default_factory=dict)
    training_data_not_compared: _Notes = Field(default_factory=dict)


@dataclass(frozen=True)
class SizeResults:
    """Results at one support size: rows and summary."""

    summary: dict[str, Any]
    """Summary of the rows, as `benchmarks.analysis.summary.summarise` makes it."""
    rows: tuple[Row, ...]
    """Rows of the queries that show the structure."""
    plan_hash: str


@dataclass(frozen=True)
class AnnotatorLine:
    """Agreement of the draws with several annotators, by one metric on one dataset."""

    dataset: str
    metric: str
    values: dict[str, dict[str, float]]
    """Interval of each predictor, with the keys of a summary."""


@dataclass(frozen=True)
class Results:
    """Results of one benchmark, whose runs differ in support size and predictors alone."""

    settings: dict[str, Any]
    """Settings that all runs share, with the collection's hash."""
    sizes: dict[int, SizeResults]
    """Results by support size, ascending."""
    predictors: dict[str, dict[str, Any]]
    """Mapping of a predictor's name → fingerprint and provenance, as far as the runs state them."""
    notes: dict[str, dict[str, str]]
    """Failures and omissions: key of `NOTED` → name of the task or predictor → reason."""
    licenses: dict[str, str] = field(default_factory=dict)
    """Licence of each dataset, by its id, as far as the runs state it."""

    @property
    def size(self) -> int:
        """Largest support size, at which a report shows tasks and details."""
        return max(self.sizes)

    @property
    def main(self) -> SizeResults:
        """Results at the largest support size."""
        return self.sizes[self.size]

    @property
    def ranking(self) -> list[str]:
        """Names of the predictors, the best at the largest support size first, those without a score last."""
        overall = self.main.summary["overall"]

        def mean(name: str) -> float:
            value: float = overall[name]["mean"]
            return value if isfinite(value) else -1.0

        return sorted(overall, key=lambda name: (-mean(name), name))

    def scores(self, metric: str = "dice") -> list[DatasetScores]:
        """Subject means at the largest support size, predictors in the order of the ranking."""
        return list(subject_means(self.main.rows, self.ranking, metric).values())

    def metrics(self) -> dict[str, dict[str, float]]:
        """Means over datasets of the metrics beside Dice that the rows hold: metric → predictor → mean."""
        means = {name: estimate(self.scores(name)) for name in FURTHER_METRICS}
        return {
            metric: dict(zip(self.ranking, map(float, values), strict=True))
            for metric, values in means.items()
            if np.isfinite(values).any()
        }

    def annotators(self) -> list[AnnotatorLine]:
        """Agreement of all draws of a query with its annotators, a line per metric and dataset with several of them."""
        return [
            AnnotatorLine(dataset, CANDIDATE_METRICS[metric], values)
            for metric, datasets in self.main.summary.get("annotators", {}).items()
            for dataset, values in datasets.items()
        ]

    @property
    def false_alarms(self) -> dict[str, dict[str, float]]:
        """Interval of each predictor's share of false alarms at the largest support size; empty if nobody asked."""
        alarms: dict[str, dict[str, float]] = self.main.summary.get("false_alarms", {}).get("overall", {})
        return alarms

    def seconds_per_query(self, name: str) -> float | None:
        """Seconds that a predictor takes for a query at the largest support size; None if unknown."""
        seconds: float | None = self.main.summary["counts"].get(name, {}).get("seconds_per_query")
        return seconds


def gather(folders: Sequence[Path]) -> Results:
    """Read the runs in some folders, or in the folders below them, as `--support-size 1 --support-size 4` makes.

    Runs of one support size are compared on what they share, as `incontext-bench compare` does.

    Raises:
        ValueError: If a folder holds no run, or the runs are of several benchmarks.
    """
    runs = {run: _read_summary(run) for folder in folders for run in _runs_in(folder)}
    _refuse_other_benchmarks(runs)
    by_size: dict[int, list[Path]] = defaultdict(list)
    for run, summary in runs.items():
        by_size[summary["settings"]["support_size"]].append(run)
    notes: dict[str, dict[str, str]] = {}
    predictors: dict[str, dict[str, Any]] = {}
    for run, summary in runs.items():
        predictors |= {name: {"fingerprint": print_} for name, print_ in _fingerprints(run).items()}
        predictors |= summary.get("predictors", {})
        for kind in NOTED:
            notes.setdefault(kind, {}).update(_reasons(summary.get(kind, {})))
    first = next(iter(runs.values()))["settings"]
    return Results(
        settings={key: value for key, value in first.items() if key not in PER_SIZE},
        sizes={size: _size_results(by_size[size], runs) for size in sorted(by_size)},
        predictors=predictors,
        notes={kind: reasons for kind, reasons in notes.items() if reasons},
        licenses={name: text for each in runs.values() for name, text in each.get("licenses", {}).items()},
    )


def _runs_in(folder: Path) -> list[Path]:
    """Folders of runs: the folder itself if it is one, else those of its subfolders that are."""
    found = [folder] if (folder / "summary.json").exists() else [path.parent for path in folder.glob("*/summary.json")]
    if not found:
        msg = (
            f"{folder} holds no run: expected summary.json there or one folder below, got none. "
            "Use `incontext-bench run`."
        )
        raise ValueError(msg)
    return sorted(found)


def _read_summary(run: Path) -> dict[str, Any]:
    summary = read_json(run / "summary.json", "Start the run's command again, which writes it anew.")
    try:
        _Structure.model_validate(summary)
    except ValidationError as error:
        msg = (
            f"{run / 'summary.json'} is no summary of a run: expected settings and scores, got another structure: "
            f"{first_fault(error)}. Move it away and start the run's command again, which writes it anew."
        )
        raise ValueError(msg) from error
    if is_summary_changed(run):
        logger.warning(
            "%s was changed since it was written, and its figures are told as they are now. Move it away and start "
            "the run's command again, which writes it anew.",
            run / "summary.json",
        )
    return summary | {"settings": DEFAULTS | summary["settings"]}


def _fingerprints(run: Path) -> dict[str, str]:
    """Fingerprints of all predictors that were ever run into a folder, by name."""
    return read_settings(run)["predictors"] if (run / SETTINGS_NAME).exists() else {}


def _refuse_other_benchmarks(runs: Mapping[Path, Mapping[str, Any]]) -> None:
    first, *others = runs
    wanted = runs[first]["settings"]
    for run in others:
        got = runs[run]["settings"]
        for key in sorted((wanted.keys() | got.keys()) - set(PER_SIZE)):
            if wanted.get(key) != got.get(key):
                msg = (
                    f"{run} is of another benchmark than {first}: expected {key} = {wanted.get(key)}, "
                    f"got {got.get(key)}. Make a report for each."
                )
                raise ValueError(msg)


def _size_results(folders: Sequence[Path], runs: Mapping[Path, dict[str, Any]]) -> SizeResults:
    """Take the summary of a single run if it covers all rows, or summarise the predictions that the runs share."""
    summary = runs[folders[0]]
    rows = read_rows(folders[0] / "rows.csv") if len(folders) == 1 else []
    if not rows or {row.predictor for row in rows} - summary["overall"].keys():
        rows = shared_rows(folders)
        names = list(dict.fromkeys(row.predictor for row in rows))
        seed = summary["settings"]["seed"]
        summary = summarise(rows, names, seed)
        _add_costs(summary["counts"], folders)
        compared = _compared(names, folders)
        summary |= {"annotators": summarise_candidates(compared, names, seed)} if compared else {}
    scored = {(task, name) for task, values in summary["tasks"].items() for name in values if _known(values[name])}
    plan_hashes = sorted({runs[folder]["settings"].get("plan_hash", "unknown") for folder in folders})
    rows = [row for row in showing(rows) if (row.task, row.predictor) in scored]
    return SizeResults(summary, tuple(rows), ", ".join(plan_hashes))


def _add_costs(counts: dict[str, dict[str, Any]], folders: Sequence[Path]) -> None:
    """Add time and memory of the predictions to the counts, under the names that `shared_rows` gives."""
    for folder in folders:
        for name, cost in total_costs(read_records(folder / "costs.csv", Cost)).items():
            for shown in {name, f"{folder}:{name}"} & counts.keys():
                counts[shown] |= cost


def _compared(names: Sequence[str], folders: Sequence[Path]) -> list[Candidates]:
    """Read the candidates of some predictors, under the names that `shared_rows` gives."""
    return [
        replace(each, predictor=shown)
        for folder in folders
        for each in read_records(folder / "candidates.csv", Candidates)
        for shown in {each.predictor, f"{folder}:{each.predictor}"} & set(names)
    ]


def _known(value: Mapping[str, float]) -> bool:
    return isfinite(value["mean"])


def _reasons(noted: Mapping[str, Any]) -> dict[str, str]:
    """Flatten a summary's notes on tasks, predictors, or predictors by task, to name → reason."""
    flat: dict[str, str] = {}
    for name, reason in noted.items():
        if isinstance(reason, Mapping):
            flat |= {f"{name} on {task}": str(why) for task, why in reason.items()}
        elif reason:
            flat[name] = reason if isinstance(reason, str) else ", ".join(map(str, reason))
    return flat
