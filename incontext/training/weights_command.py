"""`incontext convert` and `incontext average`, which make weights of other weights: options, and what they print."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def convert(
    source: Annotated[Path, typer.Argument(help="Checkpoint to read.")],
    destination: Annotated[Path, typer.Argument(help="Checkpoint to write.")],
    to: Annotated[Literal["incontext", "universeg"], typer.Option(help="Format to write.")] = "incontext",
) -> None:
    """Convert an official UniverSeg v1 checkpoint (.pt, .safetensors) to our format, or back, without loss."""
    from incontext.networks import universeg

    convert = universeg.export_universeg if to == "universeg" else universeg.import_universeg
    convert(source, destination)
    typer.echo(f"Wrote {destination}.")


def average(
    weights: Annotated[
        list[str],
        typer.Argument(help="Two or more weights that went on from the same: `default`, `open` or checkpoint files."),
    ],
    out: Annotated[Path, typer.Option(help="Checkpoint to write.")],
) -> None:
    """Average the weights of several trainings that went on from the same ones.

    The one network of their mean is often better than each of them.
    Calibrate it before use.
    """
    from incontext.networks.checkpoint import locate
    from incontext.training.averaging import average

    average([locate(name) for name in weights], out)
    typer.echo(f"Wrote {out}.")
