"""An experiment from the command line: its four files, its table, and going on after a kill."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.experiments import supports
from benchmarks.experiments.bench import Bench, Findings
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.runner import sentence
from benchmarks.plans.task_plans import Settings
from tests.benchmarks.squares import build_squares


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_squares(tmp_path_factory.mktemp("experiments"), "dev")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supports, "SIZES", (1, 3))


def experiment(name: str, collection: Path, out: Path, *more: object) -> tuple[int, str, str]:
    arguments = ("--collection", collection, "--out", out, "--draws", 2, "--predictor", "mean-mask", *more)
    done = CliRunner().invoke(app, ["experiment", name, *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_an_experiment_leaves_tables_a_figure_and_its_protocol(collection: Path, tmp_path: Path) -> None:
    code, output, _ = experiment("support-size", collection, tmp_path)
    assert code == 0
    assert (tmp_path / "table.md").read_text() in output
    assert {path.name for path in tmp_path.glob("[!.]*")} == {
        "costs.csv", "experiment.json", "figure.png", "rows.csv", "settings.json", "table.csv", "table.md"
    }  # fmt: skip
    told = json.loads((tmp_path / "experiment.json").read_text())
    assert (told["experiment"], told["draws"]) == ("support-size", 2)
    assert told["licenses"] == {"squares": "CC0"}
    assert "Licences: squares (CC0)." in output
    assert len(set(told["plan_hashes"].values())) == 2
    assert all(name in output for name in told["plan_hashes"].values())
    assert [point["place"][0] for point in told["points"]] == [1, 3]


@pytest.mark.parametrize("name", ["expected-dice", "wrong-labels"])
def test_an_experiment_that_measures_nothing_says_so(name: str, collection: Path, tmp_path: Path) -> None:
    more = ("--support-size", 2, "--queries", 1, "--predictor", "packaged")
    arguments = ("experiment", name, "--collection", collection, "--out", tmp_path, "--draws", 1, *more)
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 1
    assert f"Experiment {name} measured nothing: expected tasks that it can be made of" in done.stderr
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(("table", "figure"))]


def test_an_interrupted_experiment_goes_on(collection: Path, tmp_path: Path) -> None:
    experiment("support-size", collection, tmp_path)
    rows, table = (tmp_path / "rows.csv").read_bytes(), (tmp_path / "table.csv").read_bytes()
    (tmp_path / "rows.csv").write_bytes(rows[: len(rows) // 2])
    (tmp_path / "figure.png").unlink()
    assert experiment("support-size", collection, tmp_path)[0] == 0
    assert sorted((tmp_path / "rows.csv").read_bytes().splitlines()) == sorted(rows.splitlines())
    assert (tmp_path / "figure.png").is_file()
    untimed = [
        [line.rpartition(b",")[0] for line in text.splitlines()]
        for text in (table, (tmp_path / "table.csv").read_bytes())
    ]
    assert untimed[0] == untimed[1]


def test_an_extra_that_is_missing_is_named_before_anything_is_measured(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, error = experiment("support-size", collection, tmp_path / "out")
    assert (code, error.count("\n")) == (1, 1)
    assert 'pip install "incontext-seg[report]"' in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("size", (), "Unknown experiment: expected one of support-size"),
        ("support-size", ("--suite", "heldout"), "no task of suite 'heldout'"),
        ("leave-one-out", ("--by", "colour"), "Unknown grouping: expected one of dataset, modality, anatomy"),
        ("label-noise", ("--predictor", "unet-full"), "unet-full cannot be shown altered images"),
    ],
)
def test_bad_input_ends_in_one_line(
    collection: Path, tmp_path: Path, name: str, more: tuple[str, ...], message: str
) -> None:
    code, output, errors = experiment(name, collection, tmp_path / "out", *more)
    assert (code, output) == (1, "")
    assert errors.startswith("Error: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_experiments_are_listed() -> None:
    listed = CliRunner().invoke(app, ["list", "experiments"]).stdout
    assert listed.startswith("support-size: How does Dice grow with the number of labelled examples?\n")
    assert listed.count("\n") == len(EXPERIMENTS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("corruption", "Suite `dev`, 4 labelled examples unless stated, 5 draws, at most 40 queries per task, seed 0."),
        (
            "augmentation",
            "seed 0, trainings of 25 steps, seeds 0 to 1. Collection `of drawings`. Plans ab.",
        ),
        ("leave-one-out", "Tasks of what is left out, 4 labelled examples unless stated"),
        ("cost", "Random images and labels."),
    ],
)
def test_the_protocol_is_told_in_words(name: str, expected: str, new_bench: Callable[..., Bench]) -> None:
    bench = new_bench(name, Settings("dev", 4), steps=25, seeds=2)
    assert expected in sentence(bench, EXPERIMENTS[name], Findings([], {"plan_hashes": {"some": "ab"}}))
