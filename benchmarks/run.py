"""One benchmark run: plan a suite, score what is missing, write the summary."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.evaluator import Execution, ensemble_name, evaluate
from benchmarks.leaks import refuse_leaks
from benchmarks.predictors import NamedPredictor
from benchmarks.report import summarise, write_task_csv
from benchmarks.results import Row, append_rows, claim_folder, drop_torn_line, read_rows
from benchmarks.suites import Settings, plan_hash, plan_suite
from megamed import Collection

Track = Callable[[Iterable[list[Row]], int], Iterable[list[Row]]]
"""Passes batches of rows through while showing progress towards a number of rows."""


def run_benchmark(
    collection_path: Path,
    settings: Settings,
    predictors: Sequence[NamedPredictor],
    out: Path,
    execution: Execution,
    track: Track = lambda batches, total: batches,
) -> dict[str, Any]:
    """Score predictors on a suite into `out`, going on where an earlier run of the same settings stopped.

    Writes `settings.json`, `rows.csv`, `summary.json` and `summary.csv` (per task).

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ValueError: If the collection has nothing to score, a predictor was trained on images of the suite, or `out`
            holds results of other settings.
    """
    collection = Collection(collection_path)
    plans, skipped = plan_suite(collection, settings)
    not_compared = refuse_leaks(collection, [plan.task for plan in plans], predictors)
    episodes = {
        "collection_sha256": hashlib.sha256((collection_path / "manifest.json").read_bytes()).hexdigest(),
        "plan_hash": plan_hash(plans),
    }
    claim_folder(out, asdict(settings) | episodes, {each.name: each.fingerprint for each in predictors})

    rows_path = out / "rows.csv"
    drop_torn_line(rows_path)
    done = {row.key for row in read_rows(rows_path)}
    by_name = {each.name: each.predict for each in predictors}
    names = list(dict.fromkeys(scored for name in by_name for scored in (name, ensemble_name(name, settings.ensemble))))
    per_predictor = sum(len(plan.episodes) + (settings.ensemble > 1) * len(plan.groups) for plan in plans)
    remaining = len(by_name) * per_predictor - sum(key[0] in names for key in done)
    for rows in track(evaluate(collection, plans, by_name, done, execution), remaining):
        append_rows(rows_path, rows)

    rows = read_rows(rows_path)
    summary = summarise(rows, names, settings.seed) | {
        "settings": asdict(settings) | episodes,
        "predictors": {each.name: each.provenance | {"fingerprint": each.fingerprint} for each in predictors},
        "skipped": skipped,
        "training_data_not_compared": not_compared,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    write_task_csv(out / "summary.csv", rows, summary)
    return summary
