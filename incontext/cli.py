"""The shell: `incontext segment`, `annotate`, `train` and others, each of which calls one function and prints."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from incontext.folders.library_command import library
from incontext.folders.publish_command import publish
from incontext.folders.shell_options import (
    COLLECTION_HELP,
    DRAWN_HELP,
    INFO_HELP,
    MODEL_HELP,
    MODEL_SUFFIXES,
    SUPPORT_HELP,
    Absent,
    Choose,
    ClassNames,
    CollectionOfTasks,
    Colours,
    Device,
    Ensemble,
    Examples,
    ImageChannel,
    ImageLevel,
    ImageTemplate,
    LabelTemplate,
    LibraryOfTasks,
    MaskFormat,
    Overlap,
    PromptsFile,
    Query,
    Quiet,
    SavedTask,
    Select,
    Statistics,
    SupportSize,
    TaskWeights,
    Tune,
    UnknownValues,
    Weights,
    WriteFor,
    check_sources,
    refuse_beside_model,
    task_in,
    tools_named,
)
from incontext.folders.shell_report import (
    INCOMPLETE,
    counting,
    in_lines,
    lines,
    progress,
    report,
    report_film,
    report_model,
    report_volume,
    tell,
)
from incontext.page.command import annotate
from incontext.page.volume_command import serve
from incontext.training.weights_command import average, convert
from megamed.command_line import CommandLine, table
from megamed.failures import one_line

app = CommandLine("incontext", help="Segment images from a handful of labelled examples, without training.")

app.command()(annotate)
app.command()(publish)
app.command()(serve)
app.command()(convert)
app.command()(average)
app.add_typer(library, name="library")


@app.command()
def segment(
    out: Annotated[Path, typer.Option(help="Folder to write masks/, overlay.png and summary.json into.")],
    support: Annotated[Path | None, typer.Option(help=SUPPORT_HELP, show_default=False)] = None,
    query: Query = None,
    task: SavedTask = None,
    collection: CollectionOfTasks = None,
    library_folder: LibraryOfTasks = None,
    images: ImageTemplate = None,
    labels: LabelTemplate = None,
    classes: ClassNames = None,
    colours: Colours = None,
    unknown: UnknownValues = None,
    channel: ImageChannel = None,
    level: ImageLevel = None,
    select: Select = None,
    support_size: SupportSize = None,
    ensemble: Ensemble = None,
    tune: Tune = None,
    choose: Choose = False,
    weights: TaskWeights = None,
    device: Device = None,
    backend: Annotated[
        Literal["torch", "onnx"] | None, typer.Option(help="Library that computes the network.", show_default="torch")
    ] = None,
    absent: Absent = None,
    overlap: Overlap = None,
    prompts: PromptsFile = None,
    mask_format: MaskFormat = None,
    write: WriteFor = None,
    preview: Annotated[bool, typer.Option(help="Draw the masks over the images in overlay.png.")] = True,
    statistics: Statistics = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard another run's results in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of a short report.")] = False,
    quiet: Quiet = False,
) -> None:
    """Segment images by labelled examples, which are in a folder, a saved task or a collection, or by prompts alone.

    The same command continues a run that was stopped. Where images to
    segment have labels, Dice is reported.

    Exit status: 0 if all is done, 3 if some image could not be segmented, 1
    if nothing could be done, 2 if the command is mistaken.
    """
    check_sources(support, query, task, prompts, classes, collection)
    task = task_in(library_folder, task) if library_folder else task
    if task and query and not collection and task.name.lower().endswith(MODEL_SUFFIXES):
        from incontext.folders.exported_model import segment_by_model

        learned = (colours, unknown, select, support_size, ensemble, tune, choose, weights, device, backend, absent)
        asked_for = (images, labels, prompts, write, statistics, overwrite, as_json, overlap is not None)
        refuse_beside_model((*learned, *asked_for))
        return report_model(segment_by_model(task, query, out, mask_format, channel, level, progress(quiet)), out)
    from incontext.folders.class_names import read_classes, read_colours
    from incontext.folders.prompt_file import PromptFile
    from incontext.folders.segment_folder import SegmentOptions, segment_folder
    from incontext.folders.segmenter_options import SegmenterOptions, level_of
    from megamed.path_templates import read_templates

    given = (task, weights, device, select, support_size, ensemble, backend, channel, level_of(level, support))
    chosen = SegmenterOptions(*given, read_colours(colours), unknown, tune, not quiet, absent, collection, query)
    named, templates, tools = read_classes(classes), read_templates(images, labels), tools_named(write or ())
    said = PromptFile.read(prompts) if prompts else PromptFile()
    asked = (named, mask_format, preview, statistics, overwrite, templates, tools, said, overlap, choose)
    options = SegmentOptions(*asked, tell, None if collection else task)
    summary = segment_folder(chosen.open(), support, query, out, progress(quiet), options)
    report(summary, (out / "summary.json").read_text(encoding="utf-8") if as_json else in_lines(lines(summary, out)))


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help=SUPPORT_HELP)],
    images: ImageTemplate = None,
    labels: LabelTemplate = None,
    classes: ClassNames = None,
    colours: Colours = None,
    unknown: UnknownValues = None,
    channel: ImageChannel = None,
    level: ImageLevel = None,
    expect: Annotated[
        bool, typer.Option("--expect/--no-expect", help="Let four or more labelled images segment each other.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Report what `segment` would use of a folder, what its label values are, and what looks wrong.

    Four or more labelled images tell besides what Dice to expect of masks,
    and which of the labels the others contradict; this takes some seconds
    more, and --no-expect leaves it out. A contradicted label is worth a look
    and need not be wrong: one in twenty sound ones is named, too.

    Exit status: 0 if nothing looks wrong with the files, whatever labels are
    contradicted, 3 if something does, 1 if the folder cannot be used.
    """
    from incontext.folders.check_folder import check_folder
    from incontext.folders.class_names import read_classes, read_colours
    from megamed.label_values import LabelRules
    from megamed.path_templates import read_templates
    from megamed.readers.remembered import remembering

    rules, templates = LabelRules.of(unknown or None, read_colours(colours)), read_templates(images, labels)
    named, expected = read_classes(classes), None
    with remembering() if expect else nullcontext():
        found = check_folder(folder, templates, rules, named, channel, level)
        if not as_json:
            print(in_lines(found.lines()), flush=True)
        if found.labelled and expect:
            from incontext.folders.expectation import expect_of_folder
            from incontext.folders.segmenter_options import SegmenterOptions, level_of

            options = SegmenterOptions(
                channel=channel, level=level_of(level, folder), colours=rules.colours, unknown=unknown
            )
            expected = expect_of_folder(options.open(), folder, templates, named)
    if as_json:
        print(replace(found, expected=expected).as_json())
    elif expected:
        print(in_lines(expected.lines()))
    if found.problems:
        raise typer.Exit(INCOMPLETE)


@app.command()
def tasks(
    collection: Annotated[Path, typer.Argument(metavar="COLLECTION", help=COLLECTION_HELP)],
    words: Annotated[list[str] | None, typer.Argument(help="Name of a structure, such as optic disc.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="PNG to draw them into, a line of outlined images each.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the tasks of a collection, or those of a structure: how each dataset defines it, side by side.

    In brackets stand labels on the same images that are part of the
    structure, or more than it.

    Exit status: 1 if no task is of the structure; the nearest are named.
    """
    from megamed.collection import Collection
    from megamed.definitions import definitions
    from megamed.preview import save_sheet

    with Collection(collection) as opened:
        found = definitions(opened, " ".join(words or ()))
        if picture:
            save_sheet(opened, [each.task for each in found], picture)
    if as_json:
        print(json.dumps([each.as_dict() for each in found], indent=1, ensure_ascii=False))
    else:
        print(table([each.row() for each in found]))


@app.command()
def save_task(
    support: Examples,
    out: Annotated[Path, typer.Option(help="File to write, such as liver.task.")],
    images: ImageTemplate = None,
    labels: LabelTemplate = None,
    classes: ClassNames = None,
    colours: Colours = None,
    unknown: UnknownValues = None,
    channel: ImageChannel = None,
    level: ImageLevel = None,
    select: Select = None,
    support_size: SupportSize = None,
    ensemble: Ensemble = None,
    tune: Tune = None,
    overlap: Overlap = None,
    weights: Weights = "default",
    author: Annotated[str, typer.Option(help="Author of the task, for those who receive it.", show_default=False)] = "",
) -> None:
    """Save labelled examples and settings as one file, for `segment --task` on this machine or another."""
    from incontext.folders.class_names import read_classes, read_colours
    from incontext.folders.segmenter_options import SegmenterOptions, level_of
    from incontext.folders.user_folder import save_folder_task
    from megamed.path_templates import read_templates

    given = (None, weights, None, select, support_size, ensemble, None, channel, level_of(level, support))
    segmenter = SegmenterOptions(*given, read_colours(colours), unknown, tune).open()
    templates = read_templates(images, labels)
    for note in save_folder_task(
        segmenter, support, out, read_classes(classes), templates, author=author, overlap=overlap
    ):
        typer.echo(one_line(f"Note: {note}"), err=True)
    if tuned := segmenter.tuned:
        typer.echo(f"Note: {tuned}", err=True)
    print(f"Wrote {out}. It holds the labelled images: share it with those only who may see them.")


@app.command()
def propagate(
    volume: Annotated[
        Path, typer.Argument(help="Volume, DICOM series, image stack, video or folder of frames to segment.")
    ],
    out: Annotated[
        Path, typer.Option(help="Mask to write, whose suffix decides the file type; a folder of masks for a film.")
    ],
    labels: Annotated[Path | None, typer.Option(help=DRAWN_HELP, show_default="those beside the frames")] = None,
    task: Annotated[
        Path | None,
        typer.Option(help="File that `save-task` wrote, with labelled planes of other volumes.", show_default=False),
    ] = None,
    classes: ClassNames = None,
    colours: Colours = None,
    unknown: UnknownValues = None,
    channel: ImageChannel = None,
    axis: Annotated[
        str | None,
        typer.Option(
            help="Axis from plane to plane: 0, 1, 2, sagittal, coronal or axial.",
            show_default="the one with the thickest slices",
        ),
    ] = None,
    weights: TaskWeights = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Segment a volume or a film by labels of a few planes or frames, which keep them.

    Beside the mask lies a picture of it, and the Dice to expect of it is
    told, and the slice to label next. Of a video or a folder of frames,
    --out gets a mask of each frame and overlay.gif, an animated preview.
    Videos need the extra `video`.
    """
    from incontext.folders.class_names import read_classes, read_colours
    from incontext.folders.propagate_file import propagate_file
    from incontext.folders.propagate_film import is_film, propagate_film
    from incontext.folders.segmenter_options import SegmenterOptions

    frames = is_film(volume, out)
    if labels is None and task is None and not (frames and volume.is_dir()):
        message = "give --labels, or --task, or both."
        raise typer.BadParameter(message)
    named, read = read_classes(classes), read_colours(colours)
    segmenter = SegmenterOptions(task, weights, device, channel=channel, colours=read, unknown=unknown).open()
    if frames:
        with counting(quiet) as told:
            found = propagate_film(segmenter, volume, out, labels, classes=named, told=told)
        return report_film(found, out)
    with counting(quiet) as told:
        whole = propagate_file(segmenter, volume, out, labels, classes=named, axis=axis, told=told)
    report_volume(whole, out)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the slices and the result.")] = Path("demo"),
    weights: Weights = "default",
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Segment grey and white matter in brain slices, given six labelled ones; needs the `demo` extra."""
    from incontext.folders.demo import run
    from incontext.folders.segmenter_options import SegmenterOptions

    summary = run(SegmenterOptions(weights=weights, device=device).open(), out, progress(quiet))
    report(summary, in_lines(lines(summary, out / "result")))


@app.command()
def info(
    file: Annotated[str, typer.Argument(help=INFO_HELP)] = "default",
) -> None:
    """Print the provenance of network weights, or the classes and examples of a saved task, as JSON."""
    from incontext.folders.task_info import task_info
    from incontext.networks.checkpoint import Checkpoint, locate

    path = locate(file)
    metadata = task_info(path) or Checkpoint.read(path).inspect()
    print(json.dumps(metadata, indent=2))


@app.command()
def export(
    out: Annotated[Path, typer.Option(help=MODEL_HELP)],
    task: Annotated[Path | None, typer.Option(help="File that `save-task` wrote.", show_default=False)] = None,
    weights: TaskWeights = None,
) -> None:
    """Export a saved task as an ordinary model: an image in, probabilities of its classes out.

    Without --task, network weights are exported as two ONNX graphs, which
    encode labelled images and segment others. Needs the `onnx` extra, and
    for .bioimage.zip the extra `bioimage`.
    """
    if task:
        from incontext.folders.task_info import export_task

        export_task(task, out, weights)
        print(f"Wrote {out}. It holds no images, but what the network made of the labelled ones.")
        return
    from incontext.networks.onnx_graphs import export_checkpoint

    export_checkpoint(weights or "default", out)
    print(f"Wrote encode.onnx and segment.onnx to {out}.")


@app.command()
def train(
    collection: Annotated[Path, typer.Option(help="Collection to train on, as `megamed build` writes it.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights, the logs and the state to resume from.")],
    config: Annotated[
        str, typer.Option(help="Settings: `default`, `open` (openly licensed data only) or a TOML file.")
    ] = "default",
    steps: Annotated[int | None, typer.Option(help="Number of optimiser steps.", show_default="the config's")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Processor time after which to stop, instead of --steps.", show_default="the config's"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of initial weights, episodes and augmentation.", show_default="the config's"),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Weights to start from: `default`, `open` or a checkpoint file.",
            show_default="the config's, else random ones",
        ),
    ] = None,
    device: Device = None,
    other_collection: Annotated[
        bool, typer.Option("--other-collection", help="Continue a run that began with another collection.")
    ] = False,
) -> None:
    """Train a network on a collection, or continue the run that was stopped in --out.

    Several processes share the work under torchrun --nproc-per-node 2
    --no-python incontext train ..., if batches_per_step in the settings is a
    multiple of their number.
    """
    from incontext.networks.checkpoint import locate
    from incontext.training.config import read_config
    from incontext.training.distributed import started_first
    from incontext.training.loop import train

    start = None if init is None else locate(init)
    settings = read_config(config, steps=steps, minutes=minutes, seed=seed, init_from=start)
    path = train(settings, collection, out, device, other_collection)
    if started_first():
        print(f"Wrote {path}.")


@app.command()
def calibrate(
    collection: Annotated[Path, typer.Option(help="Collection with datasets of the role dev, to calibrate on.")],
    weights: Annotated[Path, typer.Option(help="Checkpoint to calibrate; the result is written into it.")],
    seed: Annotated[int, typer.Option(help="Seed of the choice of supports and queries.")] = 0,
    device: Device = None,
) -> None:
    """Calibrate the probabilities of network weights, and fit the model that predicts the Dice of masks.

    Both are written into the checkpoint. No mask changes.
    """
    from incontext.training.calibration import calibrate_checkpoint

    calibration = calibrate_checkpoint(weights, collection, seed, device)
    print(json.dumps(calibration, indent=2))


if __name__ == "__main__":
    app()
