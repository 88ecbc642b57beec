"""U-Nets learn, forget nothing they should keep, and depend on nothing but their examples."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.predictors import unet
from benchmarks.predictors.protocol import TaskExamples, TaskPredictor
from benchmarks.predictors.unet import FullUNet, UNetSettings, train_unet, unet_support

TINY = UNetSettings(channels=(4, 8), steps=2, batch_size=2)


def examples(episodes: Any) -> TaskExamples:
    _, images, labels = episodes
    return TaskExamples((255 * images).flatten(0, 1).byte(), labels.flatten(0, 1).byte())


def test_neither_batch_nor_order_of_the_support_matters(check_exact: Any) -> None:
    check_exact(lambda: unet_support(TINY))


def test_training_leaves_the_global_generator_alone(episodes: Any) -> None:
    before = torch.get_rng_state()
    unet_support(TINY)(*episodes)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_learns_bright_discs(dice: Any) -> None:
    assert dice(unet_support(UNetSettings(channels=(8, 8), steps=40, batch_size=4, learning_rate=1e-2))) > 0.8


def test_a_support_is_trained_on_once(episodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings: list[int] = []

    def count(images: Any, labels: Any, settings: UNetSettings, seed: int) -> Any:
        trainings.append(seed)
        return train_unet(images, labels, settings, seed)

    monkeypatch.setattr(unet, "train_unet", count)
    predict = unet_support(TINY)
    query, images, labels = episodes
    predict(*episodes)
    predict(query.flip(0), images.flip(1), labels.flip(1))
    assert len(trainings) == len(set(trainings)) == 2


def test_a_training_that_takes_too_long_gives_no_result(episodes: Any) -> None:
    with pytest.raises(TimeoutError, match="expected 2 steps in 0 s, got 0"):
        unet_support(replace(TINY, seconds=0.0))(*episodes)


def test_full_training_is_read_again_and_ignores_the_support(
    episodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, images, labels = episodes
    first = FullUNet(tmp_path, TINY).for_task("cells/drawing/2d/disc", examples(episodes))
    assert [path.name.rsplit("-", 1)[0] for path in tmp_path.iterdir()] == ["cells-drawing-2d-disc"]
    monkeypatch.setattr(unet, "train_unet", None)
    again = FullUNet(tmp_path, TINY).for_task("cells/drawing/2d/disc", examples(episodes))
    logits = first(*episodes)
    assert torch.equal(again(query[1:], images[:1], 1 - labels[:1]), logits[1:])


def test_other_examples_or_settings_are_trained_on_anew(episodes: Any, tmp_path: Path) -> None:
    seen = examples(episodes)
    for settings, given in [(TINY, seen), (replace(TINY, steps=1), seen), (TINY, TaskExamples(*(t[1:] for t in seen)))]:
        FullUNet(tmp_path, settings).for_task("cells", given)
    assert len(list(tmp_path.iterdir())) == 3


def test_full_training_stops_in_time_and_says_so(episodes: Any, tmp_path: Path, caplog: Any) -> None:
    predictor = FullUNet(tmp_path, replace(TINY, seconds=0.0))
    assert isinstance(predictor, TaskPredictor)
    predictor.for_task("cells", examples(episodes))
    assert "stopped after 0 of 2 steps" in caplog.text
