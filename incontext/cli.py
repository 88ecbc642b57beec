"""The command line: `incontext segment · demo · info · convert · export · train · calibrate`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from incontext.folders import Summary, Track

app = typer.Typer(
    help="Segment images from a handful of labelled examples, without training.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

INCOMPLETE = 3
"""Exit status when some images could not be segmented."""


class Format(StrEnum):
    """Whose file format a checkpoint is converted to."""

    INCONTEXT = "incontext"
    UNIVERSEG = "universeg"


Weights = Annotated[str, typer.Option(help="`default`, `open` (learned from open data alone) or a checkpoint file.")]
Device = Annotated[str | None, typer.Option(help="Where to compute.", show_default="cuda if there, else cpu")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")]


@app.command()
def segment(
    support: Annotated[Path, typer.Option(help="Folder with images/ and labels/, paired by file name.")],
    query: Annotated[Path, typer.Option(help="Folder of images; with labels/ beside images/, Dice is reported.")],
    out: Annotated[Path, typer.Option(help="Folder for masks/, overlay.png and summary.json.")],
    weights: Weights = "default",
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Segment a folder of images as a folder of labelled images shows.

    Exit status: 0 if all is done, 3 if some image could not be segmented, 1 or 2 if nothing could be done.
    """
    with _one_line_errors():
        from incontext.folders import segment_folder
        from incontext.segmenter import Segmenter

        segmenter = Segmenter.from_pretrained(weights, device)
        summary = segment_folder(segmenter, support, query, out, _progress(quiet))
    _report(summary, out, {})


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the slices and the result.")] = Path("demo"),
    weights: Weights = "default",
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Segment grey and white matter in brain slices, given six labelled ones; needs the `demo` extra."""
    with _one_line_errors():
        from incontext.demo import STRUCTURES, run
        from incontext.segmenter import Segmenter

        summary = run(Segmenter.from_pretrained(weights, device), out, _progress(quiet))
    _report(summary, out / "result", STRUCTURES)


@app.command()
def info(
    weights: Annotated[str, typer.Argument(help="`default`, `open` or a checkpoint file.")] = "default",
) -> None:
    """Print a checkpoint's configuration and provenance as JSON."""
    with _one_line_errors():
        from incontext.checkpoint import locate, read_metadata

        metadata = read_metadata(locate(weights))
    print(json.dumps(metadata, indent=2))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Checkpoint to read.")],
    destination: Annotated[Path, typer.Argument(help="Checkpoint to write.")],
    to: Annotated[Format, typer.Option(help="Format to write.")] = Format.INCONTEXT,
) -> None:
    """Convert an official UniverSeg v1 checkpoint (.pt, .safetensors) to ours, or back, without loss."""
    with _one_line_errors():
        import torch

        from incontext.checkpoint import load, save
        from incontext.universeg import load_universeg, save_universeg

        if to is Format.UNIVERSEG:
            save_universeg(load(source), destination)
        else:
            save(destination, load_universeg(source), {"converted_from": source.name}, torch.float32)
    print(f"Wrote {destination}.")


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder for encode.onnx and segment.onnx.")],
    weights: Weights = "default",
) -> None:
    """Write a checkpoint as two ONNX graphs, which any ONNX runtime computes; needs the `onnx` extra."""
    with _one_line_errors():
        from incontext.checkpoint import load, locate, read_metadata
        from incontext.export import export

        path = locate(weights)
        export(load(path), out, read_metadata(path))
    print(f"Wrote encode.onnx and segment.onnx to {out}.")


@app.command()
def train(
    collection: Annotated[Path, typer.Option(help="A collection that `megamed build` made.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights, the logs and the state to resume from.")],
    config: Annotated[str, typer.Option(help="`default`, `open` or a TOML file.")] = "default",
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.", show_default="the config's")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Processor minutes, in place of steps.", show_default="the config's")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, episodes, augmentation.", show_default="the config's")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="`default`, `open` or a checkpoint to start from.", show_default="the config's, else random"),
    ] = None,
    device: Device = None,
) -> None:
    """Train a network on a collection, or go on with the run that stopped in --out.

    For several processes: torchrun --nproc-per-node 2 -m incontext.cli train ..., with as many batches_per_step.
    """
    with _one_line_errors():
        from incontext.checkpoint import locate
        from incontext.distributed import started_first
        from incontext.train import train
        from incontext.train_config import read_config

        start = None if init is None else locate(init)
        path = train(
            read_config(config, steps=steps, minutes=minutes, seed=seed, init_from=start), collection, out, device
        )
    if started_first():
        print(f"Wrote {path}.")


@app.command()
def calibrate(
    collection: Annotated[Path, typer.Option(help="A collection with datasets of the role dev.")],
    weights: Annotated[Path, typer.Option(help="Checkpoint to calibrate; the result is written into it.")],
    seed: Annotated[int, typer.Option(help="Seed of the choice of supports and queries.")] = 0,
    device: Device = None,
) -> None:
    """Fit the temperature that makes probabilities mean what they say, and how to predict Dice; no mask changes."""
    with _one_line_errors():
        import torch

        from incontext.calibration import calibrate
        from incontext.checkpoint import load, write_calibration
        from incontext.episodes import dev_tasks
        from megamed import Collection

        network = load(weights, device or ("cuda" if torch.cuda.is_available() else "cpu"))
        calibration = calibrate(network, dev_tasks(Collection(collection), seed))
        write_calibration(weights, calibration)
    print(json.dumps(calibration, indent=2))


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def _progress(quiet: bool) -> "Track":
    from rich.console import Console
    from rich.progress import track

    return lambda cases: track(cases, "Segmenting", console=Console(stderr=True), disable=quiet)


def _report(summary: "Summary", out: Path, names: dict[int, str]) -> None:
    for value, score in summary.mean_dice.items():
        print(f"Dice {names.get(value, f'label {value}')}: {score:.3f}")
    print(f"Wrote {len(summary.images)} masks, overlay.png and summary.json to {out}.")
    for message in summary.warnings:
        typer.echo(f"Warning: {message}", err=True)
    for file, reason in summary.failures.items():
        typer.echo(f"Failed: {file}: {reason}", err=True)
    if summary.failures:
        raise typer.Exit(INCOMPLETE)


if __name__ == "__main__":
    app()
