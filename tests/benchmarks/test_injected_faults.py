"""Whatever fails in any stage of a benchmark is told in a line, and the same command goes on afterwards."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from tests.benchmarks.squares import build_squares
from tests.injected import ERRORS, ends_well, inject

PLACES = (
    ("run", "benchmarks.run:plan_asked"),
    ("run", "benchmarks.run:load_predictors"),
    ("run", "benchmarks.run:append_rows"),
    ("run", "benchmarks.run:summarise"),
    ("run", "benchmarks.run:write_summary"),
    ("run", "megamed.collection:Collection.images"),
    ("run", "megamed.collection:Collection.labels"),
    ("freeze", "benchmarks.plans.frozen_lists:freeze_to"),
    ("compare", "benchmarks.analysis.summary:compare_runs"),
    ("compare", "benchmarks.analysis.summary:summarise"),
    ("subgroups", "benchmarks.analysis.subgroups:tabulate_runs"),
    ("report", "benchmarks.reports:write_report"),
    ("list", "benchmarks.experiments.known:lines_of"),
    ("probe", "benchmarks.experiments.support_probe:load_network"),
    ("study", "benchmarks.experiments.study:run_study"),
    ("experiment", "benchmarks.experiments.runner:run_experiment"),
    ("volumes", "benchmarks.experiments.propagated_volumes:run_volumes"),
    ("speed", "benchmarks.experiments.network_speed:measure"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection and the results of a run."""
    home = tmp_path_factory.mktemp("faults")
    build_squares(home, "heldout")
    assert CliRunner().invoke(app, run(home, home / "out")).exit_code == 0
    return home


def run(home: Path, out: Path) -> list[str]:
    settings = ("--support-size", "3", "--draws", "1", "--workers", "1", "--device", "cpu", "--predictor", "mean-mask")
    return ["run", "--collection", str(home / "collection"), "--out", str(out), *settings]


@pytest.mark.parametrize(("command", "place"), PLACES)
def test_a_command_ends_in_one_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, place: str
) -> None:
    collection = ("--collection", home / "collection")
    arguments = {
        "run": run(home, tmp_path / "out")[1:],
        "freeze": (*collection, "--out", tmp_path / "list.json"),
        "probe": (*collection, "--suite", "heldout"),
        "study": (*collection, "--out", tmp_path / "study"),
        "experiment": ("supports", *collection, "--out", tmp_path / "experiment"),
        "volumes": ("--data", home, "--out", tmp_path / "volumes"),
        "list": (),
        "speed": (),
    }.get(command, (home / "out",))
    for error in ERRORS[::2]:
        with monkeypatch.context() as patch:
            inject(patch, place, error)
            ends_well(app, command, *arguments)
    if command == "run":
        assert CliRunner().invoke(app, run(home, tmp_path / "out")).exit_code == 0
        assert (tmp_path / "out/rows.csv").read_text() == (home / "out/rows.csv").read_text()
