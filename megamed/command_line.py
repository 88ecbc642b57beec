"""Commands of a shell that end in a result or in one line on stderr, whatever happens; and tables for them."""

import functools
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast

import typer

from megamed.failures import Attempt

Command = TypeVar("Command", bound=Callable[..., Any])

DISTRIBUTION = "incontext-seg"
"""Name of what is installed, which all packages are part of."""

LONGEST_CELL = 40
"""Letters of a cell of a table; what is longer is cut."""

PASSING = (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError)
"""Exceptions that the shell itself is told by; the last one means that nobody reads on."""


class CommandLine(typer.Typer):
    """Group of commands, each of which turns an error into one line on stderr and exit status 1.

    Args:
        program: Name of the program, which `--version` tells.
        settings: Settings of `typer.Typer`.
    """

    def __init__(self, program: str, **settings: Any) -> None:
        super().__init__(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, **settings)
        self.callback()(_before_any(program))

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Command], Command]:
        """Add a command: see `typer.Typer.command`."""
        register = super().command(name, **settings)
        return lambda function: register(ending_well(function))


def ending_well(function: Command) -> Command:
    """Let a command turn an error into one line on stderr and exit status 1."""

    @functools.wraps(function)
    def command(*arguments: Any, **options: Any) -> None:
        _print_all_scripts()
        with Attempt(*PASSING) as attempt:
            function(*arguments, **options)
        if attempt.error is not None:
            typer.echo(f"Error: {attempt.reason}", err=True)
            raise typer.Exit(1) from attempt.error

    return cast(Command, command)


def table(rows: Sequence[Mapping[str, str | int]]) -> str:
    """Format rows of the same columns as aligned columns under their names."""
    texts = [[textwrap.shorten(str(cell), LONGEST_CELL, placeholder="…") for cell in row.values()] for row in rows]
    cells = [list(rows[0]), *texts] if rows else []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def _before_any(program: str) -> Callable[..., None]:
    """Make the function that reads the options before the command."""

    def tell_version(asked: bool) -> bool:
        if asked:
            from importlib.metadata import version

            typer.echo(f"{program} {version(DISTRIBUTION)}")
            raise typer.Exit
        return asked

    option = typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=tell_version)

    def before(version: Annotated[bool, option] = False) -> None:
        """Take the options before the command."""

    return before


def _print_all_scripts() -> None:
    """Write letters that the terminal or the file cannot hold as escapes, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if callable(change := getattr(stream, "reconfigure", None)):
            change(errors="backslashreplace")
