"""The folder that a run of `segment` wrote: how it is known, and where the images lie that the run read."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from incontext.folders import RUN_LOG, SUMMARY
from megamed.files import read_json

QUERY, SUPPORT, TASK, HUB_TASK = "query", "support", "task", "hub_task"
PLACES = "folders"
"""Field of the summary that says where the images lie."""


def places(out: Path, query: Path | None, support: Path | None, task: Path | None = None) -> dict[str, str]:
    """Tell where the images of a run lie, as seen from its folder, so that all may move together.

    Args:
        out: Folder of results.
        query: Folder of the images to segment, or one image; None if they are those of the support without a label.
        support: Folder of the labelled images, if there is one.
        task: File of the saved task, or the name of one on a hub, if there is one.
    """
    given = {QUERY: query or support, SUPPORT: support, TASK: task if task and task.is_file() else None}
    found = {name: _seen_from(out, path) for name, path in given.items() if path}
    return found | ({HUB_TASK: task.as_posix()} if task and _is_on_hub(task) else {})


def _is_on_hub(task: Path) -> bool:
    from incontext.inference.hub import is_repository  # which brings torch, and the page is told its folder without

    return is_repository(task.as_posix())


def _seen_from(out: Path, path: Path) -> str:
    target = os.path.realpath(path)
    with suppress(ValueError):  # another drive
        return os.path.relpath(target, os.path.realpath(out))
    return target


def is_run_folder(folder: Path) -> bool:
    """Whether a folder holds results: its log, or a summary that says of which images."""
    if (folder / RUN_LOG).is_file():
        return True
    found: Mapping[str, Any] = {}
    with suppress(ValueError):
        found = read_json(folder / SUMMARY, "") if (folder / SUMMARY).is_file() else found
    return isinstance(found.get(PLACES), dict)


def read_summary(folder: Path) -> dict[str, Any]:
    """Read what a run tells of its results.

    Raises:
        FileNotFoundError: If the folder holds none, or the run has not ended.
        ValueError: If the summary is damaged.
    """
    if not (folder / SUMMARY).is_file():
        what = "unfinished results" if is_run_folder(folder) else "no results"
        msg = (
            f"{folder} holds {what}: expected the folder that `segment --out` wrote, got no {SUMMARY} in it. Give the "
            "`segment` command again, or name its folder."
        )
        raise FileNotFoundError(msg)
    return read_json(folder / SUMMARY, "Give the same `segment` command again.")


def find_places(folder: Path) -> dict[str, Path]:
    """Find where what a run read was: its images as `query`, its labelled ones as `support`, its saved task as `task`.

    A task on a hub is `hub_task`, whose path is its name there.

    Raises:
        FileNotFoundError: If the folder holds no results, or the run has not ended.
        ValueError: If the summary is damaged.
    """
    return found_places(read_summary(folder).get(PLACES, {}), folder)


def found_places(told: Mapping[str, str], out: Path) -> dict[str, Path]:
    """Find what `places` tells as seen from a folder; the path of a task on a hub is its name there."""
    here = out.resolve()
    return {
        name: Path(place) if name == HUB_TASK else Path(os.path.normpath(here / place)) for name, place in told.items()
    }
