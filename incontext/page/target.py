"""The target of annotation, a folder of images and none of results, and the options of the page."""

from dataclasses import dataclass
from pathlib import Path

from incontext.folders import RUN_LOG


@dataclass(frozen=True)
class PageOptions:
    """Options of what is behind the page.

    Attributes:
        task: File of a saved task, whose examples are there from the first.
        weights: `default`, `open` or a checkpoint file.
        classes: Names of label values, as `read_classes` reads them.
        results: Folder of results of `segment`, whose masks are corrected; None for none.
        channel: Channel to look at of images that have several.
        level: Level to look at of slides and other pyramids; None for what suits them.
    """

    task: Path | None = None
    weights: str | None = None
    classes: str | None = None
    results: Path | None = None
    channel: str | None = None
    level: int | None = None


def check_target(folder: Path) -> None:
    """Make sure that a folder may be annotated, as far as that is known without reading it.

    Raises:
        NotADirectoryError: If it is no folder.
        ValueError: If it holds results.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder: expected a folder of images. Check the path."
        raise NotADirectoryError(msg)
    if (folder / RUN_LOG).is_file():
        msg = (
            f"{folder} holds results: expected the folder of the images, got what `segment` made of them. Name that "
            f"folder, and add --results {folder}."
        )
        raise ValueError(msg)
