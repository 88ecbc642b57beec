"""The experiment on expected Dice: what examples tell of each other beside the Dice of other images."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.experiments import expected_dice
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.expected_dice import ALONE, APART, BY_IMAGE, DICE, EXPECTED, RANKS, SHIFTED, TRUE
from benchmarks.experiments.shared_supports import SharedSupport
from incontext import Segmenter
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

NewBench = Callable[..., Bench]


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)).eval()
    checkpoint.save(tmp_path / "tiny.safetensors", network, {}, torch.float32)
    return str(tmp_path / "tiny.safetensors")


def test_expected_and_true_dice_are_compared_by_draw(
    new_bench: NewBench, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, object]:
        asked.append(support)
        return {"expected": 0.8, "interval": [0.6, 0.9], "true": 0.7, "by_image": {ALONE: 0.2}} if support.draw else {
            "expected": 0.5, "interval": [0.4, 0.6], "true": 0.8, "by_image": {ALONE: 0.1},
        }  # fmt: skip

    monkeypatch.setattr(expected_dice, "compared", answer)
    bench = new_bench("expected-dice", predictors=(weights,))
    first, second = expected_dice.expected_dice(bench), expected_dice.expected_dice(bench)
    assert first == second
    assert [support.draw for support in asked] == [0, 1]
    (queries,) = {frozenset(query.subject for query in support.queries) for support in asked}
    assert not queries & {example.subject for support in asked for example in support.examples}
    found = {point.place: point.value.mean for point in first.points}
    assert found[Coordinates("cells", EXPECTED, DICE)] == pytest.approx(0.65)
    assert found[Coordinates("cells", TRUE, DICE)] == pytest.approx(0.75)
    assert found[Coordinates("absolute", "", APART)] == pytest.approx(0.2)
    assert found[Coordinates("signed", "", APART)] == pytest.approx(-0.1)
    assert found[Coordinates("inside", "", APART)] == pytest.approx(0.5)
    assert found[Coordinates("absolute, of the means of tasks", "", APART)] == pytest.approx(0.1)
    assert found[Coordinates("over draws", "", RANKS)] == pytest.approx(-1)
    assert found[Coordinates(ALONE, "", BY_IMAGE)] == pytest.approx(0.15)


def test_what_a_user_reads_is_measured(new_bench: NewBench, weights: str) -> None:
    bench = new_bench("expected-dice", predictors=(weights,))
    found = expected_dice.expected_dice(bench).details["measured"]
    (draws,) = found.values()
    assert len(draws) == 2
    assert all(0 <= each["interval"][0] <= each["expected"] <= each["interval"][1] <= 1 for each in draws)
    assert all(0 <= each["true"] <= 1 for each in draws)


def test_too_few_examples_expect_nothing(new_bench: NewBench, weights: str) -> None:
    bench = new_bench("expected-dice", predictors=(weights,))
    task, samples = bench.collection.tasks()[0], bench.collection.samples(bench.collection.tasks()[0])
    support = SharedSupport(task, 0, tuple(samples[:3]), tuple(samples[3:5]))
    assert expected_dice.compared(bench, Segmenter(weights), support) == {}


def test_the_dice_of_each_image_is_predicted_with_and_without_the_examples(new_bench: NewBench) -> None:
    bench = new_bench("expected-dice", predictors=("packaged",))
    points = {point.place: point for point in expected_dice.expected_dice(bench).points}
    alone, shifted = (points[Coordinates(how, "", BY_IMAGE)] for how in (ALONE, SHIFTED))
    assert shifted.value.mean < alone.value.mean < 1
    assert shifted.reference == alone.place
