"""The command `incontext-bench`: run, compare and list benchmarks."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from benchmarks.results import Row

app = typer.Typer(
    help="Score in-context segmentation networks and baselines on tasks they never saw.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
DEFAULT_PREDICTORS = ["packaged", "mean-mask", "nearest-copy"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def run(
    collection: Annotated[Path, typer.Option(help="A collection built by megamed.")],
    suite: Annotated[str, typer.Option(help="Which tasks: see `incontext-bench list`.")] = "heldout",
    support_size: Annotated[int, typer.Option(help="Labelled examples per query.")] = 16,
    draws: Annotated[int, typer.Option(help="Support sets drawn per query.")] = 5,
    queries: Annotated[int, typer.Option(help="Most query images per task, spread over its subjects.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of queries, supports and bootstrap.")] = 0,
    predictor: Annotated[
        list[str], typer.Option(help="mean-mask, nearest-copy, packaged or a weights file; repeatable.")
    ] = DEFAULT_PREDICTORS,
    out: Annotated[
        Path | None,
        typer.Option(help="Where results go and resume; by default runs/SUITE-SSIZE, as in runs/heldout-S16."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="A torch device; by default cuda if there is one.")] = None,
    batch_size: Annotated[int, typer.Option(help="Queries per forward pass.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Score predictors on a suite: Dice per task and overall with 95 % intervals, as a table, CSV and JSON.

    Interrupted and started again with the same --out, it goes on where it stopped.
    """
    with one_line_errors():
        from benchmarks.evaluator import Execution, choose_device
        from benchmarks.predictors import load_predictors
        from benchmarks.run import run_benchmark
        from benchmarks.suites import Settings

        settings = Settings(suite, support_size, draws, queries, seed)
        execution = Execution(choose_device(device), batch_size)
        predictors = load_predictors(predictor, execution.device)
        out = out or Path("runs") / f"{suite}-S{support_size}"
        summary = run_benchmark(collection, settings, predictors, out, execution, with_progress)
    for task, reason in summary["skipped"].items():
        print(f"skipped {task}: {reason}", file=sys.stderr)
    show(summary, as_json)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Result folders of `incontext-bench run`.")],
    reference: Annotated[str | None, typer.Option(help="The predictor to compare with the others.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare predictors, paired on the predictions that all of them made from the same supports."""
    with one_line_errors():
        from benchmarks.report import summarise
        from benchmarks.results import shared_rows

        rows = shared_rows(folders)
        names = list(dict.fromkeys(row.predictor for row in rows))
        if reference is not None:
            if reference not in names:
                msg = f"Unknown predictor: expected one of {', '.join(names)}, got {reference!r}."
                raise ValueError(msg)
            names.sort(key=lambda name: name != reference)
        summary = summarise(rows, names, seed)
    show(summary, as_json)


@app.command(name="list")
def list_suites(
    collection: Annotated[Path | None, typer.Option(help="Also list the tasks that it has of each suite.")] = None,
) -> None:
    """List the suites, and with a collection their tasks."""
    with one_line_errors():
        from benchmarks.suites import SUITES
        from megamed import Collection

        source = None if collection is None else Collection(collection)
        for suite, roles in SUITES.items():
            print(f"{suite}: datasets of role {' or '.join(roles)}")
            for task in source.tasks(roles=roles) if source else []:
                print(f"  {task.id}")


def show(summary: dict[str, Any], as_json: bool) -> None:
    """Print a summary."""
    from rich.console import Console

    from benchmarks.report import score_table

    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        # A pipe has no width of its own; the table needs more than the 80 columns that rich would assume.
        Console(width=None if sys.stdout.isatty() else 120).print(score_table(summary))


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
    except (ValueError, OSError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
