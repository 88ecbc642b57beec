"""Output of the shell about a run: its progress, its outcome, and an exit status that tells of failures."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from megamed.failures import one_line

if TYPE_CHECKING:
    from incontext.folders.exported_model import ModelRun
    from incontext.folders.propagate_file import VolumeOutcome
    from incontext.folders.propagate_film import FilmOutcome
    from incontext.folders.report import Summary
    from incontext.folders.segment_folder import Track

INCOMPLETE = 3
"""Exit status when some images could not be segmented, or files look wrong."""
NOTHING_DONE = 1
"""Exit status when no image could be segmented."""


def progress(quiet: bool) -> "Track":
    """Return what shows the progress through images on a terminal."""
    from rich.console import Console
    from rich.progress import track

    return lambda cases: track(cases, "Segmenting", console=Console(stderr=True), disable=quiet)


@contextmanager
def counting(quiet: bool) -> Iterator[Callable[[int, int], object]]:
    """Show how much is done on a terminal, and how long the rest will take, once what is yielded is told of a step."""
    from rich.console import Console
    from rich.progress import Progress

    shown = Progress(console=Console(stderr=True), disable=quiet)
    task = shown.add_task("Propagating", total=None)

    def tell(done: int, total: int) -> None:
        shown.start()
        shown.update(task, completed=done, total=total)

    try:
        yield tell
    finally:
        if shown.live.is_started:
            shown.stop()


def in_lines(texts: Iterable[str]) -> str:
    """Write each text in a line of its own, whatever names it holds."""
    return "\n".join(map(one_line, texts))


def tell(line: str) -> None:
    """Print a line on stderr."""
    typer.echo(one_line(line), err=True)


def report(summary: "Summary", content: str) -> None:
    """Print the content, then notes, warnings and failures on stderr; the exit status tells of failures."""
    typer.echo(content)
    tell_faults(summary.notes, summary.warnings, summary.failures, bool(summary.images))


def report_model(run: "ModelRun", out: Path) -> None:
    """Print the outcome of a run of an exported model."""
    typer.echo(f"{len(run.masks)} of {len(run.masks) + len(run.failures)} images have a mask in {out}.")
    tell_faults(run.notes, (), run.failures, bool(run.masks))


def report_film(found: "FilmOutcome", out: Path) -> None:
    """Print what became of a film, what to expect of its masks, and the frame to label next."""
    _tell_quality(found.warnings, found.predicted_dice, "frames")
    if found.masks:
        typer.echo(f"{found.masks} masks and overlay.gif are in {out}.")
    if found.next_frame:
        typer.echo(f"Label frame {found.next_frame} next: much is uncertain there, far from what is labelled.")


def report_volume(found: "VolumeOutcome", out: Path) -> None:
    """Print what became of a volume, what to expect of its mask, and the slice to label next."""
    _tell_quality(found.warnings, found.predicted_dice, "slices")
    if found.picture:
        typer.echo(f"Wrote {out}, and {found.picture.name} to look at.")
    if found.next_slice:
        axis, index = found.next_slice
        where = f"slice {index} along axis {axis}, counted from 0,"
        typer.echo(f"Label {where} next: much is uncertain there, far from what is labelled.")


def _tell_quality(warnings: Iterable[str], predicted_dice: Mapping[str, float], of: str) -> None:
    """Print what looked wrong, and the Dice to expect where nobody labelled."""
    for message in warnings:
        tell(f"Warning: {message}")
    for name, dice in predicted_dice.items():
        typer.echo(one_line(f"A Dice of {dice:.2f} is predicted for {name}, on {of} that nobody labelled."))


def tell_faults(notes: Iterable[str], warnings: Iterable[str], failures: Mapping[str, str], any_done: bool) -> None:
    """Print notes, warnings and failures on stderr; the exit status tells of failures.

    Args:
        notes: Decisions that were taken.
        warnings: Faults that were noticed.
        failures: Reasons by the file that failed.
        any_done: Whether anything else was done.
    """
    for note in notes:
        tell(f"Note: {note}")
    for message in warnings:
        tell(f"Warning: {message}")
    for file, reason in failures.items():
        tell(f"Failed: {file}: {reason}")
    if failures:
        raise typer.Exit(INCOMPLETE if any_done else NOTHING_DONE)


def lines(summary: "Summary", out: Path) -> Iterator[str]:
    """Tell in a few lines what a run has come to."""
    from incontext.folders.report import with_noun

    for value, score in summary.mean_dice.items():
        yield f"Dice {summary.named(value)}: {score:.3f}"
    yield from summary.look_first()
    yield from summary.absent()
    earlier = f", {summary.resumed} of them by an earlier run" if summary.resumed else ""
    yield f"{with_noun(len(summary.images), 'mask')}{earlier}, and summary.json, are in {out}."
    if summary.tool_files:
        more = f" and {len(summary.tool_files) - 1} more" if len(summary.tool_files) > 1 else ""
        yield f"Written for annotation tools: {summary.tool_files[0]}{more}."
