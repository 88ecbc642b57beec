"""The experiment on predicted Dice: masks in the order of their Dice or not, over all, within tasks and by dataset."""

from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import pytest
import torch

from benchmarks.experiments import predicted_dice
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.predicted_dice import EVERY, WITHIN, measured
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


def told(spearman: float | None, within: float | None) -> dict[str, float | None]:
    return {"spearman": spearman, "spearman_within": within, "flagged": 0.25, "caught": None}


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
    assert found.keys() == {
        Coordinates(EVERY),
        Coordinates(WITHIN),
        Coordinates("cells"),
    }  # the eyes' is known of no draw
    assert astuple(found[Coordinates(EVERY)].value) == pytest.approx((0.55, 0.5, 0.6))
    assert astuple(found[Coordinates(WITHIN)].value) == pytest.approx((0.3, 0.3, 0.3))
    assert found[Coordinates(EVERY)].about == "25% flagged"
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


def test_weights_that_predict_no_dice_are_refused(new_bench: NewBench, weights: Path) -> None:
    checkpoint.write_calibration(weights, {"temperature": 1.0})
    with pytest.raises(ValueError, match=r"predicts no Dice: expected .* got none. Run `incontext calibrate`"):
        predicted_dice.predicted_dice(new_bench("predicted-dice", predictors=(str(weights),)))
