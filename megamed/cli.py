"""The `megamed` command: each command calls one function of the library and prints."""

import json
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megamed.vocabulary import Access, Role

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from megamed.manifest import DatasetEntry
    from megamed.schema import DatasetCard

SOMETHING_REJECTED = 3

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Build and look at collections of segmentation tasks."
)

CollectionFolder = Annotated[
    Path, typer.Argument(metavar="COLLECTION", help="Folder of a built collection, or one file of it.")
]


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
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _bar(quiet, *columns) as update:
        yield lambda dataset, finished, total: update(description=dataset, advance=finished, total=total)


@contextmanager
def _download_bar(quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Show on stderr how many bytes are there."""
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    with _bar(quiet, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as update:
        yield lambda done, total: update(completed=done, total=total)


@contextmanager
def _bar(quiet: bool, *columns: "ProgressColumn") -> Iterator[Callable[..., None]]:
    """Give what updates a bar on stderr; the bar appears with the first update."""
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(*columns, console=Console(stderr=True), disable=quiet)
    shown = bar.add_task("", total=None)

    def update(**state: Any) -> None:
        bar.start()
        bar.update(shown, **state)

    try:
        yield update
    finally:
        if bar.live.is_started:
            bar.stop()


@app.command("build")
def build_command(
    root: Annotated[Path, typer.Argument(help="A dataset folder, or a folder of dataset folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the collection to make or to add to.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Only this dataset, or those like 'msd_*'; repeatable.")
    ] = None,
    licence: Annotated[Literal["open"] | None, typer.Option(help="Only datasets of a surely open licence.")] = None,
    size: Annotated[int, typer.Option(min=16, max=1024, help="Height and width of the stored images.")] = 128,
    fit: Annotated[Literal["pad", "stretch"], typer.Option(help="How oblong images become square.")] = "pad",
    label_resize: Annotated[
        Literal["keep-area", "antialias", "nearest"],
        typer.Option(help="Keep the most covered pixels up to the label's area, those half covered, or by centre."),
    ] = "keep-area",
    every_nth: Annotated[int | None, typer.Option(min=1, help="Also every nth labelled slice of volumes.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core unless given.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Use the workers of this Dask scheduler: tcp://HOST:PORT.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build again even what is unchanged.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Build a collection from dataset folders.

    A dataset folder holds meta.json or card.toml, and images/ with labels/, or volumes/, or what its card says. A
    subject with a faulty file is rejected with its reasons and the rest is built. Until the build ends, the old
    collection stays as it is; a killed build goes on where it was.

    Exit code 0: everything was built. 3: something was rejected. 1: an error, nothing changed.
    """
    from megamed.build import BuildOptions, build
    from megamed.executors import open_executor
    from megamed.standardise import Standard

    with (
        _one_line_errors(),
        open_executor(workers, scheduler) as (executor, ahead),
        _progress_bar(quiet) as progress,
    ):
        standard = Standard(size, fit, label_resize, every_nth)
        options = BuildOptions(standard, force, tuple(only or ()), licence, ahead)
        report = build(root, out, options, executor, progress)
    print("\n".join(report.lines()))
    if not report.complete:
        raise typer.Exit(SOMETHING_REJECTED)


@app.command("list")
def list_command(
    collection: Annotated[
        Path | None, typer.Argument(metavar="[COLLECTION]", help="A built collection; the catalogue unless given.")
    ] = None,
    modality: Annotated[str, typer.Option(help="Only of this modality: MRI, CT, 'colour fundus', ...")] = "",
    anatomy: Annotated[str, typer.Option(help="Only of this anatomy: brain, retina, ...")] = "",
    licence: Annotated[str, typer.Option(help="Only of this licence: 'CC BY', ..., or 'open', or 'unknown'.")] = "",
    access: Annotated[Access | None, typer.Option(help="Only what is got this way.")] = None,
    role: Annotated[Role | None, typer.Option(help="Only datasets of this role.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the datasets of the catalogue, or of a built collection."""
    from megamed.catalogue import CardFilter, cards
    from megamed.manifest import read_manifest

    wanted = CardFilter(modality, anatomy, licence, access, role)
    if collection is None:
        summaries = [_card_summary(card) for card in cards() if wanted.accepts(card)]
    else:
        with _one_line_errors():
            entries = read_manifest(collection).datasets.values()
        summaries = [_summary(entry) for entry in entries if wanted.accepts(entry.card)]
    print(json.dumps(summaries, indent=1, ensure_ascii=False) if as_json else _table(summaries))


@app.command("show")
def show_command(
    dataset: Annotated[str, typer.Argument(help="A dataset that `megamed list` lists.")],
    as_toml: Annotated[bool, typer.Option("--toml", help="Print its card, to be saved as card.toml.")] = False,
) -> None:
    """Tell what a dataset of the catalogue is, how to get it, and which files to expect."""
    from megamed.catalogue import card_path, describe, load_card

    with _one_line_errors():
        text = card_path(dataset).read_text(encoding="utf-8").rstrip() if as_toml else describe(load_card(dataset))
    print(text)


@app.command("verify")
def verify_command(collection: CollectionFolder) -> None:
    """Check every file of a collection; exit code 1 if anything is wrong."""
    from megamed.collection import verify

    with _one_line_errors():
        problems = verify(collection)
    print("\n".join(problems) or "No problem found.")
    if problems:
        raise typer.Exit(1)


@app.command("export")
def export_command(
    collection: CollectionFolder,
    out: Annotated[Path, typer.Option(help="New folder to write to.")],
    form: Annotated[
        Literal["nnunet", "png", "npz"],
        typer.Option("--format", help="nnU-Net raw v2; PNG folders that `megamed build` reads; npz arrays."),
    ],
    dataset: Annotated[list[str] | None, typer.Option(help="Only this dataset; may be repeated.")] = None,
) -> None:
    """Write a collection in a format of others, each view of a dataset as a dataset of its own."""
    from megamed.export import export

    with _one_line_errors():
        lines = export(collection, out, form, dataset)
    print("\n".join(lines))


@app.command("init")
def init_command(
    folder: Annotated[Path, typer.Argument(help="Folder with images and labels, arranged in any common way.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the card.toml that is there.")] = False,
) -> None:
    """Propose a card for a folder of your own: write card.toml into it, and say what to check.

    Read and correct the card; `megamed build FOLDER --out COLLECTION` builds it.
    """
    from megamed.propose import propose, write_proposal

    with _one_line_errors():
        proposal = propose(folder)
        path = write_proposal(proposal, folder, force)
    print("\n".join((*(f"check: {check}" for check in proposal.checks), str(path))))


@app.command("download")
def download_command(
    url: Annotated[str, typer.Argument(help="Address of a file.")],
    sha256: Annotated[str, typer.Option(help="SHA-256 of the file, as its publisher states it.")],
    out: Annotated[Path, typer.Option(help="File to write, or with --unpack the new folder.")],
    unpack: Annotated[bool, typer.Option("--unpack", help="Unpack the tar or zip file, safely.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Download a file of known content; started again, it goes on where it broke off."""
    from megamed.download import download

    with _one_line_errors(), _download_bar(quiet) as progress:
        path = download(url, sha256, out, unpack, progress)
    print(path)


@app.command("audit")
def audit_command(
    collection: CollectionFolder,
    enough_subjects: Annotated[int, typer.Option(min=1, help="Report tasks with fewer subjects.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for what makes scores too good, and for what is too thin to use; list the licences.

    Leaks are equal and nearly equal images of different subjects, and subjects in two splits or in datasets of two
    roles.

    Exit code 0: no leak was found. 3: leaks were found. 1: an error.
    """
    from megamed.audit import audit

    with _one_line_errors():
        report = audit(collection, enough_subjects)
    print(report.model_dump_json(indent=1) if as_json else "\n".join(report.lines()))
    if report.leaks:
        raise typer.Exit(SOMETHING_REJECTED)


@app.command("preview")
def preview_command(
    collection: CollectionFolder,
    out: Annotated[Path, typer.Option(help="Folder of the pictures and the page.")] = Path("preview"),
    dataset: Annotated[list[str] | None, typer.Option(help="Only this dataset; may be repeated.")] = None,
) -> None:
    """Draw samples of every task with their labels outlined: a sheet per dataset, and a page that shows them all."""
    from megamed.preview import save_previews

    with _one_line_errors():
        page = save_previews(collection, out, dataset)
    print(page)


def _card_summary(card: "DatasetCard") -> dict[str, str | int]:
    """Describe a dataset of the catalogue in a line."""
    return {
        "dataset": card.id,
        "modality": card.modality,
        "anatomy": card.anatomy,
        "labels": len(card.labels),
        "access": card.access or "unknown",
        "license": card.license or "unknown",
    }


def _summary(entry: "DatasetEntry") -> dict[str, str | int]:
    """Describe a dataset of a collection in a line."""
    samples = [count for view in entry.views for count in view.samples.values()]
    return {
        "dataset": entry.card.id,
        "role": entry.card.role,
        "modality": entry.card.modality,
        "subjects": sum(entry.subjects.values()),
        "tasks": len(samples),
        "samples": sum(samples),
        "license": entry.card.license or "unknown",
    }


def _table(summaries: list[dict[str, str | int]]) -> str:
    """Set summaries in aligned columns."""
    rows = [[textwrap.shorten(str(cell), 40, placeholder="…") for cell in each.values()] for each in summaries]
    cells = [list(summaries[0]), *rows] if summaries else []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "\n".join([*lines, f"{len(summaries)} datasets"])


if __name__ == "__main__":
    app()
