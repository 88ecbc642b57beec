"""Runs one experiment and writes its table, its figure and its protocol."""

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.experiments.bench import Bench, Findings
from benchmarks.experiments.catalogue import Experiment, find_experiment
from benchmarks.experiments.finding_tables import comma_separated, markdown
from benchmarks.plans.suites import SUITES, licenses
from benchmarks.scoring.results import claimed
from megamed.extras import require
from megamed.files import replace_file, write_json

WRITTEN = ("table.csv", "table.md", "figure.png", "experiment.json")
"""Names of the files of an experiment."""


@dataclass(frozen=True)
class Outcome:
    """Table of an experiment's findings, and its failures."""

    table: str
    """The findings as a Markdown table."""
    failures: dict[tuple[str, str], str]
    """Mapping of (condition, task) → reason why there is no score."""


def run_experiment(bench: Bench) -> Outcome:
    """Measure what is not measured yet, and write `table.csv`, `table.md`, `figure.png` and `experiment.json`.

    Killed at any moment, the same call goes on where it stopped.

    Raises:
        ValueError: If there is no such experiment, its folder holds another one, or nothing can be asked.
        OSError: If a worker dies.
        ModuleNotFoundError: If the extra `report` is not installed.
    """
    experiment = find_experiment(bench.name)
    require("report", "The figure of an experiment", "matplotlib")
    from benchmarks.experiments.figure import draw

    with claimed(bench.out, bench.identity, {}, WRITTEN):
        findings = experiment.run(bench)
        if not findings.points:
            msg = (
                f"Experiment {bench.name} measured nothing: expected tasks that it can be made of, got none of suite "
                f"{bench.settings.suite!r} with {bench.settings.support_size} labelled examples. Give it more of them, "
                "or another suite."
            )
            raise ValueError(msg)
        table = markdown(bench.name, experiment, findings, sentence(bench, experiment, findings))
        as_csv, as_markdown, figure, as_json = (bench.out / name for name in WRITTEN)
        replace_file(as_csv, comma_separated(findings))
        replace_file(as_markdown, table)
        write_json(as_json, described(bench, experiment, findings))
        draw(figure, experiment, findings)
    failed = findings.details.get("failed", {})
    return Outcome(table, {(name, task): why for name, tasks in failed.items() for task, why in tasks.items()})


def described(bench: Bench, experiment: Experiment, findings: Findings) -> dict[str, Any]:
    """Identity, question, method and findings of the experiment, as JSON values."""
    return {
        **bench.identity,
        "licenses": licenses_of(bench, experiment, findings),
        "question": experiment.question,
        "method": experiment.method,
        **findings.details,
        "points": [asdict(point) for point in findings.points],
    }


def sentence(bench: Bench, experiment: Experiment, findings: Findings) -> str:
    """Describe data and settings of an experiment in a sentence, with the hashes of collection and plans."""
    if experiment.kind == "times":
        return "Random images and labels."
    options, settings = bench.options, bench.settings
    told = "; ".join(f"{name} ({license})" for name, license in licenses_of(bench, experiment, findings).items())
    told = f" Licences: {told}." if told else ""
    if experiment.kind == "films":
        return (
            f"At most {settings.queries} films of each dataset, seed {settings.seed}. "
            f"Collection `{bench.identity['collection_sha256']}`.{told}"
        )
    if experiment.kind == "volumes":
        return (
            f"At most {settings.queries} volumes of each dataset of suite `{settings.suite}`, seed {settings.seed}. "
            f"Collection `{bench.identity['collection_sha256']}`.{told}"
        )
    hashes = dict.fromkeys(findings.details.get("plan_hashes", {}).values())
    parts = [
        "Tasks of what is left out" if experiment.kind == "leaves" else f"Suite `{settings.suite}`",
        f"{settings.support_size} labelled examples unless stated",
        f"{settings.draws} draws",
        f"at most {settings.queries} queries per task",
        f"seed {settings.seed}",
        f"trainings of {options.steps} steps, seeds 0 to {options.seeds - 1}",
    ]
    asked = ", ".join(parts[:-1] if experiment.kind == "scores" else parts)
    plans = f" Plans {', '.join(hashes)}." if hashes else ""
    return f"{asked}. Collection `{bench.identity['collection_sha256']}`.{plans}{told}"


def licenses_of(bench: Bench, experiment: Experiment, findings: Findings) -> dict[str, str]:
    """Licence of each dataset of the suite; where an experiment chooses others, of those that its points name."""
    if experiment.kind == "times":
        return {}
    if experiment.kind in ("scores", "trains"):
        return licenses(
            bench.collection, {task.dataset for task in SUITES[bench.settings.suite].tasks(bench.collection)}
        )
    named = {str(each) for point in findings.points for each in point.place} & {*bench.collection.datasets}
    return licenses(bench.collection, named or bench.collection.datasets)
