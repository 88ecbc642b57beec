"""Commands of a shell that end in a result or in one line on stderr, whatever happens."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import typer

from megamed.failures import Attempt

Command = TypeVar("Command", bound=Callable[..., Any])

PASSING = (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError)
"""Exceptions that the shell itself is told by; the last one means that nobody reads on."""


class CommandLine(typer.Typer):
    """Group of commands, each of which turns an error into one line on stderr and exit status 1.

    Args:
        prefix: Word that the line begins with.
        settings: Settings of `typer.Typer`.
    """

    def __init__(self, prefix: str, **settings: Any) -> None:
        super().__init__(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, **settings)
        self._prefix = prefix

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Command], Command]:
        """Add a command: see `typer.Typer.command`."""
        register = super().command(name, **settings)
        return lambda function: register(self._ending_well(function))

    def _ending_well(self, function: Command) -> Command:
        @functools.wraps(function)
        def command(*arguments: Any, **options: Any) -> None:
            _print_all_scripts()
            with Attempt(*PASSING) as attempt:
                function(*arguments, **options)
            if attempt.error is not None:
                typer.echo(f"{self._prefix}: {attempt.reason}", err=True)
                raise typer.Exit(1) from attempt.error

        return cast(Command, command)


def _print_all_scripts() -> None:
    """Write letters that the terminal or the file cannot hold as escapes, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if callable(change := getattr(stream, "reconfigure", None)):
            change(errors="backslashreplace")
