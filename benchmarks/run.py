"""One benchmark run: plan a suite, score what is missing, write the summary."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.analysis.summary import summarise, summarise_candidates, write_task_csv
from benchmarks.plans.frozen_lists import FrozenList, plan_asked, read_list
from benchmarks.plans.suites import licenses
from benchmarks.plans.task_plans import Settings, TaskPlan, plan_hash, stated, with_annotators
from benchmarks.predictors import expand, load_predictors
from benchmarks.scoring.evaluator import Execution, Scored, Work, base_name, ensemble_name, row_keys
from benchmarks.scoring.leaks import find_leaks
from benchmarks.scoring.results import (
    Candidates,
    Cost,
    Row,
    RowKey,
    append_rows,
    claimed,
    prepare_table,
    read_records,
    read_rows,
    total_costs,
)
from benchmarks.scoring.same_images import note_contents
from benchmarks.scoring.settings_file import seal, write_summary
from benchmarks.scoring.workers import score_all
from megamed import Collection, manifest
from megamed.files import sha256_of

Track = Callable[[Iterable[list[Any]], int], Iterable[list[Any]]]
"""Function that passes batches of rows, or of other pieces, through while it shows progress towards their total."""


def run_benchmark(
    collection_path: Path,
    asked: Settings | FrozenList,
    predictors: Sequence[str],
    out: Path,
    execution: Execution,
    track: Track = lambda batches, total: batches,
) -> dict[str, Any]:
    """Score predictors on a suite into `out`, going on where an earlier run of the same settings stopped.

    The files are `settings.json`, `rows.csv`, `costs.csv`, `summary.json` and `summary.csv` (per task), and
    `candidates.csv` where several people annotated the queries. A run that is killed and resumed, or is shared by
    several processes, writes the same rows in the same order.

    Args:
        collection_path: Path of the collection to take tasks from.
        asked: Settings that decide the scores, or a frozen list of episodes.
        predictors: Names as `load_predictor` knows them, or `all`.
        out: Folder of the results.
        execution: Device, batches and workers, on which no score depends.
        track: Progress display: see `Track`.

    Returns:
        The summary, as in `summary.json`. Its key `failed` names each task that a predictor failed on or was trained
        on, with the reason; the predictor's mean is over the other tasks, and a later run tries these again.

    Raises:
        ValueError: If the collection has nothing to score, `out` holds results of other settings, or every predictor
            failed on every task.
        OSError: If a worker dies.
    """
    collection = Collection(collection_path)
    settings, plans, skipped = plan_asked(collection, asked)
    plans = with_annotators(collection, plans)
    names = expand(predictors)
    loaded = load_predictors(names, execution.device)
    leaks = find_leaks(collection, [plan.task for plan in plans], loaded)
    episodes = {
        "collection_sha256": sha256_of(collection_path / manifest.NAME),
        "plan_hash": plan_hash(plans),
    }
    by_name = {each.name: (source, each) for source, each in zip(names, loaded, strict=True)}
    with claimed(out, stated(settings) | episodes, {each.name: each.fingerprint for each in loaded}):
        note_contents(out, collection, plans)
        store = Store.open(out)
        store.refuse_strangers(plans)
        store.failed |= leaks.seen
        works = [
            Work.missing(name, plan, store.done)
            for plan in plans
            for name in by_name
            if plan.task.id not in leaks.seen.get(name, {})
        ]
        planned = {key for work in works for group in work.groups for key in row_keys(work.name, work.plan, group)}
        for _ in track(store.keep(score_all(collection, works, by_name, execution)), len(planned - store.done)):
            pass
        rows = store.rows()
        summary = store.summarise(rows, list(by_name), settings) | {
            "settings": asdict(settings) | episodes,
            "predictors": {each.name: each.provenance | {"fingerprint": each.fingerprint} for each in loaded},
            "failed": store.failed,
            "skipped": skipped,
            "training_data_not_compared": leaks.not_compared,
            "licenses": licenses(collection, (plan.task.dataset for plan in plans)),
        }
        store.publish(rows, summary)
    return summary


def run_sizes(
    collection: Path,
    asked: Sequence[Settings],
    predictors: Sequence[str],
    out: Path | None,
    execution: Execution,
    frozen_list: Path | None = None,
    track: Track = lambda batches, total: batches,
) -> dict[int, dict[str, Any]]:
    """Score predictors at several support sizes, each into a folder of its own.

    Args:
        collection: Path of a collection built by megamed.
        asked: Settings that differ in the support size alone.
        predictors: Names of predictors, as in `run_benchmark`.
        out: Folder of the results, or of a folder for each support size: see `result_folders`.
        execution: Device, batches and workers, on which no score depends.
        frozen_list: Frozen list to score in place of the settings, which must be at their defaults then.
        track: Progress display: see `Track`.

    Returns:
        The summary of each support size.

    Raises:
        ValueError: If settings other than the defaults stand beside a list, or `run_benchmark` refuses to score.
        OSError: If a worker dies.
    """
    by_size: dict[int, Settings | FrozenList] = {settings.support_size: settings for settings in asked}
    suite = asked[0].suite
    if frozen_list is not None:
        if list(asked) != [Settings()]:
            msg = "The list decides what is scored: expected none of the options above --list, got some. Omit them."
            raise ValueError(msg)
        frozen = read_list(frozen_list)
        suite, by_size = frozen.settings.suite, {frozen.settings.support_size: frozen}
    return {
        size: run_benchmark(collection, by_size[size], predictors, folder, execution, track)
        for size, folder in result_folders(out, suite, list(by_size)).items()
    }


def result_folders(out: Path | None, suite: str, sizes: Sequence[int]) -> dict[int, Path]:
    """Folder of the results of each support size: below `out` if there are several sizes, by default below `runs`."""
    if out is None:
        return {size: Path("runs") / f"{suite}-S{size}" for size in sizes}
    return {size: out / f"S{size}" if len(sizes) > 1 else out for size in sizes}


def failures(summaries: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Reasons for the failures at any support size, by predictor and task."""
    return {
        (name, task): reason
        for summary in summaries
        for name, reasons in summary["failed"].items()
        for task, reason in reasons.items()
    }


@dataclass
class Store:
    """Tables of a run, which one process writes, whichever processes score."""

    rows_path: Path
    candidates_path: Path
    costs_path: Path
    done: set[RowKey]
    """Keys of the rows and candidates that the tables hold already; none of them is written again."""
    asked: set[tuple[str, str, str]] = field(default_factory=set)
    """Tasks, cases and subjects of the rows that the table held at first."""
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    """Mapping of a predictor → task → reason why it could not or must not be scored there."""

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Open the tables of a folder; missing ones are empty, and lines that a kill cut off are dropped."""
        rows, candidates, costs = (folder / f"{name}.csv" for name in ("rows", "candidates", "costs"))
        prepare_table(rows, Row)
        prepare_table(candidates, Candidates)
        prepare_table(costs, Cost)
        found = read_rows(rows)
        done = {row.key for row in found} | {each.key for each in read_records(candidates, Candidates)}
        seal(folder)
        return cls(rows, candidates, costs, done, {(row.task, row.case, row.subject) for row in found})

    def refuse_strangers(self, plans: Iterable[TaskPlan]) -> None:
        """Refuse rows of tasks, queries or subjects that the plans do not ask about.

        Raises:
            ValueError: If there is such a row.
        """
        planned = {
            (plan.task.id, episode.query.case, episode.query.subject) for plan in plans for episode in plan.episodes
        }
        if strangers := sorted(self.asked - planned):
            task, case, subject = strangers[0]
            msg = (
                f"{self.rows_path} has rows of something that was not asked: expected queries of the plan, got case "
                f"{case} of subject {subject} in task {task}. Restore the file from a copy, or delete these lines."
            )
            raise ValueError(msg)

    def keep(self, scored: Iterable[Scored]) -> Iterator[list[Row]]:
        """Write rows, candidates and costs as they are scored, and yield the rows that are new."""
        for part in scored:
            new = [row for row in part.rows if row.key not in self.done]
            compared = [each for each in part.candidates if each.key not in self.done]
            append_rows(self.rows_path, new)
            append_rows(self.candidates_path, compared)
            if part.cost.queries:
                append_rows(self.costs_path, [part.cost])
            self.done |= {row.key for row in new} | {each.key for each in compared}
            if part.failure:
                self.failed.setdefault(part.rest.name, {})[part.rest.plan.task.id] = part.failure
            yield new

    def rows(self) -> list[Row]:
        """Read the rows of tasks that were scored in full, since the mean of half a task is another measure."""
        found = read_rows(self.rows_path)
        return [row for row in found if row.task not in self.failed.get(base_name(row.predictor, row.ensemble), {})]

    def candidates(self) -> list[Candidates]:
        """Read the candidates of tasks that were scored in full."""
        found = read_records(self.candidates_path, Candidates)
        return [each for each in found if each.task not in self.failed.get(each.predictor, {})]

    def summarise(self, rows: Sequence[Row], predictors: Sequence[str], settings: Settings) -> dict[str, Any]:
        """Summarise estimates, counts and costs of some predictors and of their ensembles, by rows as `rows` has them.

        Raises:
            ValueError: If every predictor failed on every task.
        """
        there = {row.predictor for row in rows}
        sizes = (1, settings.ensemble) if settings.ensemble > 1 else (1,)
        names = {ensemble_name(name, size): (name, size) for name in predictors for size in sizes}
        names = {name: what for name, what in names.items() if name in there}
        if not names:
            name, reasons = next(iter(self.failed.items()))
            task, reason = next(iter(reasons.items()))
            msg = f"Every predictor failed on every task: expected scores, got none; {name} on {task}: {reason}"
            raise ValueError(msg)
        summary = summarise(rows, list(names), settings.seed)
        if annotators := summarise_candidates(self.candidates(), predictors, settings.seed):
            summary["annotators"] = annotators
        costs = total_costs(read_records(self.costs_path, Cost))
        for shown, (name, size) in names.items():
            if cost := costs.get(name):
                seconds = round(size * cost["seconds_per_query"], 4)
                summary["counts"][shown] |= cost | {"seconds_per_query": seconds}
        return summary

    def publish(self, rows: Sequence[Row], summary: dict[str, Any]) -> None:
        """Write a summary beside the tables, as `summary.json` and, per task, as `summary.csv`."""
        write_summary(self.rows_path.parent, summary)
        write_task_csv(self.rows_path.with_name("summary.csv"), rows, summary)
