"""Description of a saved task for the command line, and its export as an ordinary model."""

from pathlib import Path
from typing import Any

from incontext.inference.task_file import describe_task, is_task
from incontext.segmenter import Segmenter
from megamed.files import claimed_file


def task_info(path: Path) -> dict[str, Any] | None:
    """Describe a saved task; None for any other file.

    Raises:
        ValueError: If the task is damaged or of a later version.
    """
    return describe_task(path) if is_task(path) else None


def export_task(task: Path, out: Path, weights: str | None = None) -> None:
    """Export a saved task as a model of one input: see `Segmenter.export`.

    Args:
        task: File of the task.
        out: File to write; its suffix decides the format.
        weights: Weights that the task was made with, if they are not at hand by themselves.

    Raises:
        ValueError: If the task or the format cannot be exported, or somebody else's file is in the way.
        OSError: If a file cannot be read or written.
        ImportError: If the extra for the format is not installed.
    """
    with claimed_file(out, "export"):
        Segmenter.load_task(task, weights, "cpu").export(out, describe_task(task)["author"] or "")
