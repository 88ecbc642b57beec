"""The command `incontext-bench`: run, freeze, compare, report and list benchmarks, and probe weights."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from benchmarks.scoring.results import Row

app = typer.Typer(
    help="Score in-context segmentation networks and baselines on tasks they never saw.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
DEFAULT_PREDICTORS = ["packaged", "mean-mask", "nearest-copy"]
DEFAULT_NETWORKS = ["packaged"]
DEFAULT_SIZES = [16]
DEFAULT_GROUPINGS = ["size", "modality"]
FAILED = 3
"""Exit status of `probe` when the network does not read its support, of `run` when a predictor failed on a task."""
Suite = Annotated[str, typer.Option(help="Which tasks: see `incontext-bench list`.")]
Draws = Annotated[int, typer.Option(help="Support sets drawn per query.")]
Queries = Annotated[int, typer.Option(help="Most query images per task, spread over its subjects.")]
Seed = Annotated[int, typer.Option(help="Seed of queries, supports and bootstrap.")]
QuerySubjects = Annotated[
    str, typer.Option(help="all: any subject may be a query; test: only test subjects, supports of the others.")
]
Ensemble = Annotated[int, typer.Option(help="Score also the mean probability over every so many draws of a query.")]
Supports = Annotated[
    str,
    typer.Option(
        help="per-query: every query draws its own; shared: all queries of a task use the same, as those of a person "
        "who annotated once (with --query-subjects test)."
    ),
]
Device = Annotated[str | None, typer.Option(help="A torch device; by default cuda if there is one.")]

Attributes = Annotated[
    Path | None, typer.Option(help="A CSV table of what is known of subjects: columns dataset, subject, sex, age, ...")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Listed(StrEnum):
    """What there is to list."""

    suites = "suites"
    predictors = "predictors"
    experiments = "experiments"


class ReportFormat(StrEnum):
    """What a report may be."""

    html = "html"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"


@app.command()
def run(
    collection: Annotated[Path, typer.Option(help="A collection built by megamed.")],
    suite: Suite = "heldout",
    support_size: Annotated[list[int], typer.Option(help="Labelled examples per query; repeatable.")] = DEFAULT_SIZES,
    draws: Draws = 5,
    queries: Queries = 40,
    seed: Seed = 0,
    query_subjects: QuerySubjects = "all",
    ensemble: Ensemble = 1,
    supports: Supports = "per-query",
    frozen_list: Annotated[
        Path | None, typer.Option("--list", help="A file of `freeze`, in place of the options above.")
    ] = None,
    predictor: Annotated[
        list[str],
        typer.Option(
            help="One of `incontext-bench list predictors`, all of these, a weights file or module:object; repeatable."
        ),
    ] = DEFAULT_PREDICTORS,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where results go and resume; by default runs/SUITE-SSIZE, as in runs/heldout-S16. "
            "Several support sizes go to OUT/S1, OUT/S4, ..."
        ),
    ] = None,
    device: Device = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Queries per forward pass.", show_default="on a GPU what the memory holds")
    ] = None,
    memory_gb: Annotated[
        float | None,
        typer.Option(help="What each process may hold.", show_default="half of what is free, on a GPU four fifths"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes.", show_default="one per GPU, or per core if that pays")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler whose workers to use, such as tcp://10.0.0.1:8786.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score predictors on a suite: Dice per task and overall with 95 % intervals, as a table, CSV and JSON.

    Interrupted and started again with the same --out, it goes on where it stopped.
    Exit status: 0; 3 if a predictor failed on some task or was trained on it; 1 or 2 if nothing could be done.
    """
    with one_line_errors():
        from benchmarks.plans.frozen_lists import FrozenList, read_list
        from benchmarks.plans.task_plans import Settings
        from benchmarks.run import run_benchmark
        from benchmarks.scoring.evaluator import Execution
        from incontext.networks.devices import choose_device

        asked: dict[int, Settings | FrozenList] = {
            size: Settings(suite, size, draws, queries, seed, query_subjects, ensemble, supports)
            for size in support_size
        }
        if frozen_list is not None:
            if list(asked.values()) != [Settings()]:
                msg = "The list decides what is scored: expected none of the options above --list, got some. Omit them."
                raise ValueError(msg)
            frozen = read_list(frozen_list)
            suite, asked = frozen.settings.suite, {frozen.settings.support_size: frozen}
        execution = Execution(str(choose_device(device)), batch_size, memory_gb, workers, scheduler)
        summaries = {
            size: run_benchmark(collection, asked[size], predictor, folder, execution, with_progress)
            for size, folder in result_folders(out, suite, list(asked)).items()
        }
    for task, reason in next(iter(summaries.values()))["skipped"].items():
        print(f"skipped {task}: {reason}", file=sys.stderr)
    failures = {
        (name, task): reason
        for summary in summaries.values()
        for name, reasons in summary["failed"].items()
        for task, reason in reasons.items()
    }
    for (name, task), reason in failures.items():
        print(f"failed {name} on {task}: {reason}", file=sys.stderr)
    show(summaries, as_json)
    if failures:
        raise typer.Exit(FAILED)


def result_folders(out: Path | None, suite: str, sizes: list[int]) -> dict[int, Path]:
    """Where the results of each support size go."""
    if out is None:
        return {size: Path("runs") / f"{suite}-S{size}" for size in sizes}
    return {size: out / f"S{size}" if len(sizes) > 1 else out for size in sizes}


@app.command(name="freeze")
def freeze_list(
    collection: Annotated[Path, typer.Option(help="A collection built by megamed.")],
    suite: Suite = "heldout",
    support_size: Annotated[int, typer.Option(help="Labelled examples per query.")] = 16,
    draws: Draws = 5,
    queries: Queries = 40,
    seed: Seed = 0,
    query_subjects: QuerySubjects = "all",
    ensemble: Ensemble = 1,
    supports: Supports = "per-query",
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("list.json"),
) -> None:
    """Write down every query and support of a suite by dataset and case, for `run --list` here or elsewhere."""
    with one_line_errors():
        from benchmarks.plans.frozen_lists import freeze, write_list
        from benchmarks.plans.task_plans import Settings
        from megamed import Collection

        settings = Settings(suite, support_size, draws, queries, seed, query_subjects, ensemble, supports)
        frozen = freeze(Collection(collection), settings)
        write_list(out, frozen)
    for task, reason in frozen.skipped.items():
        print(f"skipped {task}: {reason}", file=sys.stderr)
    episodes = sum(len(task.episodes) for task in frozen.tasks.values())
    print(f"{out}: plan {frozen.plan_hash}, {len(frozen.tasks)} tasks, {episodes} queries with their supports")


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Result folders of `incontext-bench run`.")],
    reference: Annotated[str | None, typer.Option(help="The predictor to compare with the others.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare predictors, paired on the predictions that all of them made from the same supports."""
    with one_line_errors():
        from benchmarks.analysis.summary import summarise
        from benchmarks.scoring.results import plan_hashes, shared_rows

        rows = shared_rows(folders)
        names = list(dict.fromkeys(row.predictor for row in rows))
        if reference is not None:
            if reference not in names:
                msg = f"Unknown predictor: expected one of {', '.join(names)}, got {reference!r}."
                raise ValueError(msg)
            names.sort(key=lambda name: name != reference)
        summary = summarise(rows, names, seed) | {"settings": {"plan_hash": plan_hashes(folders)}}
    show({0: summary}, as_json)


@app.command()
def subgroups(
    folders: Annotated[list[Path], typer.Argument(help="Result folders of `incontext-bench run`.")],
    by: Annotated[
        list[str],
        typer.Option(help="size, modality, anatomy, split or a column of --attributes; repeatable."),
    ] = DEFAULT_GROUPINGS,
    collection: Annotated[
        Path | None, typer.Option(help="The collection of the runs, which tells anatomy and split.")
    ] = None,
    attributes: Attributes = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Score predictors on groups of images or subjects, and tell the gap between the extreme ones.

    Predictors are compared on the predictions that all of them made from the same supports.
    """
    with one_line_errors():
        from benchmarks.analysis.subgroups import groupings, read_attributes, tabulate
        from benchmarks.analysis.summary import group_table
        from benchmarks.scoring.results import shared_rows
        from megamed import Collection

        rows = shared_rows(folders)
        names = list(dict.fromkeys(row.predictor for row in rows))
        source = None if collection is None else Collection(collection)
        known = None if attributes is None else read_attributes(attributes)
        found = groupings(by, rows, source, known)
        tables = [tabulate(name, grouping, rows, names, seed) for name, grouping in found.items()]
    if as_json:
        print(json.dumps([table.as_json() for table in tables], indent=2))
    else:
        print_tables(*map(group_table, tables))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Result folders of `incontext-bench run`, of one benchmark.")],
    collection: Annotated[
        Path | None, typer.Option(help="The collection of the runs: pictures of queries come from it.")
    ] = None,
    predictor: Annotated[
        str | None, typer.Option(help="Whose masks to draw, as given to `run`.", show_default="the best one's")
    ] = None,
    frozen_list: Annotated[Path | None, typer.Option("--list", help="The list that the runs were made by.")] = None,
    attributes: Attributes = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="A page, or tables as text.")] = ReportFormat.html,
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="report.html in the first folder, or stdout")
    ] = None,
    device: Device = None,
) -> None:
    """Report runs: one HTML page that needs nothing else, or tables in Markdown, CSV or LaTeX."""
    with one_line_errors():
        from benchmarks.reports import FORMATS, Shown, gather, html
        from megamed.files import replace_file

        if form != ReportFormat.html:
            text = FORMATS[form.value](gather(folders))
        else:
            from benchmarks.analysis.subgroups import read_attributes
            from incontext.networks.devices import choose_device

            shown = (
                None if collection is None else Shown(collection, predictor, frozen_list, str(choose_device(device)))
            )
            known = None if attributes is None else read_attributes(attributes)
            text, out = html(folders, shown, known), out or folders[0] / "report.html"
        if out is None:
            print(text, end="")
        else:
            replace_file(out, text)
            print(out)


@app.command()
def probe(
    collection: Annotated[Path, typer.Option(help="A collection built by megamed.")],
    weights: Annotated[Path | None, typer.Option(help="Weights file.", show_default="the packaged one")] = None,
    suite: Suite = "dev",
    support_size: Annotated[int, typer.Option(help="Labelled examples per task.")] = 16,
    queries: Annotated[int, typer.Option(help="Most query images per task.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of queries and supports.")] = 0,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Does a network read its support? Dice with the true support beside Dice with supports that were tampered with.

    It passes if inverting the support labels inverts the mask, and labels of another task cost at least 20 Dice.
    Exit status: 0 if it passes, 3 if not, 1 or 2 if nothing could be done.
    """
    with one_line_errors():
        from benchmarks.experiments.support_probe import probe_suite, probe_table
        from benchmarks.plans.task_plans import Settings
        from incontext.networks.devices import choose_device

        settings = Settings(suite, support_size, draws=1, queries=queries, seed=seed)
        result = probe_suite(collection, settings, weights, str(choose_device(device)))
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        print_tables(probe_table(result))
        print("pass: it reads its support" if result["passes"] else "fail: it does not read its support")
        for objection in result["objections"]:
            print(f"  {objection}")
    if not result["passes"]:
        raise typer.Exit(FAILED)


@app.command()
def study(
    collection: Annotated[Path, typer.Option(help="A collection built by megamed, with datasets of role `dev`.")],
    out: Annotated[Path, typer.Option(help="Where trials go and resume.")] = Path("study"),
    row: Annotated[
        list[str] | None,
        typer.Option(help="A row of the study; repeatable.", show_default="all"),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps of the default configuration, whose processor time every training gets.")
    ] = 400,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per row, with seeds 0, 1, …")] = 1,
) -> None:
    """Train variants of the default configuration on equal processor time, and compare them on `dev`.

    Interrupted and started again with the same --out, it goes on where it stopped.
    """
    with one_line_errors():
        from benchmarks.experiments.study import Trial, rows, run_study, table

        trials = [Trial(name, seed, steps) for name in row or rows() for seed in range(seeds)]
        print(table(run_study(collection, out, trials), "incontext-bench study --row"))


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="One of `incontext-bench list experiments`.")],
    collection: Annotated[Path, typer.Option(help="A collection built by megamed.")],
    out: Annotated[
        Path | None, typer.Option(help="Where results go and resume.", show_default="experiments/NAME")
    ] = None,
    suite: Suite = "dev",
    support_size: Annotated[
        int, typer.Option(help="Labelled examples per query, where they are not the question.")
    ] = 16,
    draws: Draws = 3,
    queries: Queries = 20,
    seed: Seed = 0,
    query_subjects: QuerySubjects = "all",
    predictor: Annotated[
        list[str], typer.Option(help="Of which network, where none is trained; repeatable.")
    ] = DEFAULT_NETWORKS,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 400,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per level, with seeds 0, 1, …")] = 1,
    by: Annotated[str, typer.Option(help="What leave-one-out leaves out: a dataset, modality or anatomy.")] = "dataset",
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Name of what to leave out; repeatable.", show_default="three of them")
    ] = None,
    device: Device = None,
    workers: Annotated[int | None, typer.Option(help="Processes that score.", show_default="as many as pay")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler whose workers score.")] = None,
) -> None:
    """Ask how well a network generalises: a table and a figure of one experiment, with 95 % intervals.

    Interrupted and started again with the same --out, it goes on where it stopped.
    Exit status: 0; 3 if a predictor failed on some task; 1 or 2 if nothing could be done.
    """
    with one_line_errors():
        from benchmarks.experiments.bench import Bench, ExperimentOptions
        from benchmarks.experiments.runner import run_experiment
        from benchmarks.plans.task_plans import Settings
        from benchmarks.scoring.evaluator import Execution
        from incontext.networks.devices import choose_device
        from megamed import Collection

        settings = Settings(suite, support_size, draws, queries, seed, query_subjects)
        options = ExperimentOptions(settings, tuple(predictor), steps, seeds, by, tuple(leave_out or ()))
        execution = Execution(str(choose_device(device)), workers=workers, scheduler=scheduler)
        folder = out or Path("experiments") / name
        done = run_experiment(Bench(name, Collection(collection), options, folder, execution, with_progress))
    print(done.table)
    print(f"{folder}: table.csv, table.md, figure.png, experiment.json")
    for (condition, task), reason in done.failures.items():
        print(f"failed {condition} on {task}: {reason}", file=sys.stderr)
    if done.failures:
        raise typer.Exit(FAILED)


@app.command()
def volumes(
    data: Annotated[Path, typer.Option(help="Datasets with their source files, as `megamed build` reads them.")],
    dataset: Annotated[
        list[str] | None, typer.Option(help="Id of a dataset; repeatable.", show_default="all of role heldout")
    ] = None,
    labelled: Annotated[int, typer.Option(help="Slices labelled per volume, evenly over those that show it.")] = 3,
    others: Annotated[
        int, typer.Option(help="Learn from so many volumes of other subjects, and label none of the volume itself.")
    ] = 0,
    most: Annotated[int, typer.Option(help="Most volumes per dataset, spread over its subjects.")] = 20,
    axis: Annotated[
        str, typer.Option(help="sagittal, coronal or axial.", show_default="across thick slices, else axial")
    ] = "",
    weights: Annotated[Path | None, typer.Option(help="Weights file.", show_default="the packaged one")] = None,
    out: Annotated[Path, typer.Option(help="Where results go and resume.")] = Path("runs/volumes"),
    seed: Annotated[int, typer.Option(help="Seed of the choice of volumes and of the bootstrap.")] = 0,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Label a few slices of a volume and segment the rest: by propagation, and slice by slice for comparison.

    The Dice of a volume is that of all its other slices together.
    """
    with one_line_errors():
        from benchmarks.experiments.propagated_volumes import run_volumes
        from benchmarks.experiments.source_volumes import VolumeSettings
        from incontext.networks.checkpoint import PACKAGED
        from incontext.networks.devices import choose_device

        settings = VolumeSettings(tuple(dataset or ()), labelled, others, most, axis, seed)
        summary = run_volumes(data, settings, weights or PACKAGED, out, str(choose_device(device)), with_progress)
    show({0: summary}, as_json)


@app.command()
def speed() -> None:
    """Measure time and memory of the networks against UniverSeg's plain definition; takes some minutes on one core."""
    from benchmarks.experiments.network_speed import measure

    for line in measure():
        typer.echo(line)


@app.command(name="list")
def list_known(
    what: Annotated[Listed, typer.Argument(help="What to list.")] = Listed.suites,
    collection: Annotated[Path | None, typer.Option(help="Also list the tasks that it has of each suite.")] = None,
) -> None:
    """List the suites, and with a collection their tasks; or the predictors, or the experiments."""
    with one_line_errors():
        if what == Listed.experiments:
            from benchmarks.experiments.catalogue import EXPERIMENTS

            for name, each in EXPERIMENTS.items():
                print(f"{name}: {each.question}")
            return
        if what == Listed.predictors:
            from benchmarks.predictors import PATTERNS, known_predictors

            for name, known in known_predictors().items():
                print(f"{name}: {known.about}")
            for pattern, about in PATTERNS.items():
                print(f"{pattern}: {about}")
            return
        from benchmarks.plans.suites import SUITES
        from megamed import Collection

        source = None if collection is None else Collection(collection)
        for name, suite in SUITES.items():
            print(f"{name}: {suite}")
            for task in suite.tasks(source) if source else []:
                print(f"  {task.id}")


def show(summaries: dict[int, dict[str, Any]], as_json: bool) -> None:
    """Print the summary of each support size, as JSON a list if there are several."""
    from benchmarks.analysis.summary import annotator_table, score_table, size_table

    several = len(summaries) > 1
    if as_json:
        print(json.dumps(list(summaries.values()) if several else next(iter(summaries.values())), indent=2))
    else:
        compared = [each["annotators"] for each in summaries.values() if "annotators" in each]
        tables = [*map(score_table, summaries.values()), *map(annotator_table, compared)]
        print_tables(*tables, *([size_table(summaries)] if several else []))


def print_tables(*tables: "Table") -> None:
    """Print tables, wide enough."""
    from rich.console import Console

    # A pipe has no width of its own; a table needs more than the 80 columns that rich would assume.
    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in tables:
        console.print(table)


def with_progress(batches: "Iterable[list[Row]]", total: int) -> "Iterator[list[Row]]":
    """Pass batches of rows through, showing on stderr how many of the total are done and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("scoring", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("scoring", total=total)
        for rows in batches:
            yield rows
            progress.advance(bar, len(rows))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Bad input ends in one line on stderr and exit code 1."""
    try:
        yield
    except (ValueError, OSError, KeyError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
