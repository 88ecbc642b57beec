"""A suite of a collection that knows no roles: its list scores, and its card says what is asked of which data."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.plans.frozen_lists import freeze, read_list
from benchmarks.plans.suite_card import TaskFacts, make_suite
from benchmarks.plans.task_plans import Settings
from megamed import Task
from tests.benchmarks.conftest import SparseCollection
from tests.benchmarks.squares import build_squares

ALL = Settings("all", support_size=2, draws=2, queries=4)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_squares(tmp_path_factory.mktemp("suites"), "train", title="Bright | squares", homepage="https://x.org")


def test_any_collection_becomes_a_suite_that_runs_score(collection: Path, tmp_path: Path) -> None:
    def invoke(*words: object) -> str:
        done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    asked = ("--support-size", 2, "--draws", 1, "--queries", 4, "--name", "Squares for all")
    assert "1 tasks" in invoke("suite", "--collection", collection, "--out", tmp_path / "mine", *asked)
    frozen = read_list(tmp_path / "mine/list.json")
    assert (frozen.settings.suite, list(frozen.tasks)) == ("all", ["squares/drawing/2d/square"])
    card = (tmp_path / "mine/card.md").read_text()
    assert card.startswith("# Squares for all\n\n1 tasks of 1 datasets, 4 queries in all.")
    assert "| squares | Bright \\| squares | drawing |  | 1 | CC0 | https://x.org |" in card
    assert "| squares/drawing/2d/square | 6 | 6 | 4 | – | 14.1 / 14.1 / 14.1 |" in card
    assert "Fewer than 10 subjects, so that intervals are wide: squares/drawing/2d/square." in card
    assert frozen.plan_hash in card
    assert frozen.hash[:16] in card
    told = invoke("run", "--collection", collection, "--list", tmp_path / "mine/list.json", "--predictor", "mean-mask",
                  "--out", tmp_path / "scores", "--workers", 1)  # fmt: skip
    assert frozen.plan_hash in told


def test_datasets_may_be_chosen_and_must_exist(collection: Path, tmp_path: Path) -> None:
    whole, chosen = (make_suite(collection, ALL, tmp_path / str(len(some)), "", some) for some in ((), ("squares",)))
    assert whole == chosen
    with pytest.raises(ValueError, match="Unknown dataset 'square'"):
        make_suite(collection, ALL, tmp_path / "none", "", ("square",))


def test_a_card_tells_why_no_query_lacks_the_structure(collection: Path, tmp_path: Path) -> None:
    for absent, why in ((0, "that takes `--absent`"), (2, "no image is known to lack it")):
        make_suite(collection, replace(ALL, absent=absent), tmp_path / str(absent))
        card = (tmp_path / str(absent) / "card.md").read_text()
        assert f"false alarms are not asked about; {why}." in card


def test_what_is_of_somebody_else_stays(collection: Path, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("mine")
    with pytest.raises(ValueError, match=r"card\.md"):
        make_suite(collection, ALL, tmp_path)
    assert (tmp_path / "card.md").read_text() == "mine"
    assert not (tmp_path / "list.json").exists()


def test_queries_without_the_structure_are_told_apart(sparse: SparseCollection) -> None:
    frozen = freeze(sparse, Settings("all", 4, 1, 5, absent=3))
    (task, asked), *_ = frozen.tasks.items()
    facts = TaskFacts.of(sparse, Task.from_id(task), asked)
    assert (facts.subjects, facts.images, facts.queries, facts.absent) == (6, 12, 8, 3)
