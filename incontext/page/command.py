"""`incontext annotate`: its options, and what it prints."""

from pathlib import Path
from typing import Annotated

import typer

from incontext.folders.shell_options import ClassNames, ImageChannel, SavedTask, TaskWeights
from megamed.extras import require
from megamed.failures import one_line

EXAMPLE = Path("annotate-example")
"""Folder of the example, where none is named."""


def annotate(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of images, of which some may have labels; or one that `segment` wrote, to correct its masks.",
            show_default=False,
        ),
    ] = None,
    task: SavedTask = None,
    classes: ClassNames = None,
    weights: TaskWeights = None,
    channel: ImageChannel = None,
    level: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Level to draw on of the resolution of whole slides and other pyramids: 0 is the full one, at which "
            "all are shown.",
            show_default="that of the task or of the folder's card, or the first at which no slide has more than 17 "
            "million pixels",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Folder that `segment` wrote, whose masks are to be corrected, if the images are not where they were.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at.", show_default="any free one")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    example: Annotated[
        bool,
        typer.Option("--example", help="Begin with slices of a brain, one of them drawn; needs the `demo` extra."),
    ] = False,
) -> None:
    """Draw the first image in the browser, watch the others being segmented, correct, and take the masks away.

    The page is on this machine alone. All that is drawn is kept in the
    folder at once, and masks that are accepted lie in labels/, where
    `segment --support` finds them. Needs the `page` extra.
    """
    if folder is None and not example:
        message = "give a folder of images, or --example."
        raise typer.BadParameter(message)
    require("page", "The page", "fastapi", "starlette", "uvicorn")
    place = folder or EXAMPLE
    if example:
        from incontext.folders.demo import STRUCTURES, write_example

        write_example(place)
        classes = classes or ",".join(f"{value}={name}" for value, name in STRUCTURES.items())

    def tell(address: str) -> None:
        typer.echo(f"Open {address}")
        typer.echo("Ctrl-C ends it; all that is drawn is kept.", err=True)

    def note(text: str) -> None:
        typer.echo(one_line(f"Note: {text}"), err=True)

    from incontext.page.serve import ServeOptions, serve
    from incontext.page.target import PageOptions

    options = PageOptions(task, weights, classes, results, channel, level)
    serve(place, ServeOptions(options, port, browser, tell, note))
