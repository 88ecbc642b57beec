"""The command `incontext-bench`: run, freeze, compare, report, enter and list benchmarks, and probe weights."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.board.command import leaderboard, submit
from benchmarks.evidence.command import evidence_of
from benchmarks.experiments.command import volumes
from benchmarks.messages import tell_failures, tell_skipped
from benchmarks.options import (
    Absent,
    AsJson,
    Attributes,
    BatchSize,
    Built,
    Device,
    Draws,
    Ensemble,
    MemoryBudget,
    Queries,
    QuerySubjects,
    Scheduler,
    Seed,
    Suite,
    Supports,
    Weights,
    Workers,
)
from megamed.command_line import CommandLine

app = CommandLine(
    "incontext-bench",
    help="Score in-context segmentation networks and baselines on tasks that they were not trained on.",
)
DEFAULT_PREDICTORS = ["packaged", "mean-mask", "nearest-copy"]
DEFAULT_NETWORKS = ["packaged"]
DEFAULT_SIZES = [16]
DEFAULT_GROUPINGS = ["size", "modality"]
FAILED = 3
"""Exit status of `probe` when the network does not read its support, of `run` when a predictor failed on a task."""


class Listed(StrEnum):
    """Kinds of names that `incontext-bench list` lists."""

    suites = "suites"
    predictors = "predictors"
    experiments = "experiments"


class ReportFormat(StrEnum):
    """Formats in which `incontext-bench report` writes."""

    html = "html"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"


@app.command()
def run(
    collection: Built,
    suite: Suite = "heldout",
    support_size: Annotated[
        list[int], typer.Option(help="Number of labelled examples per query; repeatable.")
    ] = DEFAULT_SIZES,
    draws: Draws = 5,
    queries: Queries = 40,
    seed: Seed = 0,
    query_subjects: QuerySubjects = "all",
    ensemble: Ensemble = 1,
    supports: Supports = "per-query",
    absent: Absent = 0,
    frozen_list: Annotated[
        Path | None,
        typer.Option("--list", help="List of episodes, written by `freeze`, to score in place of the options above."),
    ] = None,
    predictor: Annotated[
        list[str],
        typer.Option(
            help="Predictor to score: one of `incontext-bench list predictors`, all, a weights file, or your own as "
            "module:object; repeatable."
        ),
    ] = DEFAULT_PREDICTORS,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results, from which an interrupted run resumes. Several support sizes go to OUT/S1, "
            "OUT/S4, ...",
            show_default="runs/SUITE-SSIZE",
        ),
    ] = None,
    device: Device = None,
    batch_size: BatchSize = None,
    memory_gb: MemoryBudget = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    as_json: AsJson = False,
) -> None:
    """Score predictors on a suite: Dice per task and overall with 95 % intervals, as a table, CSV and JSON.

    The same command resumes an interrupted run.
    Exit status: 0; 3 if a predictor failed on some task or was trained on its images; 1 or 2 if nothing was scored.
    """
    from benchmarks.plans.task_plans import Settings
    from benchmarks.reports.terminal import show, with_progress
    from benchmarks.run import failures, run_sizes
    from benchmarks.scoring.evaluator import Execution
    from incontext.networks.devices import choose_device

    asked = [
        Settings(suite, size, draws, queries, seed, query_subjects, ensemble, supports, absent) for size in support_size
    ]
    execution = Execution(str(choose_device(device)), batch_size, memory_gb, workers, scheduler)
    summaries = run_sizes(collection, asked, predictor, out, execution, frozen_list, with_progress)
    tell_skipped(next(iter(summaries.values()))["skipped"])
    failed = failures(summaries.values())
    tell_failures(failed)
    show(summaries, as_json)
    if failed:
        raise typer.Exit(FAILED)


@app.command(name="freeze")
def freeze_list(
    collection: Built,
    suite: Suite = "heldout",
    support_size: Annotated[int, typer.Option(help="Number of labelled examples per query.")] = 16,
    draws: Draws = 5,
    queries: Queries = 40,
    seed: Seed = 0,
    query_subjects: QuerySubjects = "all",
    ensemble: Ensemble = 1,
    supports: Supports = "per-query",
    absent: Absent = 0,
    out: Annotated[Path, typer.Option(help="Path of the JSON file to write.")] = Path("list.json"),
) -> None:
    """Write every query and support of a suite, by dataset and case, to a file for `run --list` here or elsewhere."""
    from benchmarks.plans.frozen_lists import freeze_to
    from benchmarks.plans.task_plans import Settings

    settings = Settings(suite, support_size, draws, queries, seed, query_subjects, ensemble, supports, absent)
    frozen = freeze_to(out, collection, settings)
    tell_skipped(frozen.skipped)
    episodes = sum(len(task.episodes) for task in frozen.tasks.values())
    print(f"{out}: plan {frozen.plan_hash}, {len(frozen.tasks)} tasks, {episodes} queries with their supports")


@app.command(name="suite")
def make_a_suite(
    collection: Built,
    out: Annotated[Path, typer.Option(help="Folder to write list.json and card.md to.")],
    name: Annotated[str, typer.Option(help="Name on the card.", show_default="the folder's")] = "",
    suite: Suite = "all",
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="Id of a dataset to ask about; repeatable.", show_default="all of the suite"),
    ] = None,
    support_size: Annotated[int, typer.Option(help="Number of labelled examples per query.")] = 16,
    draws: Draws = 5,
    queries: Queries = 40,
    seed: Seed = 0,
    query_subjects: QuerySubjects = "all",
    supports: Supports = "per-query",
    absent: Absent = 0,
) -> None:
    """Build a suite for others from any collection: a frozen list, and a card on its data, licences and limits."""
    from benchmarks.plans.suite_card import make_suite
    from benchmarks.plans.task_plans import Settings

    settings = Settings(suite, support_size, draws, queries, seed, query_subjects, 1, supports, absent)
    frozen = make_suite(collection, settings, out, name, tuple(dataset or ()))
    tell_skipped(frozen.skipped)
    print(f"{out}: list.json and card.md, plan {frozen.plan_hash}, {len(frozen.tasks)} tasks")


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Result folders of `incontext-bench run`.")],
    reference: Annotated[
        str | None, typer.Option(help="Predictor from which the others are subtracted; by default the first one.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare predictors by paired differences, on the predictions that all of them made from the same supports."""
    from benchmarks.analysis.summary import compare_runs
    from benchmarks.reports.terminal import show

    summary = compare_runs(folders, reference, seed)
    show({0: summary}, as_json)


@app.command()
def subgroups(
    folders: Annotated[list[Path], typer.Argument(help="Result folders of `incontext-bench run`.")],
    by: Annotated[
        list[str],
        typer.Option(
            help="Grouping of rows: size, size-in-task, modality, anatomy, split, or a column of --attributes; "
            "repeatable."
        ),
    ] = DEFAULT_GROUPINGS,
    collection: Annotated[
        Path | None, typer.Option(help="Collection of the runs, needed for anatomy and split.")
    ] = None,
    attributes: Attributes = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Score predictors on subgroups of images or subjects, with the gap between the best and the worst subgroup.

    Predictors are compared on the predictions that all of them made from the same supports.
    """
    from benchmarks.analysis.subgroups import tabulate_runs
    from benchmarks.analysis.summary import group_table
    from benchmarks.reports.terminal import show_json, show_tables

    tables = tabulate_runs(folders, by, collection, attributes, seed)
    if as_json:
        show_json([table.as_json() for table in tables])
    else:
        show_tables(*map(group_table, tables))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Result folders of `incontext-bench run`, of one benchmark.")],
    collection: Annotated[
        Path | None, typer.Option(help="Collection of the runs, from which example queries are drawn.")
    ] = None,
    predictor: Annotated[
        str | None,
        typer.Option(help="Predictor whose masks are drawn, as given to `run`.", show_default="the best"),
    ] = None,
    frozen_list: Annotated[Path | None, typer.Option("--list", help="Frozen list by which the runs were made.")] = None,
    attributes: Attributes = None,
    form: Annotated[
        ReportFormat, typer.Option("--format", help="Format of the report: an HTML page, or tables as text.")
    ] = ReportFormat.html,
    out: Annotated[
        Path | None, typer.Option(help="Path of the file.", show_default="report.html in the first folder, or stdout")
    ] = None,
    device: Device = None,
) -> None:
    """Write a report of runs: one self-contained HTML page, or tables in Markdown, CSV or LaTeX."""
    from benchmarks.reports import Shown, write_report
    from incontext.networks.devices import choose_device

    torch_device = str(choose_device(device))
    shown = None if collection is None else Shown(collection, predictor, frozen_list, torch_device)
    written = write_report(folders, form.value, out, shown, attributes)
    print(written, end="\n" if isinstance(written, Path) else "")


@app.command()
def probe(
    collection: Built,
    weights: Weights = "default",
    suite: Suite = "dev",
    support_size: Annotated[int, typer.Option(help="Number of labelled examples per task.")] = 16,
    queries: Annotated[int, typer.Option(help="Maximum number of query images per task.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the choice of queries and supports.")] = 0,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Test whether a network reads its support: Dice with the true support, and with supports tampered with.

    It passes if inverting the support labels inverts the mask, and labels of another task cost at least 20 Dice.
    Exit status: 0 if it passes, 3 if not, 1 or 2 if nothing could be measured.
    """
    from benchmarks.experiments.support_probe import probe_suite, probe_table
    from benchmarks.plans.task_plans import Settings
    from benchmarks.reports.terminal import show_json, show_tables
    from incontext.networks.checkpoint import locate
    from incontext.networks.devices import choose_device

    settings = Settings(suite, support_size, draws=1, queries=queries, seed=seed)
    result = probe_suite(collection, settings, locate(weights), str(choose_device(device)))
    if as_json:
        show_json(result)
    else:
        show_tables(probe_table(result))
        print("pass: it reads its support" if result["passes"] else "fail: it does not read its support")
        for objection in result["objections"]:
            print(f"  {objection}")
    if not result["passes"]:
        raise typer.Exit(FAILED)


@app.command()
def study(
    collection: Annotated[Path, typer.Option(help="Folder of a collection that holds datasets of role `dev`.")],
    out: Annotated[Path, typer.Option(help="Folder of the trials, from which an interrupted study resumes.")] = Path(
        "study"
    ),
    row: Annotated[
        list[str] | None,
        typer.Option(help="Name of a variant to train; repeatable.", show_default="all"),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Processor time of every training, in steps of the default configuration.")
    ] = 400,
    seeds: Annotated[int, typer.Option(min=1, help="Number of trainings per variant, with seeds 0, 1, …")] = 1,
    of: Annotated[
        Literal["network", "prompts"],
        typer.Option(help="Network to vary: the one that segments, or the one beside it that answers prompts."),
    ] = "network",
) -> None:
    """Train variants of the default configuration on equal processor time, and compare them on datasets of role `dev`.

    The same command resumes an interrupted study.
    """
    from benchmarks.experiments.study import Trial, rows, run_study
    from benchmarks.experiments.study_tables import table

    trials = [Trial(name, seed, steps, of) for name in row or rows(of) for seed in range(seeds)]
    chosen = "" if of == "network" else f" --of {of}"
    print(table(run_study(collection, out, trials), f"incontext-bench study{chosen} --row", of))


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="Name of an experiment, one of `incontext-bench list experiments`.")],
    collection: Built,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of results, from which an interrupted run resumes.", show_default="experiments/NAME"),
    ] = None,
    suite: Suite = "dev",
    support_size: Annotated[int, typer.Option(help="Number of labelled examples per query, unless varied.")] = 16,
    draws: Draws = 3,
    queries: Queries = 20,
    seed: Seed = 0,
    query_subjects: QuerySubjects = "all",
    predictor: Annotated[
        list[str], typer.Option(help="Predictor to examine, unless the experiment trains networks; repeatable.")
    ] = DEFAULT_NETWORKS,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of each training.")] = 400,
    seeds: Annotated[int, typer.Option(min=1, help="Number of trainings per variant, with seeds 0, 1, …")] = 1,
    by: Annotated[str, typer.Option(help="Unit that leave-one-out omits: dataset, modality or anatomy.")] = "dataset",
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a dataset, modality or anatomy to leave out; repeatable.", show_default="three of them"
        ),
    ] = None,
    scribbles: Annotated[
        Path | None, typer.Option(help="Folder of scribbles that people drew, for the experiment on them.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of datasets with source files, for the experiment on volumes.")
    ] = None,
    device: Device = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
) -> None:
    """Run an experiment on how well networks generalise; write a table and a figure with 95 % intervals.

    The same command resumes an interrupted experiment.
    Exit status: 0; 3 if a predictor failed on some task; 1 or 2 if nothing was measured.
    """
    from benchmarks.experiments.bench import Bench, ExperimentOptions
    from benchmarks.experiments.runner import run_experiment
    from benchmarks.plans.task_plans import Settings
    from benchmarks.reports.terminal import with_progress
    from benchmarks.scoring.evaluator import Execution
    from incontext.networks.devices import choose_device
    from megamed import Collection

    settings = Settings(suite, support_size, draws, queries, seed, query_subjects)
    left_out, folders = tuple(leave_out or ()), (str(scribbles or ""), str(data or ""))
    options = ExperimentOptions(settings, tuple(predictor), steps, seeds, by, left_out, *folders)
    execution = Execution(str(choose_device(device)), workers=workers, scheduler=scheduler)
    folder = out or Path("experiments") / name
    done = run_experiment(Bench(name, Collection(collection), options, folder, execution, with_progress))
    print(done.table)
    print(f"{folder}: table.csv, table.md, figure.png, experiment.json")
    tell_failures(done.failures)
    if done.failures:
        raise typer.Exit(FAILED)


@app.command()
def speed(
    support_size: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Number of labelled examples; repeatable.", show_default="1, 8, 32, 64"),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Number of runs that a time is the median of.")] = 5,
) -> None:
    """Measure time and memory of the networks beside UniverSeg's plain definition, in some minutes on one core."""
    from benchmarks.experiments.network_speed import SUPPORT_SIZES, measure

    for line in measure(support_size or SUPPORT_SIZES, runs):
        typer.echo(line)


def call(words: Sequence[str]) -> int:
    """Call a command by its words, and return its exit status."""
    try:
        app(list(words))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


app.command()(volumes)
app.command()(evidence_of(call))
app.command()(submit)
app.command()(leaderboard)


@app.command(name="list")
def list_known(
    what: Annotated[Listed, typer.Argument(help="Kind of names to list.")] = Listed.suites,
    collection: Annotated[Path | None, typer.Option(help="Collection whose tasks are listed below each suite.")] = None,
) -> None:
    """List the suites, with their tasks if a collection is given, or the predictors, or the experiments."""
    from benchmarks.experiments.known import lines_of

    for line in lines_of(what.value, collection):
        print(line)
