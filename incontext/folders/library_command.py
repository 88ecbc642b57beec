"""`incontext library`: its commands and their options, and what they print."""

import json
from pathlib import Path
from typing import Annotated

import typer

from megamed.command_line import CommandLine, table

FAULTY = 3
"""Exit status when a file of a library is not as it was added."""
NOTHING_FOUND = 1

Library = Annotated[Path, typer.Argument(metavar="LIBRARY", help="Folder of the library.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

library = CommandLine("incontext", help="Keep saved tasks in a folder, and find the one that fits.")


@library.command()
def add(
    folder: Library,
    tasks: Annotated[list[Path], typer.Argument(metavar="TASK...", help="Files that `save-task` wrote.")],
    name: Annotated[
        str, typer.Option(help="Name of the task in the library, if it is one.", show_default="that of its file")
    ] = "",
) -> None:
    """Add saved tasks to a library, which is made if need be: with hash, licence, expected Dice and a picture.

    index.html in it shows them all. Several may add at the same time.
    """
    if name and len(tasks) > 1:
        message = f"--name names one task: expected one file, got {len(tasks)}."
        raise typer.BadParameter(message)
    from incontext.folders.library_tasks import add_file

    for task in tasks:
        typer.echo(f"Added {add_file(folder, task, name).name} to {folder}.")


@library.command("list")
def list_tasks(folder: Library, as_json: AsJson = False) -> None:
    """List the tasks of a library."""
    from incontext.inference.task_library import TaskLibrary

    found = TaskLibrary.open(folder).entries
    rows = [{**each.model_dump(mode="json"), "licence": each.licence} for each in found]
    typer.echo(json.dumps(rows, indent=1, ensure_ascii=False) if as_json else table([each.row() for each in found]))


@library.command()
def search(
    folder: Library,
    words: Annotated[list[str] | None, typer.Argument(help="Words of a name, or a structure in any language.")] = None,
    which: Annotated[
        Path | None,
        typer.Option(help="Folder of images without labels, or a single one, to find a task for.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find tasks of a library by words, or with --which by images that nobody labelled.

    --which lists the tasks whose own images are most alike. Each is tried:
    it segments the images, and what it finds segments its own labelled
    images in turn; how well these are found again is the agreement.

    Exit status: 1 if nothing is found.
    """
    if bool(words) == bool(which):
        message = "give words or --which, one of the two."
        raise typer.BadParameter(message)
    from incontext.folders.library_tasks import propose
    from incontext.inference.task_library import TaskLibrary

    rows = (
        [each.row() for each in propose(folder, which)]
        if which
        else [each.row() for each in TaskLibrary.open(folder).search(" ".join(words or ()))]
    )
    if not rows:
        typer.echo("No task is found. `incontext library list` shows them all.", err=True)
        raise typer.Exit(NOTHING_FOUND)
    typer.echo(json.dumps(rows, indent=1, ensure_ascii=False) if as_json else table(rows))


@library.command()
def verify(folder: Library) -> None:
    """Look for files of a library that are missing, damaged or replaced.

    Exit status: 0 if all are as they were added, 3 if one is not.
    """
    from incontext.inference.task_library import TaskLibrary

    opened, count = TaskLibrary.open(folder), 0
    for fault in opened.verify():
        typer.echo(fault, err=True)
        count += 1
    if count:
        raise typer.Exit(FAULTY)
    tasks = len(opened.entries)
    typer.echo("The one task is as it was added." if tasks == 1 else f"All {tasks} tasks are as they were added.")
