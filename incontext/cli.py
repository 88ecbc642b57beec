"""`incontext segment · save-task · propagate · demo · info · convert · export · train · calibrate`."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from incontext.folders.report import Summary
    from incontext.folders.segment_folder import Track
    from incontext.segmenter import Segmenter

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


class Rule(StrEnum):
    """By which labelled images an image is segmented."""

    ALL = "all"
    NEAREST = "nearest"
    DIVERSE = "diverse"
    RANDOM = "random"


class Computer(StrEnum):
    """What computes."""

    TORCH = "torch"
    ONNX = "onnx"


Weights = Annotated[str, typer.Option(help="`default`, `open` (learned from open data alone) or a checkpoint file.")]
Device = Annotated[str | None, typer.Option(help="Where to compute.", show_default="cuda if there, else cpu")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")]
Support = Annotated[
    Path | None, typer.Option(help="Folder with images/ and labels/, paired by file name.", show_default=False)
]
Named = Annotated[str | None, typer.Option(help="Names of label values: 1=liver,2=spleen or a JSON or TOML file.")]
Select = Annotated[
    Rule | None,
    typer.Option(
        help="By which labelled images to segment an image.", show_default="all; nearest if told how many of them"
    ),
]
Size = Annotated[int | None, typer.Option(min=1, help="How many of them.", show_default="16")]
Ensemble = Annotated[
    int | None, typer.Option(min=1, help="Such choices, whose probabilities are averaged.", show_default="1")
]
TaskWeights = Annotated[
    str | None, typer.Option(help="`default`, `open` or a checkpoint file.", show_default="default; the task's own")
]
Task = Annotated[Path | None, typer.Option(help="What `save-task` wrote, in place of --support.", show_default=False)]


@app.command()
def segment(
    query: Annotated[Path, typer.Option(help="Folder of images, volumes or DICOM series, or one of these.")],
    out: Annotated[Path, typer.Option(help="Folder for masks/, overlay.png and summary.json.")],
    support: Support = None,
    task: Task = None,
    classes: Named = None,
    select: Select = None,
    support_size: Size = None,
    ensemble: Ensemble = None,
    weights: TaskWeights = None,
    device: Device = None,
    backend: Annotated[Computer | None, typer.Option(help="What computes.", show_default="torch")] = None,
    mask_format: Annotated[
        str | None, typer.Option(help="Suffix of the masks, as nii.gz for DICOM.", show_default="each image's own")
    ] = None,
    preview: Annotated[bool, typer.Option(help="Draw overlay.png.")] = True,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Write areas and volumes to statistics.csv.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew where --out holds another run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json in place of a report.")] = False,
    quiet: Quiet = False,
) -> None:
    """Segment images as labelled images show, or as a task does; the same command goes on with a run that stopped.

    If the query has labels/ beside images/, Dice is reported.

    Exit status: 0 if all is done, 3 if some image could not be segmented, 1 if nothing could be done, 2 if the command
    is mistaken.
    """
    if (support is None) == (task is None):
        message = "give --support or --task, one of the two."
        raise typer.BadParameter(message)
    if task and classes:
        message = "--classes does not go with --task, which has its names."
        raise typer.BadParameter(message)
    with _one_line_errors():
        from incontext.folders import segment_folder

        options = segment_folder.SegmentOptions(
            classes=segment_folder.read_classes(classes) if classes else None,
            mask_format=f".{mask_format.removeprefix('.')}" if mask_format else None,
            preview=preview,
            statistics=statistics,
            overwrite=overwrite,
        )
        segmenter = _segmenter(task, weights, device)
        segmenter.set_params(
            **_choice(select, support_size, ensemble), **({"backend": str(backend)} if backend else {})
        )
        summary = segment_folder.segment_folder(segmenter, support, query, out, _progress(quiet), options)
        content = segment_folder.as_json(summary, segmenter)
    _report(summary, out, content if as_json else None)


@app.command()
def save_task(
    support: Annotated[Path, typer.Option(help="Folder with images/ and labels/, paired by file name.")],
    out: Annotated[Path, typer.Option(help="File to write, such as liver.task.")],
    classes: Named = None,
    select: Select = None,
    support_size: Size = None,
    ensemble: Ensemble = None,
    weights: Weights = "default",
) -> None:
    """Write labelled images and how to use them into one file, for `segment --task`, here or at a colleague's."""
    with _one_line_errors():
        from incontext.folders.segment_folder import fit_folder, read_classes

        segmenter = _segmenter(None, weights, None).set_params(**_choice(select, support_size, ensemble))
        fit_folder(segmenter, support, read_classes(classes) if classes else None)
        segmenter.save_task(out)
    print(f"Wrote {out}. It holds the labelled images: share it with those only who may see them.")


@app.command()
def propagate(
    volume: Annotated[Path, typer.Argument(help="Volume, DICOM series or stack to segment.")],
    out: Annotated[Path, typer.Option(help="Mask to write; its suffix chooses the format.")],
    labels: Annotated[
        Path | None, typer.Option(help="Label of the volume, in which a few planes are drawn.", show_default=False)
    ] = None,
    task: Annotated[
        Path | None, typer.Option(help="What other volumes show: a file of `save-task`.", show_default=False)
    ] = None,
    classes: Named = None,
    axis: Annotated[
        str | None,
        typer.Option(
            help="From plane to plane: 0, 1, 2, sagittal, coronal, axial.", show_default="across thick slices"
        ),
    ] = None,
    weights: TaskWeights = None,
    device: Device = None,
) -> None:
    """Segment a volume by a few of its planes that are labelled, which stay as they were drawn."""
    if labels is None and task is None:
        message = "give --labels, or --task, or both."
        raise typer.BadParameter(message)
    with _one_line_errors(), warnings.catch_warnings(record=True, action="always") as warned:
        from incontext.folders.segment_folder import read_classes

        segmenter = _segmenter(task, weights, device)
        across = int(axis) if axis and axis.isdecimal() else axis
        result = segmenter.propagate(volume, labels, read_classes(classes) if classes else None, across)
        result.write(0, out)
    for each in warned:
        typer.echo(f"Warning: {each.message}", err=True)
    print(f"Wrote {out}.")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the slices and the result.")] = Path("demo"),
    weights: Weights = "default",
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Segment grey and white matter in brain slices, given six labelled ones; needs the `demo` extra."""
    with _one_line_errors():
        from incontext.folders.demo import run
        from incontext.segmenter import Segmenter

        summary = run(Segmenter.from_pretrained(weights, device), out, _progress(quiet))
    _report(summary, out / "result")


@app.command()
def info(
    weights: Annotated[str, typer.Argument(help="`default`, `open` or a checkpoint file.")] = "default",
) -> None:
    """Print a checkpoint's configuration and provenance as JSON."""
    with _one_line_errors():
        from incontext.networks.checkpoint import locate, read_metadata

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

        from incontext.networks.checkpoint import load, save
        from incontext.networks.universeg import load_universeg, save_universeg

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
        from incontext.networks.checkpoint import load, locate, read_metadata
        from incontext.networks.onnx_graphs import export

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
        from incontext.networks.checkpoint import locate
        from incontext.training.config import read_config
        from incontext.training.distributed import started_first
        from incontext.training.loop import train

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

        from incontext.networks.checkpoint import load, write_calibration
        from incontext.training.calibration import calibrate
        from incontext.training.episodes import dev_tasks
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


def _segmenter(task: Path | None, weights: str | None, device: str | None) -> "Segmenter":
    from incontext.segmenter import Segmenter

    if task:
        return Segmenter.load_task(task, weights, device)
    return Segmenter.from_pretrained(weights or "default", device)


def _choice(select: Rule | None, size: int | None, ensemble: int | None) -> dict[str, Any]:
    """The parameters that are told."""
    rule = select or (Rule.NEAREST if size or ensemble else None)
    told = {"support": rule and str(rule), "support_size": size, "ensemble": ensemble}
    return {name: value for name, value in told.items() if value is not None}


def _report(summary: "Summary", out: Path, content: str | None = None) -> None:
    """Print what was found, or a content in its place; then what was not, and end."""
    for line in _lines(summary, out) if content is None else [content]:
        print(line)
    for message in summary.warnings:
        typer.echo(f"Warning: {message}", err=True)
    for file, reason in summary.failures.items():
        typer.echo(f"Failed: {file}: {reason}", err=True)
    if summary.failures:
        raise typer.Exit(INCOMPLETE)


def _lines(summary: "Summary", out: Path) -> Iterator[str]:
    for value, score in summary.mean_dice.items():
        name = summary.classes[value]
        yield f"Dice {f'label {name}' if name == str(value) else name}: {score:.3f}"
    for report in summary.images:
        if report.look_first:
            yield f"Look first at {report.file}: its mask is probably poor."
    earlier = f", {summary.resumed} of them by an earlier run" if summary.resumed else ""
    yield f"{len(summary.images)} masks{earlier}, and summary.json, are in {out}."


if __name__ == "__main__":
    app()
