"""Which queries are shown, and how."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.plans.frozen_lists import freeze, write_list
from benchmarks.plans.task_plans import Settings
from benchmarks.reports import Shown, gather
from benchmarks.reports.pictures import draw_examples, extremes, outline, region
from benchmarks.scoring.results import Row
from megamed import Collection

Change = Callable[[Callable[[dict], object]], Path]

ROW = Row(
    predictor="ours", dataset="d", task="d/mr/2d/x", subject="s", case="c0", draw=0, support_size=1,
    support_hash="0", label_px=1, mask_px=1, dice=0.5,
)  # fmt: skip


def test_outline_runs_along_the_pixels():
    mask = np.zeros((4, 4), bool)
    mask[1:3, 1:4] = True
    assert outline(mask) == "M1 1H4M1 3H4M1 1V3M4 1V3"
    assert outline(np.zeros((4, 4), bool)) == ""


def test_outline_has_a_hole():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    assert sorted(outline(mask).split("M")[1:]) == sorted(
        ["0 0H3", "0 3H3", "1 1H2", "1 2H2", "0 0V3", "3 0V3", "1 1V2", "2 1V2"]
    )


def test_region_is_a_bar_for_each_run():
    assert region(np.array([[1, 1, 0, 1], [0, 0, 0, 0]], bool)) == "M0 0H2v1H0zM3 0H4v1H3z"


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.2, 0.9, 0.5, 0.7, 0.1], [("best", 0.9), ("median", 0.5), ("worst", 0.1)]),
        ([0.2, 0.9], [("best", 0.9), ("worst", 0.2)]),
        ([0.2], [("best", 0.2)]),
        ([], []),
    ],
)
def test_extremes(scores: list[float], expected: list[tuple[str, float]]):
    rows = [replace(ROW, case=f"c{place}", dice=dice) for place, dice in enumerate(scores)]
    later = [replace(row, draw=1, dice=1.0) for row in rows]
    assert [(kind, row.dice) for kind, row in extremes(rows + later)] == expected


def test_masks_drawn_anew_score_as_they_did(runs: Path, collection: Path):
    results = gather([runs])
    examples = draw_examples(results, Shown(collection))
    assert examples.predictor == results.ranking[0]
    assert examples.note == ""
    assert sorted(examples.tasks) == ["squares/drawing/2d/square", "tiles/photo/2d/square"]
    for three in examples.tasks.values():
        assert [each.kind for each in three] == ["best", "median", "worst"]
        for each in three:
            assert each.drawn_dice == pytest.approx(each.row.dice, abs=1e-6)
            assert each.query.mask
            assert each.query.size_px == (32, 32)
            assert len(each.supports) == 3


def test_another_predictor_may_be_asked_for(runs: Path, collection: Path):
    assert draw_examples(gather([runs]), Shown(collection, "mean-mask")).predictor == "mean-mask"
    with pytest.raises(ValueError, match="do not know predictor 'atlas': expected one of"):
        draw_examples(gather([runs]), Shown(collection, "atlas"))


@pytest.mark.parametrize("name", ["mean-mask", "nearest-copy"])
def test_no_mask_is_drawn_of_a_predictor_that_changed(change: Change, collection: Path, name: str):
    def fall_behind(summary: dict) -> None:
        summary["predictors"][name]["fingerprint"] = "another"

    examples = draw_examples(gather([change(fall_behind)]), Shown(collection, name))
    assert examples.note == f"Without masks, as {name} is another one by now."
    assert not any(each.query.mask for three in examples.tasks.values() for each in three)
    assert all(each.query.label for three in examples.tasks.values() for each in three)


def test_another_collection_is_refused(change: Change, collection: Path):
    other = change(lambda summary: summary["settings"].update(plan_hash="0123456789abcdef"))
    with pytest.raises(ValueError, match="not that of the runs: expected plan 0123456789abcdef, got "):
        draw_examples(gather([other]), Shown(collection))


def test_runs_by_a_frozen_list_are_drawn_by_it(change: Change, collection: Path, tmp_path: Path):
    frozen = freeze(Collection(collection), Settings(support_size=3, draws=2, queries=5))
    write_list(tmp_path / "list.json", frozen)
    reseeded = change(lambda summary: summary["settings"].update(seed=7))  # of the bootstrap alone
    shown = Shown(collection, frozen_list=tmp_path / "list.json")
    assert draw_examples(gather([reseeded]), shown).note == ""
