"""The `megamed` command: each command calls one function of the library and prints."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megamed.command_line import CommandLine, table
from megamed.failures import one_line
from megamed.vocabulary import Access, Role

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from megamed.manifest import DatasetEntry
    from megamed.schema import DatasetCard

SOMETHING_REJECTED = 3

app = CommandLine("megamed", help="Build, inspect and export collections of segmentation tasks.")

CollectionFolder = Annotated[
    Path, typer.Argument(metavar="COLLECTION", help="Folder of a collection, or one of its files.")
]


@contextmanager
def _progress_bar(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show the number of finished subjects on stderr, from the first one on."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _bar(quiet, *columns) as update:
        yield lambda dataset, finished, total: update(description=dataset, advance=finished, total=total)


@contextmanager
def _download_bar(quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Show the number of downloaded bytes on stderr."""
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    with _bar(quiet, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as update:
        yield lambda done, total: update(completed=done, total=total)


@contextmanager
def _bar(quiet: bool, *columns: "ProgressColumn") -> Iterator[Callable[..., None]]:
    """Make a progress bar on stderr, which appears with its first update; yield the function that updates it."""
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
    root: Annotated[Path, typer.Argument(help="Dataset folder, or a folder of dataset folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the collection to create or extend.")],
    only: Annotated[
        list[str] | None,
        typer.Option(help="Build only this dataset, or those that match a pattern such as 'msd_*'; repeatable."),
    ] = None,
    licence: Annotated[
        Literal["open"] | None, typer.Option(help="Build only datasets whose licence is surely open.")
    ] = None,
    size: Annotated[
        int, typer.Option(min=16, max=1024, help="Height and width of the stored images, in pixels.")
    ] = 128,
    fit: Annotated[
        Literal["pad", "stretch"], typer.Option(help="Make oblong images square by padding or by stretching them.")
    ] = "pad",
    label_resize: Annotated[
        Literal["keep-area", "antialias", "nearest"],
        typer.Option(
            help="Pixels that a resized label keeps: the most covered ones, up to its area (keep-area), those half "
            "covered (antialias), or those whose centre is covered (nearest)."
        ),
    ] = "keep-area",
    every_nth: Annotated[
        int | None,
        typer.Option(min=1, help="Store every nth labelled slice of a volume, besides the most informative ones."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of processes; one per core unless given.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler whose workers to use: tcp://HOST:PORT.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Rebuild datasets even if nothing changed.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Build a collection from dataset folders.

    A dataset folder holds meta.json or card.toml, and images/ with labels/,
    or volumes/, or what its card says. A subject with a faulty file is
    rejected with its reasons and the rest is built. Until the build ends, the
    old collection stays as it is; the same command continues a build that was
    killed.

    Exit status: 0 if everything was built, 3 if something was rejected, 1 if
    an error left all unchanged.
    """
    from megamed.build import BuildOptions, build
    from megamed.executors import open_executor
    from megamed.standardise import Standard

    with open_executor(workers, scheduler) as (executor, ahead), _progress_bar(quiet) as progress:
        standard = Standard(size, fit, label_resize, every_nth)
        options = BuildOptions(standard, force, tuple(only or ()), licence, ahead)
        report = build(root, out, options, executor, progress)
    print("\n".join(map(one_line, report.lines())))
    if not report.complete:
        raise typer.Exit(SOMETHING_REJECTED)


@app.command("list")
def list_command(
    collection: Annotated[
        Path | None, typer.Argument(metavar="COLLECTION", help="Collection to list, instead of the catalogue.")
    ] = None,
    modality: Annotated[
        str, typer.Option(help="List only datasets of this modality: MRI, CT, 'colour fundus', ...")
    ] = "",
    anatomy: Annotated[str, typer.Option(help="List only datasets of this anatomy: brain, retina, ...")] = "",
    licence: Annotated[
        str, typer.Option(help="List only datasets of this licence: 'CC BY', ..., or any 'open' or 'unknown' one.")
    ] = "",
    access: Annotated[Access | None, typer.Option(help="List only datasets that are obtained this way.")] = None,
    role: Annotated[Role | None, typer.Option(help="List only datasets of this role.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the datasets of the catalogue of public datasets, or of a collection."""
    from megamed.catalogue import CardFilter, cards
    from megamed.manifest import read_manifest

    wanted = CardFilter(modality, anatomy, licence, access, role)
    if collection is None:
        summaries = [_card_summary(card) for card in cards() if wanted.accepts(card)]
    else:
        entries = read_manifest(collection).datasets.values()
        summaries = [_summary(entry) for entry in entries if wanted.accepts(entry.card)]
    print(json.dumps(summaries, indent=1, ensure_ascii=False) if as_json else _listed(summaries))


@app.command("show")
def show_command(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset, as `megamed list` shows it.")],
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print the dataset's card, to be saved as card.toml.")
    ] = False,
) -> None:
    """Describe a dataset of the catalogue: its facts, its licence, the way to obtain it, the files to expect."""
    from megamed.catalogue import card_path, describe, load_card

    text = card_path(dataset).read_text(encoding="utf-8").rstrip() if as_toml else describe(load_card(dataset))
    print(text)


@app.command("verify")
def verify_command(collection: CollectionFolder) -> None:
    """Check the integrity of every file of a collection; exit status 1 if anything is wrong."""
    from megamed.collection import verify

    problems = verify(collection)
    print("\n".join(map(one_line, problems)) or "No problem found.")
    if problems:
        raise typer.Exit(1)


@app.command("export")
def export_command(
    collection: CollectionFolder,
    out: Annotated[Path, typer.Option(help="New folder to write into.")],
    form: Annotated[
        Literal["nnunet", "png", "npz"],
        typer.Option(
            "--format", help="Format to write: nnU-Net raw v2, PNG folders that `megamed build` reads, or npz arrays."
        ),
    ],
    dataset: Annotated[list[str] | None, typer.Option(help="Export only this dataset; repeatable.")] = None,
) -> None:
    """Export a collection for other programs; each modality and axis of a dataset becomes a dataset of its own."""
    from megamed.export import export

    lines = export(collection, out, form, dataset)
    print("\n".join(lines))


@app.command("init")
def init_command(
    folder: Annotated[Path, typer.Argument(help="Folder with images and labels in any common arrangement.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing card.toml.")] = False,
) -> None:
    """Propose a dataset card for a folder of your own: write card.toml into it, and list what to check.

    Read and correct the card; `megamed build FOLDER --out COLLECTION` builds
    it.
    """
    from megamed.propose import propose, write_proposal

    proposal = propose(folder)
    path = write_proposal(proposal, folder, force)
    print("\n".join((*(f"check: {check}" for check in proposal.checks), str(path))))


@app.command("download")
def download_command(
    url: Annotated[str, typer.Argument(help="URL of the file.")],
    sha256: Annotated[str, typer.Option(help="SHA-256 of the file, as its publisher states it.")],
    out: Annotated[Path, typer.Option(help="File to write, or the new folder with --unpack.")],
    unpack: Annotated[bool, typer.Option("--unpack", help="Unpack a tar or zip file, refusing unsafe paths.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Download a file and check its SHA-256; the same command continues an interrupted download."""
    from megamed.download import download

    with _download_bar(quiet) as progress:
        path = download(url, sha256, out, unpack, progress)
    print(path)


@app.command("audit")
def audit_command(
    collection: CollectionFolder,
    enough_subjects: Annotated[
        int, typer.Option(min=1, help="Number of subjects below which a task is reported as thin.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a report.")] = False,
) -> None:
    """Audit a collection: leaks between splits, tasks with too little data, and licences.

    Leaks are equal and nearly equal images of different subjects, and
    subjects in two splits or in datasets of two roles.

    Exit status: 0 if no leak was found, 3 if leaks were found, 1 on an error.
    """
    from megamed.audit import audit

    report = audit(collection, enough_subjects)
    print(report.model_dump_json(indent=1) if as_json else "\n".join(map(one_line, report.lines())))
    if report.leaks:
        raise typer.Exit(SOMETHING_REJECTED)


@app.command("preview")
def preview_command(
    collection: CollectionFolder,
    out: Annotated[Path, typer.Option(help="Folder to write the pictures and the page into.")] = Path("preview"),
    dataset: Annotated[list[str] | None, typer.Option(help="Draw only this dataset; repeatable.")] = None,
) -> None:
    """Draw samples of every task with outlined labels: a sheet per dataset, and an HTML page of all sheets."""
    from megamed.preview import save_previews

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


def _listed(summaries: list[dict[str, str | int]]) -> str:
    """Format descriptions of datasets as a table with their number below."""
    return "\n".join(filter(None, (table(summaries), f"{len(summaries)} datasets")))


if __name__ == "__main__":
    app()
