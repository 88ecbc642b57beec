"""A command ends in a result, or in one line and exit status 1."""

import io
import sys
from importlib.metadata import version

import pytest
import typer
from typer.testing import CliRunner

from megamed.command_line import CommandLine
from tests.megamed.test_failures import FAILURES


def app_that_raises(error: BaseException) -> CommandLine:
    app = CommandLine("word", help="For a test.")

    @app.command()
    def fail(count: int = 1) -> None:
        """Fail."""
        typer.echo(f"begun {count}")
        raise error

    app.command("other")(lambda: None)
    return app


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_every_failure_is_one_line_and_status_1(error: Exception) -> None:
    result = CliRunner().invoke(app_that_raises(error), ["fail"])
    assert (result.exit_code, result.stdout) == (1, "begun 1\n")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("error", "status"), [(typer.Exit(3), 3), (typer.BadParameter("no"), 2), (typer.Abort(), 1)])
def test_the_shell_has_its_own_ends(error: Exception, status: int) -> None:
    result = CliRunner().invoke(app_that_raises(error), ["fail"])
    assert result.exit_code == status
    assert not result.stderr.startswith("Error: ")


def test_every_program_tells_its_version() -> None:
    result = CliRunner().invoke(app_that_raises(typer.Exit()), ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"word {version('incontext-seg')}\n")


def test_options_are_read_as_without_it() -> None:
    assert CliRunner().invoke(app_that_raises(typer.Exit()), ["fail", "--count", "7"]).stdout == "begun 7\n"
    assert CliRunner().invoke(app_that_raises(typer.Exit()), ["fail", "--count", "x"]).exit_code == 2


def test_letters_that_an_output_lacks_are_written_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a terminal or a pipe outside of UTF-8, and of file names that are no text."""
    stream = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    app = CommandLine("word")

    @app.command()
    def show() -> None:
        sys.stdout.write("肝 ü \udcff\n")

    app(["show"], standalone_mode=False)
    stream.flush()
    assert stream.buffer.getvalue() == b"\\u809d \xfc \\udcff\n"  # type: ignore[attr-defined]
