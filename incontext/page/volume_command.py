"""`incontext serve`: its options, and what it prints."""

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from incontext.folders.shell_options import SUPPORT_HELP, ClassNames, Device, SavedTask, TaskWeights
from megamed.extras import require

PORT = 1527
"""Port at which nnInteractive's clients expect a server."""
KEY_BYTES = 24


def serve(
    task: SavedTask = None,
    support: Annotated[Path | None, typer.Option(help=SUPPORT_HELP, show_default=False)] = None,
    classes: ClassNames = None,
    structure: Annotated[
        str | None,
        typer.Option(help="Name of the class to segment, of several that examples show.", show_default="the first"),
    ] = None,
    weights: TaskWeights = None,
    device: Device = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any free one.")] = PORT,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="NN_INTERACTIVE_API_KEY", help="Key that clients must have.", show_default="one that is printed"
        ),
    ] = None,
) -> None:
    """Segment volumes by clicks in 3D Slicer, napari and other programs that have a client of nnInteractive.

    Labelled examples are not needed, but help. The server is on this
    machine alone, and keeps nothing. Needs the `nninteractive` extra.
    """
    if task and support:
        message = "give --task or --support, not both."
        raise typer.BadParameter(message)
    require("nninteractive", "The server", "fastapi", "nnInteractive", "uvicorn")
    import uvicorn

    from incontext.folders.class_names import read_classes
    from incontext.folders.segmenter_options import SegmenterOptions
    from incontext.folders.user_folder import fit_folder
    from incontext.page.guard import Guard
    from incontext.page.nninteractive_server import MOST_BYTES, build_server, value_of
    from incontext.page.serve import HOST, listening

    segmenter = SegmenterOptions(task, weights, device).open()
    if support:
        fit_folder(segmenter, support, read_classes(classes))
    with listening(port) as listener, suppress(KeyboardInterrupt):
        number, key = listener.getsockname()[1], key or secrets.token_urlsafe(KEY_BYTES)
        guard = Guard(build_server(segmenter, key, value_of(segmenter, structure)), number, "", MOST_BYTES)
        typer.echo(f"Server http://{HOST}:{number}\nKey {key}")
        uvicorn.Server(uvicorn.Config(guard, log_level="error", ws="none", lifespan="off")).run([listener])
