"""The `megamed` command: each command calls one function of the library and prints."""

import json
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from megamed.manifest import DatasetEntry, read_manifest
from megamed.schema import Role

SOMETHING_REJECTED = 3

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Build and look at collections of segmentation tasks."
)

CollectionFolder = Annotated[Path, typer.Argument(metavar="COLLECTION", help="Folder of a built collection.")]


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """End bad input in one line on stderr and exit code 1."""
    try:
        yield
    except (ValueError, OSError, ImportError, BrokenProcessPool) as error:
        typer.echo(f"megamed: {error}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def _progress_bar(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show on stderr how many subjects are done, from the first one on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=quiet)
    shown = bar.add_task("", total=None)

    def progress(dataset: str, finished: int, total: int) -> None:
        bar.start()
        bar.update(shown, description=dataset, advance=finished, total=total)

    try:
        yield progress
    finally:
        if bar.live.is_started:
            bar.stop()


@app.command("build")
def build_command(
    root: Annotated[Path, typer.Argument(help="A dataset folder, or a folder of dataset folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the collection to make or to add to.")],
    size: Annotated[int, typer.Option(min=16, max=1024, help="Height and width of the stored images.")] = 128,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core unless given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Build again even what is unchanged.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Build a collection from dataset folders.

    A dataset folder holds meta.json or card.toml, and images/ with labels/, or volumes/. A subject with a faulty
    file is rejected with its reasons and the rest is built. Until the build ends, the old collection stays as it is.

    Exit code 0: everything was built. 3: something was rejected. 1: an error, nothing changed.
    """
    from megamed.build import BuildOptions, build, local_executor

    with _one_line_errors(), local_executor(workers) as executor, _progress_bar(quiet) as progress:
        report = build(root, out, BuildOptions(size, force), executor, progress)
    print("\n".join(report.lines()))
    if not report.complete:
        raise typer.Exit(SOMETHING_REJECTED)


@app.command("list")
def list_command(
    collection: CollectionFolder,
    role: Annotated[Role | None, typer.Option(help="Only datasets of this role.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the datasets of a collection."""
    with _one_line_errors():
        entries = read_manifest(collection).datasets.values()
    summaries = [_summary(entry) for entry in entries if role in (None, entry.card.role)]
    print(json.dumps(summaries, indent=1) if as_json else _table(summaries))


@app.command("verify")
def verify_command(collection: CollectionFolder) -> None:
    """Check every file of a collection; exit code 1 if anything is wrong."""
    from megamed.collection import verify

    with _one_line_errors():
        problems = verify(collection)
    print("\n".join(problems) or "No problem found.")
    if problems:
        raise typer.Exit(1)


@app.command("preview")
def preview_command(
    collection: CollectionFolder,
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("preview.png"),
    dataset: Annotated[list[str] | None, typer.Option(help="Only this dataset; may be repeated.")] = None,
) -> None:
    """Draw samples of every task with their labels outlined."""
    from megamed.preview import save_contact_sheet

    with _one_line_errors():
        save_contact_sheet(collection, out, dataset)
    print(out)


def _summary(entry: DatasetEntry) -> dict[str, str | int]:
    """Describe a dataset in a line."""
    samples = [count for view in entry.views for count in view.samples.values()]
    return {
        "dataset": entry.card.id,
        "role": entry.card.role,
        "modality": entry.card.modality,
        "subjects": sum(entry.subjects.values()),
        "tasks": len(samples),
        "samples": sum(samples),
        "license": entry.card.license,
    }


def _table(summaries: list[dict[str, str | int]]) -> str:
    """Set summaries in aligned columns."""
    names = ("dataset", "role", "modality", "subjects", "tasks", "samples", "license")
    cells = [names, *([textwrap.shorten(str(each[name]), 32, placeholder="…") for name in names] for each in summaries)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "\n".join([*lines, f"{len(summaries)} datasets"])


if __name__ == "__main__":
    app()
