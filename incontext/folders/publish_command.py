"""`incontext publish`: its options, and what it prints."""

from pathlib import Path
from typing import Annotated, Any

import typer

from incontext.folders.shell_options import INFO_HELP


def publish(
    file: Annotated[str, typer.Argument(help=INFO_HELP)],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the hub, made unless it is there.")],
    licence: Annotated[
        str,
        typer.Option(help="Licence of the whole, such as 'CC BY 4.0', and of images whose source is not named."),
    ] = "",
    author: Annotated[str, typer.Option(help="Author of a task, for those who receive it.", show_default=False)] = "",
    codes_only: Annotated[
        bool,
        typer.Option(
            "--codes-only",
            help="Leave the images of a task out, and publish what the network has read of them. That still shows "
            "traces of the images and labels.",
        ),
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Publish images though their licence does not surely allow it.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Hide a new repository from others.")] = False,
    endpoint: Annotated[
        str | None, typer.Option(help="Address of the hub.", show_default="HF_ENDPOINT, or https://huggingface.co")
    ] = None,
) -> None:
    """Put a saved task or network weights on a hub, with hashes and a card that tells of data and licence.

    Images go along only if their licence surely lets them be passed on: if
    it is open, or Creative Commons for purposes that are not commercial.
    Needs the `hub` extra, and an account: `hf auth login`.
    """
    from incontext.inference.task_file import is_task, read_task
    from incontext.segmenter import Segmenter

    terms: dict[str, Any] = {
        "licence": licence,
        "codes_only": codes_only,
        "anyway": anyway,
        "private": private,
        "endpoint": endpoint,
    }
    path = Path(file)
    if is_task(path):
        author = author or read_task(path).author
        address = Segmenter.load_task(path).push_to_hub(name, author, **terms)
    else:
        address = Segmenter.from_pretrained(file).push_to_hub(name, **terms)
    typer.echo(f"Published {address}.")
