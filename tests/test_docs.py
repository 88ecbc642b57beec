"""The pages on the code name what is there, and their recipes work."""

import json
import re
import runpy
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.analysis.statistics import Interval
from benchmarks.cli import app
from benchmarks.experiments import catalogue
from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.experiments.catalogue import Experiment
from benchmarks.predictors import Known, load_predictor
from benchmarks.predictors.protocol import NamedPredictor
from tests.benchmarks.squares import build_squares
from tests.test_architecture import MAY_IMPORT

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("architecture", "extending")
JOURNEYS = ("A picture to its mask", "A source file to HDF5", "A set to its loss", "A task to the report")
PARTS = ("format", "layout", "scale intensities", "family of networks", "predictor", "metric", "experiment")


def page(repository: Path, name: str) -> str:
    return (repository / "docs" / f"{name}.md").read_text()


def resolve(name: str) -> object:
    """What a dotted name means: a module, or something in one."""
    module, *rest = name.split(".")
    found: object = import_module(module)
    for each in rest:
        if not hasattr(found, each):
            module = f"{found.__name__}.{each}"
            found = import_module(module)
        else:
            found = getattr(found, each)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_names_exists(name: str, repository: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", page(repository, name))
    dotted = {span for span in spans if re.fullmatch(r"(megamed|incontext|benchmarks)(\.\w+)*", span)}
    assert len(dotted) > 15
    for each in dotted:
        resolve(each)
    paths = {span for span in spans if re.fullmatch(r"(megamed|incontext|benchmarks)/[\w/.]*", span)}
    assert not [path for path in paths if not (repository / path).exists()]


def test_names_that_do_not_exist_would_be_noticed() -> None:
    for name in ("incontext.images.photographs", "incontext.segmenter.Segmenter.guess"):
        with pytest.raises((ImportError, AttributeError)):
            resolve(name)


def test_every_room_and_journey_is_told(repository: Path) -> None:
    text = page(repository, "architecture")
    told = set(re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE))
    folders = {room for room in MAY_IMPORT if (repository / room.replace(".", "/")).is_dir()}
    assert folders - {"incontext", "benchmarks", "benchmarks.perf"} <= told <= MAY_IMPORT.keys()
    assert [title for title in re.findall(r"^## (.*)$", text, re.MULTILINE) if title in JOURNEYS] == list(JOURNEYS)


def test_every_extra_says_what_it_is_for(repository: Path) -> None:
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = re.findall(r"^\| `(\w+)` \| .+ \|$", page(repository, "install"), re.MULTILINE)
    assert sorted(told) == sorted(extras.keys() - {"dev"})


@pytest.mark.parametrize("script", sorted(DOCS.glob("pictures_*.py")), ids=lambda script: script.stem)
def test_scripts_that_draw_pictures_find_what_they_import(script: Path) -> None:
    runpy.run_path(str(script), run_name="imported")


def test_every_part_takes_two_files_at_most_and_a_test(repository: Path) -> None:
    sections = re.split(r"^## … ", page(repository, "extending"), flags=re.MULTILINE)[1:]
    assert len(sections) == len(PARTS)
    for part, section in zip(PARTS, sections, strict=True):
        title, _, text = section.partition("\n")
        assert part in title
        assert "*Test*: " in text
        rows = [row for row in re.findall(r"^\| (.*?) \|", text, re.MULTILINE) if row not in ("file", "---")]
        assert 1 <= len(rows) <= 2


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_squares(tmp_path_factory.mktemp("docs"), "dev")


def bench(*arguments: object) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def bright(query_images: torch.Tensor, support_images: torch.Tensor, support_labels: torch.Tensor) -> torch.Tensor:
    """A predictor: foreground is what is bright."""
    return query_images - 0.5


def test_a_predictor_follows_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"bright": Known("what is bright", lambda name, device: NamedPredictor(name, bright, name, {}))}
    monkeypatch.setattr("benchmarks.predictors.known_predictors", lambda: known)
    assert load_predictor("bright").predict is bright
    assert load_predictor(f"{__name__}:bright").predict is bright


METRIC = """
import json, sys, torch
from dataclasses import dataclass
from math import nan
from benchmarks.scoring import metrics, results

metrics.METRICS["boldness"] = metrics.Metric("share of the image that the mask covers", 1.0)
measure = metrics.measure

def with_boldness(masks, labels, probabilities, spacing_mm=None, known=None):
    return measure(masks, labels, probabilities, spacing_mm, known) | {"boldness": masks.float().mean((1, 2, 3))}

metrics.measure = with_boldness

@dataclass(frozen=True)
class Row(results.Row):
    boldness: float = nan

results.Row = Row

from benchmarks.cli import app
for command in json.loads(sys.argv[1]):
    app(command, standalone_mode=False)
"""
"""Runs commands with what the recipe of a metric adds to two files."""


def test_a_metric_follows_its_recipe(collection: Path, repository: Path, tmp_path: Path) -> None:
    out, web_page = str(tmp_path / "run"), str(tmp_path / "page.html")
    asked = ["--collection", str(collection), "--suite", "dev", "--support-size", "2", "--draws", "1", "--queries", "2"]
    run = ["run", *asked, "--predictor", "mean-mask", "--device", "cpu", "--out", out]
    program = [sys.executable, "-c", METRIC, json.dumps([run, ["report", out, "--out", web_page]])]
    subprocess.run(program, cwd=repository, stdout=subprocess.DEVNULL, check=True)
    assert "boldness" in (tmp_path / "run" / "rows.csv").read_text().splitlines()[0].split(",")
    assert "share of the image that the mask covers" in Path(web_page).read_text()


def test_an_experiment_follows_its_recipe(collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def letters(bench: Bench) -> Findings:
        def count() -> dict[str, int]:
            measured.append(bench.name)
            return {"letters": len(bench.name)}

        return Findings(
            [Point(Coordinates("name"), Interval(*3 * [float(bench.kept("letters", count)["letters"])]))], {}
        )

    monkeypatch.setitem(catalogue.EXPERIMENTS, "letters", Experiment("How long is my name?", "word", letters))
    asked = ("experiment", "letters", "--collection", collection, "--out", tmp_path)
    assert "How long is my name?" in bench("list", "experiments")
    assert bench(*asked) == bench(*asked)
    assert measured == ["letters"]
    assert (tmp_path / "figure.png").is_file()
