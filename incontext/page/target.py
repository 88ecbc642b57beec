"""The target of annotation, a folder of images or of results of these, and the options of the page."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from incontext.folders.run_folder import QUERY, SUPPORT, find_places, is_run_folder

LABELS = "labels"
"""Folder of the labels of accepted images, in that of the images."""


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

        The labelled images by which the masks were made are examples from the first, unless a saved task has some.

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
            return cls(folder, options)
        found = find_places(results)
        images = _images_of(results, found) if holds_results else folder
        support = None if options.task else found.get(SUPPORT)
        if support and os.path.realpath(support) == os.path.realpath(images):
            support = None
        note = f"{results} holds results: their masks are corrected, and kept as labels in {images / LABELS}."
        if support:
            note += f" The labelled images of {support} are examples, too."
        return cls(images, replace(options, results=results, support=support), note)


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
