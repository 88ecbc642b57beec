"""Segmentation in the background: whenever an example joins, all other images again, the nearest ones first."""

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from incontext.folders.expectation import Expectation, expectation_of
from incontext.page.learner import Learner, take_tuned
from incontext.page.prediction import Prediction
from incontext.page.store import AnnotatedFolder
from incontext.page.tuner import Tuner, seconds_left
from incontext.page.turnstile import Turnstile
from incontext.page.volumes import Propagated, PropagationTask, put
from incontext.segmenter import Segmenter
from megamed.failures import Attempt

Before = Callable[[AnnotatedFolder], Iterable[tuple[int, Prediction]]]
"""Function that yields predictions that were made before, by the index of their image."""
Notify = Callable[[Sequence[int]], object]
"""Function that is told of which images something is new; of none if it is about all."""


@dataclass(frozen=True)
class Progress:
    """Progress of what runs in the background.

    Attributes:
        stage: `loading`, `waiting` for examples, `learning`, `predicting`, `propagating` through a volume, `judging`
            the examples, or `idle`.
        done: Number of images that were predicted in this round.
        total: Number of all to predict.
        eta_s: Seconds that the rest will take, as long as an image has taken so far; None if that is not known.
        error: Reason why nothing goes on; empty if all is well.
    """

    stage: str = "loading"
    done: int = 0
    total: int = 0
    eta_s: float | None = None
    error: str = ""


class Live:
    """A thread that segments the images of a folder by those that are accepted.

    Args:
        folder: The folder.
        load: Function that loads the segmenter.
        notify: Function that is told of news, in the thread.
        before: Function that yields predictions that were made before.

    Attributes:
        lock: Lock on the folder, which everybody holds who reads or changes what it knows.
        predictions: Predictions by the index of their image.
        failures: Reasons why images could not be segmented, by their index.
        expected: Expected Dice of new images, and examples that the others contradict; None if not known.
        progress: Progress of the round.
        takes_prompts: Whether the weights have a network for clicks and the like.
        tuner: Tuning of the network.
        propagated: Outcomes of propagations, by the index of their image.
    """

    def __init__(
        self,
        folder: AnnotatedFolder,
        load: Callable[[], Segmenter],
        notify: Notify = len,
        before: Before = lambda _: (),
    ) -> None:
        self.lock = threading.RLock()
        self.predictions: dict[int, Prediction] = {}
        self.failures: dict[int, str] = {}
        self.expected: Expectation | None = None
        self.progress = Progress()
        self.takes_prompts = False
        self._segmenter: Segmenter | None = None
        self._turnstile = Turnstile()
        self._folder, self._load, self._notify, self._before = folder, load, notify, before
        self._changed = threading.Condition(self.lock)
        self._round = 1
        self._learner = Learner(folder)
        self._joined: list[int] | None = None
        self._tuned: Segmenter | None = None
        self.tuner = Tuner(lambda: self._notify([]))
        self._looked_at = 0
        self._has_more = self._has_task = False
        self._is_closing = False
        self.propagated: dict[int, Propagated] = {}
        self._volumes: list[tuple[int, PropagationTask]] = []
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        """Begin; what is to do is found out by the thread."""
        self._thread.start()

    def close(self) -> None:
        """End after the image that is being segmented."""
        self.tuner.close()
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def examples_changed(self, joined: int | None = None) -> None:
        """Segment all images again, as an example has joined or changed.

        Args:
            joined: Index of the image that was accepted; None if any label may have changed.
        """
        with self._changed:
            self._joined = None if joined is None or self._joined is None else [*self._joined, joined]
            self._begin_round()

    def class_removed(self, value: int, into: int) -> None:
        """Show no mask of a class any more, and segment all images without it."""
        with self._changed:
            found = {index: each.without(value, into) for index, each in self.predictions.items()}
            self.predictions = {index: each for index, each in found.items() if each}
            self._folder.forget_masks()
            self.expected = None
            self.examples_changed()

    def images_changed(self) -> None:
        """Segment the images that have no mask of this round yet: some have joined, or are not drawn any more."""
        with self._changed:
            self._has_more = True
            self._changed.notify_all()

    def tune(self) -> None:
        """Begin to tune the network on the examples; if that is a gain, all images are segmented again.

        Raises:
            ValueError: If there is no example, or it is tuned already.
        """
        with self.borrowed() as segmenter:
            if not segmenter.has_examples:
                msg = "there is no example: expected an accepted image to tune on, got none. Draw one and accept it."
                raise ValueError(msg)
            self.tuner.start(segmenter, self._take)

    def _take(self, tuned: Segmenter) -> None:
        with self._changed:
            self._tuned = tuned
            self._begin_round()

    def _begin_round(self) -> None:
        self._round += 1
        self._changed.notify_all()

    def propagate(self, index: int) -> None:
        """Let what is drawn on some planes of a volume be found on all others, soon.

        Raises:
            ValueError: If there is nothing to propagate.
        """
        with self._changed:
            names = self._folder.classes.names
            task = PropagationTask.of(self._folder.open(index), names)
            self._volumes = [each for each in self._volumes if each[0] != index] + [(index, task)]
            self._changed.notify_all()

    def look_at(self, index: int) -> None:
        """Let the images near this one come first."""
        with self.lock:
            self._looked_at = index

    @property
    def has_examples(self) -> bool:
        """Whether the segmenter has learned any that are there still."""
        if self._segmenter is None or not self._segmenter.has_examples:
            return False
        return self._has_task or any(image.is_example for image in self._folder.images)

    @contextmanager
    def borrowed(self) -> Iterator[Segmenter]:
        """Lend the segmenter to a person, after the image that is being segmented.

        Raises:
            ValueError: If it is not loaded yet.
        """
        if self._segmenter is None:
            msg = "network is not loaded yet: expected it in some seconds. Draw meanwhile."
            raise ValueError(msg)
        with self._turnstile.first(), warnings.catch_warnings(action="ignore"):
            yield self._segmenter

    def _run(self) -> None:
        for index, prediction in self._before(self._folder):
            with self.lock:
                self.predictions[index] = prediction
            self._notify([index])
        with Attempt() as loading:
            segmenter = self._load()
            self.takes_prompts = _takes_prompts(segmenter)
            self._segmenter = segmenter
        if loading.error:
            self._tell(Progress("idle", error=loading.reason))
            return
        finished, has_learned, self._has_task = 0, False, segmenter.has_examples
        if self._has_task:
            self._learner = Learner(self._folder, segmenter.fitted)
        while not self._is_closing:
            self._propagate_wanted(segmenter)
            with self._changed:
                now, examples = self._round, any(image.is_example for image in self._folder.images)
                has_more, self._has_more = self._has_more, False
            if not examples and not self._has_task:
                self._tell(Progress("waiting"))
            elif now != finished:
                finished, has_learned = now, self._learn(segmenter, examples)
                if has_learned:
                    self._predict_all(segmenter, now)
                    if self._is_current(now):
                        self._judge(segmenter)
            elif has_more and has_learned:
                self._predict_all(segmenter, now)
                if self._is_current(now):
                    self._tell(replace(self.progress, stage="idle", eta_s=None))
            self._wait_for_change(now)

    def _learn(self, segmenter: Segmenter, examples: bool) -> bool:
        """Let the segmenter know the examples, if there are any, and what tuning has come to; what fails is told."""
        with self.lock:
            joined, self._joined, now = self._joined, [], self._round
            tuned, self._tuned = self._tuned, None
        if not examples and not tuned:
            return True
        self._tell(Progress("learning"))
        with Attempt() as learning, self._turnstile.last(), warnings.catch_warnings(action="ignore"):
            if tuned:
                take_tuned(segmenter, tuned)
            if examples and joined != []:
                self._learner.learn(segmenter, joined)
        if learning.error:
            with self.lock:
                self._joined = None
            self._tell(Progress("idle", error=learning.reason))
            return False
        with self.lock:
            if self._round == now:  # else a class may have been removed meanwhile
                self._folder.classes.meet(segmenter.fitted.names, segmenter.fitted.colours)
        return True

    def _predict_all(self, segmenter: Segmenter, now: int) -> None:
        """Segment all images without a label or strokes, until something changes."""
        start, count = time.monotonic(), 0
        while self._is_current(now):
            self._propagate_wanted(segmenter)
            with self.lock:
                todo = self._todo(now)
                done = len([each for each in self.predictions.values() if each.round == now])
            self._tell(Progress("predicting", done, done + len(todo), seconds_left(start, count, len(todo))))
            if not todo:
                return
            self._predict(segmenter, todo[0], now)
            count += 1

    def _todo(self, now: int) -> list[int]:
        """List the images to segment in this round, the nearest first."""
        waiting = [
            index
            for index, image in enumerate(self._folder.images)
            if image.state == "bare"
            and index not in self.failures
            and (index not in self.predictions or self.predictions[index].round != now)
        ]
        return sorted(waiting, key=lambda index: abs(index - self._looked_at))

    def _predict(self, segmenter: Segmenter, index: int, now: int) -> None:
        image = self._folder.images[index]
        with Attempt() as attempt, warnings.catch_warnings(action="ignore"):
            case = self._folder.look.read(image.pair)
            with self._turnstile.last():
                found = Prediction.of(segmenter.predict(case), now)
        with self.lock:
            if attempt.error:
                self.failures[index] = attempt.reason
            else:
                self.predictions[index] = found
        self._notify([index])

    def _propagate_wanted(self, segmenter: Segmenter) -> None:
        """Propagate through the volumes for which that was asked."""
        while self._volumes and not self._is_closing:
            with self.lock:
                (index, task), *self._volumes = self._volumes
                before = self.progress
            self._tell(Progress("propagating"))
            with Attempt() as attempt, warnings.catch_warnings(action="ignore"):
                with self._turnstile.last():
                    found, following = task.run(segmenter)
                with self.lock:
                    put(self._folder.open(index), found)
                    self._folder.classes.restore(found.values)
                    self._folder.noticed(index)
                    count = self.propagated[index].count + 1 if index in self.propagated else 1
                    self.propagated[index] = Propagated(count, found.dice, following)
            self._notify([index])
            self._tell(replace(before, error=attempt.reason))

    def _judge(self, segmenter: Segmenter) -> None:
        """Let the examples judge each other."""
        count = self.progress.total
        self._tell(Progress("judging", count, count))
        with Attempt() as attempt, self._turnstile.last(), warnings.catch_warnings(action="ignore"):
            expected = expectation_of(segmenter, self._learner.names)
        with self.lock:
            self.expected = None if attempt.error else expected
        self._tell(Progress("idle", count, count, error=attempt.reason))

    def _is_current(self, now: int) -> bool:
        with self.lock:
            return not self._is_closing and self._round == now

    def _wait_for_change(self, now: int) -> None:
        with self._changed:
            while not self._is_closing and self._round == now and not self._volumes and not self._has_more:
                self._changed.wait()

    def _tell(self, progress: Progress) -> None:
        with self.lock:
            self.progress = progress
        self._notify([])


def _takes_prompts(segmenter: Segmenter) -> bool:
    """Whether an edit can be begun; a first click, which takes longest, is made here."""
    with Attempt() as attempt:
        segmenter.edit(np.zeros((segmenter.size_px, segmenter.size_px), np.float32)).click(0, 0)
    return attempt.error is None
