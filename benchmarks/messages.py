"""Messages of `incontext-bench` on stderr: tasks left out, failures, and errors in one line."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer

EXPECTED = (ValueError, OSError, ImportError)
"""Errors that state what is wrong and what to do."""
UNFORESEEN = (
    *(LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, AssertionError, SyntaxError, EOFError),
    *(NameError, BufferError),
)
"""Errors of a library or of a user's module, which speak to programmers: HDF5 raises RuntimeError, for example."""
LONGEST = 1000
"""Number of characters above which an error is told by its beginning and its end."""


def tell_skipped(skipped: Mapping[str, str]) -> None:
    """Print on stderr which tasks were left out, and why."""
    for task, reason in skipped.items():
        typer.echo(one_line(f"skipped {task}: {reason}"), err=True)


def tell_failures(failed: Mapping[tuple[str, str], str]) -> None:
    """Print on stderr which predictor failed on which task, and why."""
    for (name, task), reason in failed.items():
        typer.echo(one_line(f"failed {name} on {task}: {reason}"), err=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error into one line on stderr and exit status 1."""
    try:
        yield
    except EXPECTED as error:
        _end(str(error))
    except MemoryError:
        _end("The memory is full: expected room for the images and the networks. Give fewer --workers, then go on.")
    except UNFORESEEN as error:
        _end(f"Something unforeseen happened: {type(error).__name__}: {error}. Please report it with the command.")


def one_line(text: str) -> str:
    """Write a text in one line, with control characters, as file names may hold, as escapes."""
    return "".join(each if each.isprintable() else " " if each.isspace() else repr(each)[1:-1] for each in text)


def _end(text: str) -> None:
    line = one_line(f"error: {text}")
    if len(line) > LONGEST:  # a damaged value may be as long as its file
        line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
    typer.echo(line, err=True)
    raise typer.Exit(1) from None
