"""The target of annotation, a folder of images or of results of these, and the options of the page."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from incontext.folders.run_folder import (
    HUB_TASK,
    QUERY,
    SUPPORT,
    TASK,
    find_places,
    found_places,
    is_run_folder,
    places,
)
from megamed.files import exclusive, make_folder, read_json, replace_file

LABELS = "labels"
"""Folder of the labels of accepted images, in that of the images."""
STORE = ".annotate"
"""Name of the hidden folder in which strokes, classes and replaced labels are kept."""
KEPT_TASK = "task.json"
"""File in it that says where the saved task is whose examples the page has."""


@dataclass(frozen=True)
class PageOptions:
    """Options of what is behind the page.

    Attributes:
        task: File of a saved task, or the name of one on a hub, whose examples are there from the first.
        weights: `default`, `open` or a checkpoint file.
        classes: Names of label values, as `read_classes` reads them.
        results: Folder of results of `segment`, whose masks are corrected; None for none.
        channel: Channel to look at of images that have several.
        level: Level to look at of slides and other pyramids; None for what suits them.
        support: Folder of labelled images, which are examples from the first, too; None for none.
    """

    task: Path | None = None
    weights: str | None = None
    classes: str | None = None
    results: Path | None = None
    channel: str | None = None
    level: int | None = None
    support: Path | None = None


@dataclass(frozen=True)
class Target:
    """The folder of images to annotate, the options of the page, and what was understood of what a user named."""

    folder: Path
    options: PageOptions
    note: str = ""

    @classmethod
    def named(cls, folder: Path, options: PageOptions) -> Self:
        """Take a folder of results for that of its images, whose masks are to be corrected, and others as they are.

        The labelled images by which the masks were made are examples from the first: those of the saved task that is
        named here, else of that by which they were made, else of their folder.

        Raises:
            FileNotFoundError: If it holds results, and the images are not where they were; or others are no results.
            ValueError: If it holds results, and others are named, too; or their summary is damaged.
        """
        holds_results = is_run_folder(folder)
        if holds_results and options.results:
            msg = f"{folder} holds results: expected a folder of images beside --results, got both. Drop one."
            raise ValueError(msg)
        results = folder if holds_results else options.results
        if results is None:
            return cls._of_images(folder, options)
        told = find_places(results)
        found = {name: path for name, path in told.items() if path.exists()}
        images = _images_of(results, found) if holds_results else folder
        task = options.task or found.get(TASK) or told.get(HUB_TASK)
        support = None if task else found.get(SUPPORT)
        if support and os.path.realpath(support) == os.path.realpath(images):
            support = None
        note = f"{results} holds results: their masks are corrected, and kept as labels in {images / LABELS}."
        if support or task:
            note += f" The labelled images of {support or task} are examples, too."
        elif TASK in told:
            note += f" {_gone(told[TASK])}"
        return cls(images, replace(options, task=task, results=results, support=support), note)

    @classmethod
    def _of_images(cls, folder: Path, options: PageOptions) -> Self:
        """Take a folder with the saved task that it was annotated with before, if none is named now."""
        kept = folder / STORE / KEPT_TASK
        if options.task or not kept.is_file():
            return cls(folder, options)
        told = found_places(read_json(kept, "Delete it, or name the task by --task."), kept.parent)
        task = told.get(HUB_TASK) or told.get(TASK, kept.parent)
        if HUB_TASK not in told and not task.is_file():
            return cls(folder, options, _gone(task))
        note = f"The labelled images of {task} are examples, as before. To begin without them, delete {kept}."
        return cls(folder, replace(options, task=task), note)


def keep_task(folder: Path, task: Path) -> None:
    """Keep where the saved task is whose examples a folder is annotated with, for the next time.

    Raises:
        Unwritable: If the system refuses it.
    """
    store = folder / STORE
    if place := places(store, None, None, task):
        make_folder(store)
        replace_file(store / KEPT_TASK, json.dumps(place) + "\n")


def _gone(task: Path) -> str:
    return f"The task {task} is gone: examples are those drawn here, or those of the --task that you name."


def _images_of(results: Path, places: Mapping[str, Path]) -> Path:
    """Return the folder of the images that results are of."""
    if QUERY not in places:
        msg = (
            f"{results} holds results, and no images: expected the images where they were segmented, got none there. "
            f"Name their folder: incontext annotate IMAGES --results {results}."
        )
        raise FileNotFoundError(msg)
    path = places[QUERY]
    return path if path.is_dir() else path.parent


def check_ready(folder: Path) -> None:
    """Make sure that annotation can begin, as far as names tell, before anybody is told where.

    Raises:
        NotADirectoryError: If it is no folder.
        ValueError: If it holds results or no images, or another process is at work there.
        OSError: If it cannot be read or written to.
    """
    check_target(folder)
    with exclusive(folder, "annotate"):
        from megamed import formats
        from megamed.file_names import visible_files

        if not any(formats.format_of(folder / path) for path in visible_files(folder)):
            from incontext.folders.folder_images import read_folder

            read_folder(folder)  # which says what is wrong


def check_target(folder: Path) -> None:
    """Make sure that a folder may be annotated, as far as that is known without reading it.

    Raises:
        NotADirectoryError: If it is no folder.
        ValueError: If it holds results.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder: expected a folder of images. Check the path."
        raise NotADirectoryError(msg)
    if is_run_folder(folder):
        msg = (
            f"{folder} holds results: expected the folder of the images, got what `segment` made of them. Name that "
            f"folder, and add --results {folder}."
        )
        raise ValueError(msg)
