"""Options of the shell that several commands share, with their help, and which of them go together."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from megamed.vocabulary import WrittenTool

SupportRule = Literal["all", "nearest", "diverse", "random"]
"""Rules that select the labelled images by which an image is segmented."""

TOOLS: tuple[WrittenTool, ...] = get_args(WrittenTool)
"""Annotation tools whose files are written."""

WEIGHTS_HELP = (
    "Network weights: `default`, `open` (trained on openly licensed data only), a checkpoint file, or owner/name on a "
    "hub."
)

DRAWN_HELP = (
    "Label map of the volume's size, with a few planes drawn and the others empty; of a film, also a folder of labels "
    "that have the names or numbers of their frames, from 0 on in a video."
)
COLLECTION_HELP = "Folder of a collection, as `megamed build` writes it, or one of its files."
INFO_HELP = "`default`, `open`, a checkpoint file, or a file that `save-task` wrote."
MODEL_SUFFIXES = (".onnx", ".zip")
"""Ends of the names of exported models that segment by themselves."""
MODEL_HELP = (
    "File of the model, with --task: .onnx, .pt2 (torch.export) or .bioimage.zip (BioImage.IO); else folder for "
    "encode.onnx and segment.onnx."
)
Weights = Annotated[str, typer.Option(help=WEIGHTS_HELP)]
TaskWeights = Annotated[
    str | None, typer.Option(help=WEIGHTS_HELP, show_default="default, or those that the task was saved with")
]
Device = Annotated[
    str | None, typer.Option(help="Device to compute on, such as cpu or cuda:1.", show_default="cuda if available")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")]
SUPPORT_HELP = "Folder in which some images have labels, such as labels/1.png or 1_mask.png for 1.png."
Examples = Annotated[Path, typer.Option(help=SUPPORT_HELP)]
Query = Annotated[
    Path | None,
    typer.Option(
        help="Folder of images, volumes or DICOM series to segment, or a single one.",
        show_default="images of --support without a label",
    ),
]
ImageTemplate = Annotated[
    str | None,
    typer.Option(help="Paths of images, such as {case}/{case}_flair.", show_default="by their names"),
]
LabelTemplate = Annotated[
    str | None,
    typer.Option(
        help="Paths of labels, such as {case}/{case}_seg; or the file of an annotation tool, such as annotations.json.",
        show_default="by their names",
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(help="Names of the label values, such as 1=liver,2=spleen, or a JSON, TOML or ITK-SNAP file of them."),
]
Colours = Annotated[
    str | None,
    typer.Option(
        help="Label values of labels drawn in colours, such as '#ff0000=1,#00ff00=2', or a JSON or TOML file of them."
    ),
]
ImageChannel = Annotated[
    str | None,
    typer.Option(
        "--channel",
        help="Channel to look at of images that have several: its number from 0 on, its name, red, green or blue.",
        show_default="colours as grey",
    ),
]
ImageLevel = Annotated[
    int | None,
    typer.Option(
        "--level",
        min=0,
        help="Level to look at of the resolution of whole slides and other pyramids: 0 is the full one.",
        show_default="that of the folder's card or of the task, else 0",
    ),
]
Select = Annotated[
    SupportRule | None,
    typer.Option(
        help="Labelled images that serve as support of an image: all of them, the most similar (nearest), dissimilar "
        "ones (diverse), or random ones.",
        show_default="all, or nearest if --support-size or --ensemble is given",
    ),
]
SupportSize = Annotated[
    int | None,
    typer.Option(min=1, help="Number of labelled images in a support, unless it is all.", show_default="16"),
]
UnknownValues = Annotated[
    list[int] | None,
    typer.Option(
        help="Value of pixels of labels that nobody judged, such as 255; can be repeated.",
        show_default="255 or -1 where it stands apart from the classes",
    ),
]
Ensemble = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of supports to select; their predicted probabilities are averaged.", show_default="1"
    ),
]
Choose = Annotated[
    bool,
    typer.Option(
        "--choose",
        help="Choose size, flips, support, scaling and tiles by how well labelled images segment each other, which "
        "takes some twenty times as long as to segment them once.",
    ),
]
Tune = Annotated[
    str | None,
    typer.Option(
        metavar="auto | STEPS",
        help="Tune a copy of the network on the labelled images, in about a minute: for a usual number of steps, or "
        "for so many at most. It is kept only if labelled images that it did not learn from gain.",
        show_default="0, for none",
    ),
]
Absent = Annotated[
    Literal["auto", "suppress", "mark", "keep"] | None,
    typer.Option(
        help="Treatment of a class where an image probably does not show it: nothing is drawn if some labelled images "
        "lack it (auto) or in any case (suppress), its probability alone says so (mark), or nobody asks (keep).",
        show_default="auto",
    ),
]
Overlap = Annotated[
    bool | None,
    typer.Option(
        "--overlap/--no-overlap",
        help="Let a pixel be of several classes; each has masks of its own then.",
        show_default="if classes share pixels in the labels",
    ),
]
MaskFormat = Annotated[
    str | None,
    typer.Option(
        help="File type of the masks, such as nii.gz.",
        show_default="each image's own, or png where it has no masks",
    ),
]
Statistics = Annotated[
    bool,
    typer.Option("--statistics", help="Write pixels, area or volume and predicted Dice to statistics.csv."),
]
WriteFor = Annotated[
    list[str] | None,
    typer.Option(
        metavar=" | ".join(TOOLS),
        help="Annotation tool in whose own files to write the masks, too; may be given several times.",
        show_default=False,
    ),
]
PromptsFile = Annotated[
    Path | None,
    typer.Option(
        help="JSON file of clicks, scribbles and boxes by the names of images, which correct their masks; with it, no "
        "labelled images are needed.",
        show_default=False,
    ),
]
SavedTask = Annotated[
    Path | None,
    typer.Option(
        help="File that `save-task` or `export` wrote, or owner/name on a hub, instead of --support; or a name, with "
        "--collection or --library.",
        show_default=False,
    ),
]
CollectionOfTasks = Annotated[
    Path | None,
    typer.Option(
        help="Collection, as `megamed build` writes it, in which --task is the name of a structure, such as 'optic "
        "disc' or 'liver in CT', instead of a file.",
        show_default=False,
    ),
]

LibraryOfTasks = Annotated[
    Path | None,
    typer.Option(
        "--library",
        help="Folder of a library, as `incontext library add` makes it, in which --task is a name instead of a file.",
        show_default=False,
    ),
]


def task_in(library: Path, name: Path | None) -> Path:
    """Return the file of a task of a library, which is as it was added."""
    if name is None:
        message = "give --task with --library, the name of the task."
        raise typer.BadParameter(message)
    from incontext.inference.task_library import TaskLibrary

    return TaskLibrary.open(library).file(str(name))


def check_sources(
    support: Path | None,
    query: Path | None,
    task: Path | None,
    prompts: Path | None,
    classes: str | None,
    collection: Path | None,
) -> None:
    """Refuse sources of what to segment that do not go together."""
    if (support and task) or not (support or task or prompts):
        message = "give --support or --task, one of the two, or --prompts."
        raise typer.BadParameter(message)
    if not support and query is None:
        message = "give --query, the images to segment."
        raise typer.BadParameter(message)
    if collection and (support or not task):
        message = "give --task with --collection, the name of what to segment, and no --support."
        raise typer.BadParameter(message)
    if task and classes:
        message = "--classes does not go with --task, which has its names."
        raise typer.BadParameter(message)


def tools_named(names: Sequence[str]) -> tuple[WrittenTool, ...]:
    """Return the annotation tools that names mean, each once, in any case and with or without hyphens."""
    known = {tool.replace("-", ""): tool for tool in TOOLS}
    plain = {name: re.sub(r"[-_ ]", "", name.lower()) for name in names}
    for name in names:
        if plain[name] not in known:
            message = f"{name!r} is none of {', '.join(TOOLS)}."
            raise typer.BadParameter(message, param_hint="--write")
    return tuple(dict.fromkeys(known[plain[name]] for name in names))


def refuse_beside_model(given: Sequence[object]) -> None:
    """Refuse options that an exported model has decided already, or that do nothing beside it.

    Args:
        given: Values of these options; None or empty for those that were not given.
    """
    if any(given):
        message = "an exported model takes --query, --out, --mask-format, --channel, --level and --quiet alone."
        raise typer.BadParameter(message)
