"""The experiment on chosen settings: what is measured of a support, and how it is put together."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks.experiments import chosen_settings
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.chosen_settings import (
    ALL,
    ANY,
    CHOSEN,
    EVERYWHERE,
    EXPECTED,
    GIVEN,
    WHERE_CHOSEN,
    compared,
)
from benchmarks.experiments.shared_supports import SharedSupport
from incontext import Segmenter
from incontext.inference.chosen_settings import Choices, Tried

NewBench = Callable[..., Bench]


class Chooser(Segmenter):
    """Chooses to flip, or the given settings, without trying them."""

    changes: Mapping[str, Any] = {"flips": True}
    gain = 0.25

    def choose(self, images: Any, labels: Any, classes: Any = None, subjects: Any = None) -> "Chooser":
        assert len(subjects) == len(images) == len(labels)
        tried = [Tried({}, np.ones(2)), Tried({"flips": True}, np.ones(2), self.gain, 0.1)]
        self.choices = Choices(tried)
        return self.set_params(**self.choices.changes).fit(images, labels)


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench("chosen-settings", predictors=("packaged",))


@pytest.fixture
def support(bench: Bench) -> SharedSupport:
    task = bench.collection.tasks()[0]
    samples = bench.collection.samples(task)
    return SharedSupport(task, 0, tuple(samples[:4]), tuple(samples[4:6]))


def test_queries_are_segmented_by_given_and_by_chosen_settings(
    bench: Bench, support: SharedSupport, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser, asked = Chooser(), list[bool | str]()

    def by_flips(masks: object, labels: object) -> float:
        asked.append(chooser.flips)
        return {"auto": 0.5, True: 0.625}[chooser.flips]

    monkeypatch.setattr(chosen_settings, "mean_dice", by_flips)
    found = compared(bench, chooser, support)
    assert found == {GIVEN: 0.5, CHOSEN: 0.625, EXPECTED: 0.25, "settings": "flips=True"}
    assert asked == ["auto", True]


def test_what_is_not_beyond_its_error_is_not_chosen(
    bench: Bench, support: SharedSupport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chooser, "gain", 0.05)
    found = compared(bench, Chooser(), support)
    assert found == {GIVEN: found[GIVEN], CHOSEN: found[GIVEN], EXPECTED: 0.0, "settings": GIVEN}


def test_too_few_examples_choose_nothing(bench: Bench, support: SharedSupport) -> None:
    assert compared(bench, Segmenter(), support) == {}


def test_gains_are_of_all_supports_and_of_those_that_chose_something(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, object]:
        if support.draw:
            return {GIVEN: 0.5, CHOSEN: 0.5, EXPECTED: 0.0, "settings": GIVEN}
        return {GIVEN: 0.5, CHOSEN: 0.4, EXPECTED: 0.2, "settings": "flips=True"}

    monkeypatch.setattr(chosen_settings, "compared", answer)
    points = {point.place: point for point in chosen_settings.chosen_settings(bench).points}
    gains = {place: point.difference.mean for place, point in points.items() if point.difference}
    for name, panel, expected, gained in (
        ("cells", EVERYWHERE, 0.1, -0.05),
        (ALL, EVERYWHERE, 0.1, -0.05),
        (ANY, WHERE_CHOSEN, 0.2, -0.1),
        ("flips=True", WHERE_CHOSEN, 0.2, -0.1),
    ):
        assert gains.pop(Coordinates(name, EXPECTED, panel)) == pytest.approx(expected)
        assert gains.pop(Coordinates(name, CHOSEN, panel)) == pytest.approx(gained)
    assert not gains
    assert {point.about for point in points.values()} == {
        "", "worse with 50% of the supports", "by 50% of the supports"
    }  # fmt: skip
