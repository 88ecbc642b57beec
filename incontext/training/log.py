"""The log of a training run: CSV tables, TensorBoard events where that is installed, and a progress bar."""

import csv
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from megamed.files import append, replace_file

logger = logging.getLogger(__name__)

TABLES = ("log", "dev", "probe")
"""Tables of a run, by their names without `.csv`."""


class TrainingLog:
    """Tables in a run's folder, one row per entry, and a progress bar while it is entered as a context.

    Args:
        folder: Folder in which tables are written and, by a run that goes on, continued.
        step: Last step of the state that the run goes on from; rows of later steps are removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        for path in (folder / f"{table}.csv" for table in TABLES):
            if path.exists():
                keep_rows(path, step)
        self._events = event_writer(folder / "tensorboard", step)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._row = self._bar.add_task("", total=1.0)
        self._notes: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._events is not None:
            self._events.close()

    def write(self, table: str, step: int, figures: Mapping[str, float]) -> None:
        """Append a row to the table `table`.csv, whose columns are those of its first row."""
        path = self._folder / f"{table}.csv"
        header = read_header(path) or ["step", *figures]
        text = io.StringIO()
        writer = csv.DictWriter(text, header, lineterminator="\n")
        if not path.exists() or not path.stat().st_size:
            writer.writeheader()
        writer.writerow({"step": step} | {name: f"{value:.6g}" for name, value in figures.items()})
        append(path, text.getvalue())
        if self._events is not None:
            for name, value in figures.items():
                self._events.add_scalar(f"{table}/{name}", value, step)
        logger.info("%s at step %d: %s", table, step, ", ".join(f"{name} {v:.4g}" for name, v in figures.items()))

    def advance(self, progress: float, step: int, notes: Mapping[str, float]) -> None:
        """Move the bar to a share of the training, with the latest figures; those not given stay."""
        self._notes |= notes
        text = " ".join(f"{name} {value:.3f}" for name, value in self._notes.items())
        self._bar.update(self._row, completed=progress, description=f"step {step} {text}")


def read_header(path: Path) -> list[str] | None:
    """The columns of a table; None if it does not exist or holds nothing."""
    if not path.exists():
        return None
    with path.open(newline="") as file:
        return next(csv.reader(file), None)


def keep_rows(path: Path, step: int) -> None:
    """Remove from a table the rows of steps after this one, and a row that a killed run did not finish."""
    header, *rows = path.read_text().splitlines(keepends=True) or [""]
    kept = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= step]
    if len(kept) < len(rows) or not header.endswith("\n"):
        replace_file(path, "".join([header, *kept]) if header.endswith("\n") else "")


def mean(figures: Mapping[str, list[float]]) -> dict[str, float]:
    """The mean of each figure."""
    return {name: float(np.mean(values)) for name, values in figures.items()}


def event_writer(folder: Path, step: int) -> Any:
    """A writer of TensorBoard events that takes those of later steps back; None where TensorBoard is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("no TensorBoard events: install incontext-seg[train] for them")
        return None
    return SummaryWriter(folder, purge_step=step + 1)
