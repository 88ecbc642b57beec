"""A damaged file of a benchmark is refused in one line that says what to do, or changes nothing that is told."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from tests.benchmarks.mutations import MUTATIONS, mutated
from tests.benchmarks.squares import build_squares

MANY = int(os.environ.get("DAMAGED_FILES", "0")) or len(MUTATIONS)
"""Number of damaged files of each kind."""
OPTIONS = ("--device", "cpu", "--predictor", "mean-mask", "--predictor", "nearest-copy", "--json")
Copy = Callable[[str], Path]


def bench(*arguments: object) -> tuple[int, str]:
    """Exit status, and what was printed as a result or, if it failed, as the error; a traceback fails the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if result.exit_code == 1:
        assert result.stderr.startswith("Error: ")
        assert len(result.stderr.strip().splitlines()) == 1
        assert len(result.stderr) < 1500
    return result.exit_code, result.stdout or result.stderr


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_squares(tmp_path_factory.mktemp("damaged"), "heldout")


@pytest.fixture(scope="module")
def finished(collection: Path) -> Path:
    """A folder with a frozen list and the results of its run, not to be changed."""
    home = collection.parent
    bench("freeze", "--collection", collection, "--support-size", 2, "--draws", 2, "--out", home / "list.json")
    bench("run", "--collection", collection, "--out", home / "out", "--list", home / "list.json", *OPTIONS)
    return home


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Copy:
    def copy(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for path in (finished / "out").iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return folder

    return copy


def scores(text: str) -> object:
    """What a run states of scores; costs, which differ from run to run, are left out."""
    summary = json.loads(text)
    return {key: summary[key] for key in ("overall", "difference", "datasets", "tasks")}


@pytest.mark.parametrize("name", ["rows.csv", "settings.json"])
def test_damaged_results_are_refused_or_come_out_the_same(
    name: str, finished: Path, collection: Path, copied: Copy
) -> None:
    _, told = bench("compare", finished / "out", "--json")
    right = scores(told)
    for seed in range(MANY):
        folder = copied(str(seed))
        (folder / name).write_bytes(mutated((folder / name).read_bytes(), seed))
        resumed = ("run", "--collection", collection, "--out", folder, "--list", finished / "list.json", *OPTIONS)
        code, text = bench(*resumed)
        assert code == 1 or scores(text) == right, seed
        code, text = bench("compare", folder, "--json")
        assert code == 1 or scores(text) == right, seed
        code, _ = bench("subgroups", folder)
        assert code in (0, 1)


def test_a_damaged_list_is_refused_or_runs_as_it_was(finished: Path, collection: Path, tmp_path: Path) -> None:
    whole = (finished / "list.json").read_bytes()
    right = scores((finished / "out/summary.json").read_text())
    for seed in range(MANY):
        path = tmp_path / f"{seed}.json"
        path.write_bytes(mutated(whole, seed))
        code, text = bench("run", "--collection", collection, "--out", tmp_path / f"o{seed}", "--list", path, *OPTIONS)
        assert code == 1 or scores(text) == right, seed


def test_subgroups_do_not_overlook_emptied_settings(copied: Copy) -> None:
    folder = copied("emptied")
    (folder / "settings.json").write_text("")
    code, text = bench("subgroups", folder)
    assert code == 1
    assert "settings.json is damaged: expected a JSON object, got an empty file. Restore it" in text


def test_a_changed_figure_is_named_by_its_line(copied: Copy) -> None:
    folder = copied("figure")
    lines = (folder / "rows.csv").read_text().splitlines(keepends=True)
    cells = lines[3].split(",")
    cells[lines[0].split(",").index("hd")] = "1.5"
    (folder / "rows.csv").write_text("".join([*lines[:3], ",".join(cells), *lines[4:]]))
    code, text = bench("compare", folder)
    assert code == 1
    assert "rows.csv is damaged in line 4: expected a line as it was written" in text


def test_lines_that_are_gone_are_scored_again(copied: Copy, finished: Path, collection: Path) -> None:
    """A run that is killed then has lines that no checksum knows; they count."""
    folder = copied("gone")
    lines = (folder / "rows.csv").read_bytes().splitlines(keepends=True)
    (folder / "rows.csv").write_bytes(b"".join([*lines[:4], *lines[5:]]))
    code, _ = bench("run", "--collection", collection, "--out", folder, "--list", finished / "list.json", *OPTIONS)
    assert code == 0
    assert sorted((folder / "rows.csv").read_bytes().splitlines(keepends=True)) == sorted(lines)


def test_rows_of_an_unknown_subject_are_refused(copied: Copy, finished: Path, collection: Path) -> None:
    folder = copied("stranger")
    settings = json.loads((folder / "settings.json").read_text())
    del settings["lines"], settings["sha256"]
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "rows.csv").write_text((folder / "rows.csv").read_text().replace(",case0,", ",case9,", 1))
    code, text = bench("run", "--collection", collection, "--out", folder, "--list", finished / "list.json", *OPTIONS)
    assert code == 1
    assert "rows.csv has rows of something that was not asked: expected queries of the plan, got case" in text


def test_results_of_an_earlier_version_go_on(copied: Copy, finished: Path, collection: Path) -> None:
    """It wrote neither checksums nor the content of images."""
    folder = copied("before")
    settings = json.loads((folder / "settings.json").read_text())
    for key in ("lines", "sha256", "content"):
        del settings[key]
    (folder / "settings.json").write_text(json.dumps(settings))
    rows = (folder / "rows.csv").read_bytes()
    (folder / "rows.csv").write_bytes(rows[: len(rows) // 2])
    code, _ = bench("run", "--collection", collection, "--out", folder, "--list", finished / "list.json", *OPTIONS)
    assert code == 0
    assert (folder / "rows.csv").read_bytes() == rows
    now = json.loads((folder / "settings.json").read_text())
    then = json.loads((finished / "out/settings.json").read_text())
    assert (now["content"], now["lines"]["rows.csv"]) == (then["content"], then["lines"]["rows.csv"])


def test_a_damaged_summary_is_told_of_or_reported_as_it_was(
    finished: Path, copied: Copy, caplog: pytest.LogCaptureFixture
) -> None:
    _, right = bench("report", finished / "out", "--format", "csv")
    assert not caplog.text
    for seed in range(MANY):
        folder = copied(f"report{seed}")
        (folder / "summary.json").write_bytes(mutated((folder / "summary.json").read_bytes(), seed))
        caplog.clear()
        code, text = bench("report", folder, "--format", "csv")
        assert code == 1 or text == right or "summary.json was changed since it was written" in caplog.text, seed
