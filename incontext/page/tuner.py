"""Tuning of a copy of the network on the examples, beside all else: its progress, and its end on demand."""

import copy
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from incontext.segmenter import Segmenter
from megamed.failures import Attempt

STEPS: str | int = "auto"
"""Steps of a tuning, as `Segmenter(tune=…)` takes them."""


class Stopped(Exception):
    """The person who asked for it wants no more of it."""


@dataclass(frozen=True)
class TuningProgress:
    """Progress of tuning.

    Attributes:
        is_running: Whether it goes on.
        done: Number of steps that were taken.
        total: Number of all steps; it may end before.
        eta_s: Seconds that the rest will take, as long as a step has taken so far; None if that is not known.
        outcome: Outcome of the last one that has ended; empty if there was none.
    """

    is_running: bool = False
    done: int = 0
    total: int = 0
    eta_s: float | None = None
    outcome: str = ""


class Tuner:
    """A thread that tunes a copy of a network, one at a time.

    Args:
        notify: Function that is told that the progress has changed, in the thread.

    Attributes:
        progress: Progress of tuning.
    """

    def __init__(self, notify: Callable[[], object]) -> None:
        self.progress = TuningProgress()
        self._notify = notify
        self._thread: threading.Thread | None = None
        self._is_stopped = False

    def start(self, segmenter: Segmenter, take: Callable[[Segmenter], object]) -> None:
        """Begin to tune a copy of a network.

        Args:
            segmenter: Segmenter with examples; a copy of it is tuned.
            take: Function that is given the copy, if tuning is a gain, in the thread.

        Raises:
            ValueError: If it is tuned already.
        """
        if self.progress.is_running:
            msg = "network is being tuned: expected to begin after that, got another wish. Stop it, or wait."
            raise ValueError(msg)
        self._is_stopped = False
        self.progress = TuningProgress(is_running=True)
        copied = copy.copy(segmenter).set_params(tune=STEPS)
        copied.track_tuning = self._track
        self._thread = threading.Thread(target=self._run, args=(copied, take), name="tuning", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is being taken, and change nothing."""
        self._is_stopped = True

    def close(self) -> None:
        """End, and wait for it."""
        self.stop()
        if self._thread:
            self._thread.join()

    def _run(self, segmenter: Segmenter, take: Callable[[Segmenter], object]) -> None:
        with Attempt() as tuning, warnings.catch_warnings(action="ignore"):
            tuned = segmenter.tuned
            if self._is_stopped:  # after the last step
                raise Stopped
        if tuning.error:
            outcome = "stopped: nothing has changed" if isinstance(tuning.error, Stopped) else tuning.reason
        else:
            assert tuned is not None
            outcome = tuned.reason
            if tuned.delta:
                take(segmenter)
        self._tell(TuningProgress(outcome=outcome))

    def _track(self, steps: Sequence[int]) -> Iterator[int]:
        """Pass steps on, and tell of them."""
        start, total = time.monotonic(), len(steps)
        for done, step in enumerate(steps):
            if self._is_stopped:
                raise Stopped
            eta_s = seconds_left(start, done, total - done)
            self._tell(replace(self.progress, done=done, total=total, eta_s=eta_s))
            yield step

    def _tell(self, progress: TuningProgress) -> None:
        self.progress = progress
        self._notify()


def seconds_left(start: float, done: int, waiting: int) -> float | None:
    """Seconds that the rest will take, as long as each has taken since a time of the clock; None before the first."""
    return (time.monotonic() - start) / done * waiting if done else None
