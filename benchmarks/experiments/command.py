"""`incontext-bench volumes`: its options, and what it prints."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.options import AsJson, Device, Weights


def volumes(
    data: Annotated[Path, typer.Option(help="Folder of datasets with source files, as `megamed build` reads it.")],
    dataset: Annotated[
        list[str] | None, typer.Option(help="Id of a dataset; repeatable.", show_default="all of role heldout")
    ] = None,
    labelled: Annotated[
        int, typer.Option(help="Number of labelled slices per volume, spread evenly over those that show the label.")
    ] = 3,
    others: Annotated[
        int, typer.Option(help="Number of other subjects' volumes to label slices of, instead of the volume's own.")
    ] = 0,
    most: Annotated[int, typer.Option(help="Maximum number of volumes per dataset, spread over its subjects.")] = 20,
    axis: Annotated[
        str,
        typer.Option(
            help="Axis to slice along: sagittal, coronal or axial.", show_default="across thick slices, else axial"
        ),
    ] = "",
    method: Annotated[
        list[str] | None,
        typer.Option(help="Method to score, such as propagation; repeatable.", show_default="all that can be asked"),
    ] = None,
    weights: Weights = "default",
    out: Annotated[Path, typer.Option(help="Folder of results, from which an interrupted run resumes.")] = Path(
        "runs/volumes"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the choice of volumes and of the bootstrap.")] = 0,
    asking: Annotated[
        bool, typer.Option("--asking", help="Compare slices asked for one by one with slices spread evenly.")
    ] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Score the segmentation of volumes with a few labelled slices: by propagation, and slice by slice for comparison.

    Propagation is `Segmenter.propagate`, on the volume's own grid. Dice is of all unlabelled slices together.
    """
    from benchmarks.experiments.propagated_volumes import run_volumes
    from benchmarks.experiments.source_volumes import VolumeSettings
    from benchmarks.reports.terminal import show, with_progress
    from incontext.networks.checkpoint import locate
    from incontext.networks.devices import choose_device

    settings = VolumeSettings(tuple(dataset or ()), labelled, others, most, axis, seed, asking)
    network, computer = locate(weights), str(choose_device(device))
    summary = run_volumes(data, settings, network, out, computer, with_progress, method or ())
    show({0: summary}, as_json)
