"""Errors of every kind, raised at one place of a command, and what the command must make of them."""

import importlib
import zlib
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
import typer
from typer.testing import CliRunner


class Odd(Exception):
    """What no list of exceptions names."""


ERRORS = (
    *(MemoryError(), RuntimeError("Can't read data"), KeyError("key"), TypeError("type"), RecursionError("depth")),
    *(OSError(28, "No space left on device"), BrokenProcessPool("ended abruptly"), zlib.error("-3"), Odd("odd")),
)


def inject(patch: pytest.MonkeyPatch, place: str, error: Exception, mark: str = "") -> None:
    """Make a function raise an error.

    Args:
        patch: What takes the change back.
        place: Module, a colon, and the name of the function in it.
        error: The error.
        mark: Text that is in the arguments where the error is raised; the function does its work otherwise.
    """
    module, _, names = place.partition(":")
    owner: Any = importlib.import_module(module)
    *around, name = names.split(".")
    for each in around:
        owner = getattr(owner, each)
    right = getattr(owner, name)

    def fail(*arguments: Any, **options: Any) -> Any:
        if mark in repr((arguments, options)):
            raise error
        return right(*arguments, **options)

    patch.setattr(owner, name, fail)


def ends_well(app: typer.Typer, *arguments: object) -> Any:
    """Run a command that fails, wholly or in part; it ends without a traceback and says why in a line."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (1, 3), result.output
    assert "Traceback" not in result.output
    if result.exit_code == 1:
        assert result.stderr.strip().splitlines()[-1].startswith("Error: "), result.stderr
    return result
