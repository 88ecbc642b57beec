"""The experiment on predicted Dice: masks in the order of their Dice or not, over all, within tasks and by dataset."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments import predicted_dice
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.predicted_dice import EVERY, ORDERS, RANKS, RISK, WITHIN, area_under_risk, measured
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.training.calibration import calibrate
from incontext.training.episodes import DevTask

NewBench = Callable[..., Bench]


def new_tasks(seed: int) -> list[DevTask]:
    """Two tasks of noise, of one dataset each."""
    torch.manual_seed(seed)
    images, labels = torch.rand(2, 7, 1, 32, 32), (torch.rand(2, 7, 1, 32, 32) > 0.6).float()
    return [
        DevTask(name, i[None, :4], label[None, :4], i[4:], label[4:])
        for name, i, label in zip(("cells", "eyes"), images, labels, strict=True)
    ]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)).eval()
    checkpoint.save(tmp_path / "tiny.safetensors", network, {}, torch.float32)
    checkpoint.write_calibration(tmp_path / "tiny.safetensors", calibrate(network, new_tasks(9)))
    return tmp_path / "tiny.safetensors"


def ends(value: Interval) -> tuple[float, float, float]:
    return value.mean, value.low, value.high


RISKS = {f"{name}{suffix}": 0.1 for name in ORDERS for suffix in ("", "_within")}


def told(spearman: float | None, within: float | None) -> dict[str, float | None]:
    return {"spearman": spearman, "spearman_within": within, "flagged": 0.25, "caught": None, **RISKS}


def test_what_is_measured_becomes_points_once(
    new_bench: NewBench, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(bench: Bench, path: Path, seed: int) -> dict[str, dict[str, float | None]]:
        asked.append(seed)
        by_dataset = {"cells": told(0.2, None)} if seed else {"eyes": told(None, None)}
        return {EVERY: told(0.5 + seed / 10, 0.3), **by_dataset}

    monkeypatch.setattr(predicted_dice, "measured", answer)
    bench = new_bench("predicted-dice", predictors=(str(weights),))
    first, second = predicted_dice.predicted_dice(bench), predicted_dice.predicted_dice(bench)
    assert asked == [0, 1]
    assert first == second
    found = {point.place: point for point in first.points}
    ranked = [place.x for place in found if place.panel == RANKS]
    assert ranked == [EVERY, WITHIN, "cells"]  # the eyes' is known of no draw
    assert {place.series for place in found if place.panel == RISK} == set(ORDERS.values())
    assert ends(found[Coordinates(EVERY, panel=RANKS)].value) == pytest.approx((0.55, 0.5, 0.6))
    assert ends(found[Coordinates(WITHIN, panel=RANKS)].value) == pytest.approx((0.3, 0.3, 0.3))
    assert found[Coordinates(EVERY, panel=RANKS)].about == "25% flagged"
    assert first.details["quality"]["flag_below"] == 0.6


def test_masks_are_judged_by_what_the_weights_tell(
    new_bench: NewBench, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicted_dice, "tasks_with_one_support", lambda path, settings: new_tasks(settings.seed))
    bench = new_bench("predicted-dice", predictors=(str(weights),))
    found = measured(bench, weights, seed=9)
    assert found.keys() == {EVERY, "cells", "eyes"}
    assert [found[name]["masks"] for name in found] == [6, 3, 3]
    assert found == measured(bench, weights, seed=9) != measured(bench, weights, seed=8)
    assert 0 < found[EVERY]["error"] < 0.5
    for group in found.values():
        for suffix in ("", "_within"):
            assert group[f"risk_least{suffix}"] <= group[f"risk{suffix}"]
            assert group[f"risk_least{suffix}"] <= group[f"risk_random{suffix}"]


def test_risk_is_the_mean_loss_of_those_accepted_at_every_coverage() -> None:
    dice, falling = torch.tensor([0.9, 0.3, 0.6]), torch.tensor([3.0, 2.0, 1.0])
    assert area_under_risk(falling, dice) == pytest.approx((0.1 + (0.1 + 0.7) / 2 + (0.1 + 0.7 + 0.4) / 3) / 3)
    assert area_under_risk(dice, dice) == pytest.approx((0.1 + (0.1 + 0.4) / 2 + 0.4) / 3)


def test_equal_confidence_is_a_random_order() -> None:
    dice = torch.rand(5, generator=torch.Generator().manual_seed(0))
    assert area_under_risk(torch.ones(5), dice) == pytest.approx(1 - dice.mean().item())
    tied = torch.tensor([1.0, 2.0, 1.0, 3.0, 3.0])
    ways = ([1.0, 3, 2, 5, 4], [2.0, 3, 1, 5, 4], [1.0, 3, 2, 4, 5], [2.0, 3, 1, 4, 5])
    assert area_under_risk(tied, dice) == pytest.approx(
        sum(area_under_risk(torch.tensor(way), dice) for way in ways) / len(ways)
    )


def test_weights_that_predict_no_dice_are_refused(new_bench: NewBench, weights: Path) -> None:
    checkpoint.write_calibration(weights, {"temperature": 1.0})
    with pytest.raises(ValueError, match=r"predicts no Dice: expected .* got none. Run `incontext calibrate`"):
        predicted_dice.predicted_dice(new_bench("predicted-dice", predictors=(str(weights),)))
