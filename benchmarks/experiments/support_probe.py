"""Probe of a weights file on a suite: does its network read the support?"""

from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.plans.suites import SUITES
from benchmarks.plans.task_plans import Settings
from benchmarks.predictors import load_network
from incontext.training.episodes import DevTask, dev_tasks
from incontext.training.probe import objections, probe
from megamed import Collection

SUPPORTS = {
    "true": "as it is",
    "blank": "black images, empty labels",
    "shuffled": "every label with the next image",
    "wrong": "labels of another task",
    "inverted": "foreground and background exchanged, in the queries too",
    "restored": "the same masks, exchanged back",
}
"""Description of each kind of support that the probe shows."""


def probe_suite(collection_path: Path, settings: Settings, weights: Path, device: str) -> dict[str, Any]:
    """Probe the network of a weights file on every task of a suite's datasets.

    Each task has one support for all its queries; of the settings, draws, ensembles and query subjects do not apply.

    Returns:
        The `scores` (Dice in [0, 1] by kind of support), the `objections`, and whether it `passes`, as JSON values.

    Raises:
        ValueError: If the collection has no task of the suite, or the file no network.
    """
    tasks = tasks_with_one_support(collection_path, settings)
    scores = probe(load_network(weights, device), tasks)
    found = objections(scores)
    return {"scores": scores, "objections": found, "passes": not found}


def tasks_with_one_support(collection_path: Path, settings: Settings) -> list[DevTask]:
    """Load every task of a suite's datasets, with one support for all its queries.

    Raises:
        ValueError: If the collection has no task of the suite.
    """
    collection, suite = Collection(collection_path), SUITES[settings.suite]
    datasets = {task.dataset for task in suite.tasks(collection)}
    known = dev_tasks(collection, settings.seed, settings.support_size, settings.queries, suite.roles)
    tasks = [task for task in known if task.dataset in datasets]
    if not tasks:
        msg = (
            f"The collection has no task of suite {settings.suite!r}: expected a dataset of role "
            f"{' or '.join(suite.roles)} with two subjects, got {', '.join(collection.datasets)}."
        )
        raise ValueError(msg)
    return tasks


def probe_table(result: dict[str, Any]) -> Table:
    """Terminal table of the scores of a probe, in per cent."""
    table = Table("support", "what it is", "Dice, %")
    for kind, what in SUPPORTS.items():
        if kind in result["scores"]:
            table.add_row(kind, what, f"{100 * result['scores'][kind]:.1f}")
    return table
