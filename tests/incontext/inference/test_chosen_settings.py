"""Settings chosen by examples that others segment."""

from typing import Any

import numpy as np
import pytest

from incontext import Segmenter
from incontext.inference import chosen_settings
from incontext.inference.chosen_settings import LEAST, MOST, Choices, Tried, choose_settings
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

GIVEN = {"size_px": 128, "flips": "auto", "support": "all", "support_size": None, "scaling": "auto", "tiling": "auto"}


def examples(count: int) -> list[np.ndarray]:
    """Images of one pixel, which are their own labels."""
    return [np.full((1, 1), number) for number in range(count)]


def numbers(images: list[np.ndarray]) -> tuple[int, ...]:
    return tuple(int(image[0, 0]) for image in images)


class Pretended:
    """An estimator that is as good as its settings say, and remembers what it was shown and asked."""

    def __init__(self, worth: dict[str, float], **params: Any) -> None:
        self.worth, self.params = worth, {**GIVEN, "tune": "auto", **params}
        self.log: list[tuple[tuple[int, ...], int]] = []
        self.shown: tuple[int, ...] = ()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return self.params

    def set_params(self, **params: Any) -> "Pretended":
        self.params = {**self.params, **params}
        return self

    def fit(self, images: Any, labels: Any, classes: Any = None) -> "Pretended":
        assert numbers(images) == numbers(labels)
        assert self.params["tune"] == 0
        self.shown = numbers(images)
        return self

    def score(self, images: Any, labels: Any) -> float:
        (asked,) = numbers(images)
        self.log.append((self.shown, asked))
        noise = 0.01 * (asked % 3)
        gains = [self.worth.get(f"{name}={value}", 0.0) for name, value in self.params.items()]
        return 0.5 + noise + sum(gains) * (1 + noise)


def test_the_best_is_chosen_and_the_estimator_stays_as_it_is() -> None:
    one = Pretended({"size_px=192": 0.1, "flips=True": 0.2})
    found = choose_settings(one, examples(10), examples(10))
    assert found.changes == {"flips": True}
    assert one.params == {**GIVEN, "tune": "auto"}
    assert "flips=True: Dice 0.7" in str(found)
    assert str(found).count("chosen") == 1


def test_no_example_helps_to_segment_itself_and_many_are_thinned() -> None:
    one = Pretended({})
    choose_settings(one, examples(100), examples(100))
    assert all(asked not in shown for shown, asked in one.log)
    assert len({asked for _, asked in one.log}) == MOST


def test_no_example_helps_to_segment_another_of_its_subject() -> None:
    one = Pretended({})
    choose_settings(one, examples(12), examples(12), subjects=[number // 3 for number in range(12)])
    assert {asked for _, asked in one.log} == set(range(12))
    assert all(asked // 3 not in {other // 3 for other in shown} for shown, asked in one.log)


@pytest.mark.parametrize("subjects", [["a"] * 12, ["a"] * 6 + ["b"] * 6])
def test_few_subjects_judge_as_they_can(subjects: list[str]) -> None:
    one = Pretended({})
    choose_settings(one, examples(12), examples(12), subjects)
    assert all(shown and asked not in shown for shown, asked in one.log)
    with pytest.raises(ValueError, match="subjects do not fit images: expected 12, got 11"):
        choose_settings(one, examples(12), examples(12), subjects[1:])


@pytest.mark.parametrize("subjects", [None, [number // 2 for number in range(64)]])
def test_the_others_show_each_class_where_two_subjects_do(subjects: list[int] | None) -> None:
    """Class 1 is in every fourth example, 2 and 3 in two of sixty-four each, of which one shows both, and 4 in one."""
    shown = [{1} if number % 4 == 0 else set() for number in range(64)]
    for number, value in ((13, 2), (41, 2), (41, 3), (61, 3), (7, 4)):
        shown[number] = shown[number] | {value}
    one = Pretended({})
    choose_settings(one, examples(64), examples(64), subjects, shown=shown)
    for others, _ in one.log:
        assert {1, 2, 3} <= set().union(*(shown[other] for other in others))
    asked = {each for _, each in one.log}
    assert {13, 41, 61, 7} <= asked
    assert len(asked) <= MOST + 4


@pytest.mark.parametrize(("showing", "subjects"), [([3], None), ([0, 1, 2], ["a"] * 3 + ["b"] * 5)])
def test_settings_stay_where_one_subject_alone_shows_something(showing: list[int], subjects: list[str] | None) -> None:
    one = Pretended({"flips=True": 1})
    found = choose_settings(one, examples(8), examples(8), subjects, shown=[{1} & {n in showing} for n in range(8)])
    assert not found.changes
    assert not one.log
    assert str(found).startswith("settings as given: one example alone shows something, or one subject")


def test_a_segmenter_knows_what_its_examples_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight examples one is labelled, or two are that round the circle come into one fold."""
    monkeypatch.setattr(chosen_settings, "CANDIDATES", ({"flips": True},))
    random = np.random.default_rng(0)
    images = [random.random((20, 20)) for _ in range(8)]
    network = SupportOnceNet(SupportOnceConfig(channels=(4, 4, 4), heads=1, head_channels=4, groups=2)).eval()
    for labelled, tried in (({0}, 0), ({0, 4}, 2)):
        labels = [(image > 0.5).astype(np.uint8) * (i in labelled) for i, image in enumerate(images)]
        segmenter = Segmenter(network, size_px=32, device="cpu", absent="keep", tiling="never").choose(images, labels)
        assert segmenter.choices is not None
        assert len(segmenter.choices.tried) == tried
        assert segmenter.fitted.pool.label_budget == 8


def test_settings_that_do_not_gain_are_left_alone() -> None:
    found = choose_settings(Pretended({"size_px=192": -0.1}), examples(10), examples(10))
    assert found.changes == {}
    assert "as given: Dice 0.509, chosen" in str(found)
    dice = np.zeros(4)
    assert not Choices([Tried({}, dice), Tried({"flips": True}, dice, gain=0.01, error=0.02)]).changes


def test_what_is_tried_is_tracked() -> None:
    tracked: list[Any] = []

    def track(some: Any) -> Any:
        tracked.extend(some)
        return iter(some)

    found = choose_settings(Pretended({}), examples(8), examples(8), track=track)
    assert tracked == [each.changes for each in found.tried[1:]]


def test_too_few_examples_choose_nothing() -> None:
    found = choose_settings(Pretended({"flips=True": 1}), examples(LEAST - 1), examples(LEAST - 1))
    assert found.changes == {}
    assert str(found) == (
        "settings as given: fewer than 8 labelled images choose none, and a stack or volume counts as one"
    )
    assert found.told().startswith("No settings were tried on the labelled images: fewer than 8")


def test_a_rule_that_was_given_is_kept() -> None:
    found = choose_settings(Pretended({}, support="random"), examples(8), examples(8))
    assert not any("support" in each.changes for each in found.tried)


def test_a_segmenter_takes_over_what_it_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_settings, "CANDIDATES", ({"flips": True},))
    random = np.random.default_rng(0)
    images = [random.random((20, 20)) for _ in range(LEAST)]
    labels = {"bright": [image > 0.5 for image in images]}
    network = SupportOnceNet(SupportOnceConfig(channels=(4, 4, 4), heads=1, head_channels=4, groups=2)).eval()
    segmenter = Segmenter(network, size_px=32, device="cpu", absent="keep").choose(images, labels)
    assert segmenter.choices is not None
    assert len(segmenter.choices.tried) == 2
    assert segmenter.flips == segmenter.choices.changes.get("flips", "auto")
    assert segmenter.fitted.pool.label_budget == LEAST
