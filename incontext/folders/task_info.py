"""Description of a saved task for the command line."""

from pathlib import Path
from typing import Any

from incontext.inference.task_file import describe_task, is_task


def task_info(path: Path) -> dict[str, Any] | None:
    """Describe a saved task; None for any other file.

    Raises:
        ValueError: If the task is damaged or of a later version.
    """
    return describe_task(path) if is_task(path) else None
