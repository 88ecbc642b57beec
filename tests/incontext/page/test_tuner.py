"""Tuning beside all else: told as it goes on, ended on demand, and nothing taken over then."""

import threading
from collections.abc import Callable
from typing import Any

from incontext import Segmenter
from incontext.networks.weights_delta import Tuned
from incontext.page.tuner import Tuner

PATIENCE_S = 60


class Slow(Segmenter):
    """What tunes in a hundred steps, of which each may wait."""

    before: Callable[[int], object]

    @property
    def tuned(self) -> Tuned:
        assert self.track_tuning
        for step in self.track_tuning(range(100)):
            self.before(step)
        return Tuned(None, "not tuned: no gain")


def slow(before: Callable[[int], object]) -> Slow:
    made = Slow()
    made.before = before
    return made


def tuned_by(before: Callable[[Tuner, int], object]) -> tuple[Tuner, list[Any], list[int]]:
    """Tune, and return the tuner, what was taken over, and how many steps were told."""
    told: list[int] = []
    taken: list[Any] = []
    tuner = Tuner(lambda: told.append(tuner.progress.done))
    tuner.start(slow(lambda step: before(tuner, step)), taken.append)
    assert tuner._thread
    tuner._thread.join(PATIENCE_S)
    return tuner, taken, told


def test_steps_are_told_and_the_outcome() -> None:
    tuner, taken, told = tuned_by(lambda tuner, step: None)
    assert told == [*range(100), 0]
    assert (tuner.progress.outcome, tuner.progress.is_running, taken) == ("not tuned: no gain", False, [])


def test_it_ends_on_demand_and_may_begin_anew() -> None:
    tuner, taken, told = tuned_by(lambda tuner, step: tuner.stop() if step == 3 else None)
    assert told == [0, 1, 2, 3, 0]
    assert (tuner.progress.outcome, taken) == ("stopped: nothing has changed", [])
    ended = threading.Event()
    tuner.start(slow(lambda step: ended.set()), taken.append)
    assert ended.wait(PATIENCE_S)
    tuner.close()


def test_it_ends_on_demand_after_its_last_step_too() -> None:
    tuner, taken, _ = tuned_by(lambda tuner, step: tuner.stop() if step == 99 else None)
    assert (tuner.progress.outcome, taken) == ("stopped: nothing has changed", [])
