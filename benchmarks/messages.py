"""Messages of `incontext-bench` on stderr: tasks left out, and failures."""

from collections.abc import Mapping

import typer

from megamed.failures import one_line


def tell_skipped(skipped: Mapping[str, str]) -> None:
    """Print on stderr which tasks were left out, and why."""
    for task, reason in skipped.items():
        typer.echo(one_line(f"skipped {task}: {reason}"), err=True)


def tell_failures(failed: Mapping[tuple[str, str], str]) -> None:
    """Print on stderr which predictor failed on which task, and why."""
    for (name, task), reason in failed.items():
        typer.echo(one_line(f"failed {name} on {task}: {reason}"), err=True)
