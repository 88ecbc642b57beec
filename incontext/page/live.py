"""Segmentation in the background: whenever an example joins, all other images again, the nearest ones first."""

import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from jaxtyping import UInt8

from incontext.folders.expectation import Expectation, expectation_of
from incontext.folders.folder_images import read_folder
from incontext.folders.mask_targets import check_apart
from incontext.folders.user_folder import fit_pairs
from incontext.images.source_image import read_source_image
from incontext.inference.segmentation import Segmentation
from incontext.page.store import AnnotatedFolder
from incontext.segmenter import Segmenter
from megamed.failures import Attempt

Before = Callable[[AnnotatedFolder], Iterable[tuple[int, "Prediction"]]]
"""Function that yields predictions that were made before, by the index of their image."""
Notify = Callable[[Sequence[int]], object]
"""Function that is told of which images something is new; of none if it is about all."""


@dataclass(frozen=True)
class Prediction:
    """A mask that was predicted, packed.

    Attributes:
        shape: Numbers of planes, rows and columns.
        packed: Values of the classes.
        dice: Predicted Dice: the least of the classes that were found; None if the weights predict none.
        look_first: Whether it is probably poor.
        round: Number of the round of examples by which it was made.
    """

    shape: tuple[int, int, int]
    packed: bytes = field(repr=False)
    dice: float | None
    look_first: bool
    round: int

    @classmethod
    def packing(cls, planes: UInt8[np.ndarray, "N H W"], dice: float | None, look_first: bool, round: int) -> Self:
        """Pack the values of a mask."""
        packed = zlib.compress(np.ascontiguousarray(planes).tobytes(), 1)
        return cls((planes.shape[0], planes.shape[1], planes.shape[2]), packed, dice, look_first, round)

    @property
    def planes(self) -> UInt8[np.ndarray, "N H W"]:
        """Values of the classes, unpacked."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)


@dataclass(frozen=True)
class Progress:
    """Progress of what runs in the background.

    Attributes:
        stage: `loading`, `waiting` for examples, `learning`, `predicting`, `judging` the examples, or `idle`.
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


class Turnstile:
    """Turnstile at the segmenter: a person, who waits before the screen, comes before the images in the background."""

    def __init__(self) -> None:
        self._busy, self._next = threading.Lock(), threading.Lock()

    @contextmanager
    def first(self) -> Iterator[None]:
        """Wait for the one that is at work, and for nobody else."""
        with self._next:
            self._busy.acquire()
        try:
            yield
        finally:
            self._busy.release()

    @contextmanager
    def last(self) -> Iterator[None]:
        """Wait as long as a person does."""
        with self._next:
            pass
        with self.first():
            yield


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
        self._learned: list[str] = []
        self._looked_at = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        """Begin; what is to do is found out by the thread."""
        self._thread.start()

    def close(self) -> None:
        """End after the image that is being segmented."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def examples_changed(self) -> None:
        """Segment all images again, as an example has joined or changed."""
        with self._changed:
            self._round += 1
            self._changed.notify_all()

    def look_at(self, index: int) -> None:
        """Let the images near this one come first."""
        with self.lock:
            self._looked_at = index

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
            check_apart(segmenter.overlap)
            self.takes_prompts = _takes_prompts(segmenter)
            self._segmenter = segmenter
        if loading.error:
            self._tell(Progress("idle", error=loading.reason))
            return
        learned, has_task = 0, _knows_examples(segmenter)
        while not self._is_closing:
            with self._changed:
                now, examples = self._round, any(image.is_example for image in self._folder.images)
            if not examples and not has_task:
                self._tell(Progress("waiting"))
            elif learned == now or not examples or self._learn(segmenter):
                learned = now
                self._predict_all(segmenter, now)
                if self._is_current(now):
                    self._judge(segmenter)
            self._wait_for_change(now)

    def _learn(self, segmenter: Segmenter) -> bool:
        """Fit the segmenter to all examples, as the shell would; what fails is told."""
        self._tell(Progress("learning"))
        faulty: dict[str, str] = {}
        with Attempt() as fitting, self._turnstile.last(), warnings.catch_warnings(action="ignore"):
            found = read_folder(self._folder.folder)
            faulty = fit_pairs(segmenter, found)
        if fitting.error:
            self._tell(Progress("idle", error=fitting.reason))
            return False
        with self.lock:
            self._folder.meet(segmenter.fitted.names, segmenter.fitted.colours)
            self._learned = [pair.name for pair in found.labelled if pair.name not in faulty]
        return True

    def _predict_all(self, segmenter: Segmenter, now: int) -> None:
        """Segment all images without a label or strokes, until something changes."""
        start, count = time.monotonic(), 0
        while self._is_current(now):
            with self.lock:
                todo = self._todo(now)
                done = len([each for each in self.predictions.values() if each.round == now])
            self._tell(Progress("predicting", done, done + len(todo), _left(start, count, len(todo))))
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
            case = read_source_image(image.pair.image, image.name)
            with self._turnstile.last():
                found = _packed(segmenter.predict(case), now)
        with self.lock:
            if attempt.error:
                self.failures[index] = attempt.reason
            else:
                self.predictions[index] = found
        self._notify([index])

    def _judge(self, segmenter: Segmenter) -> None:
        """Let the examples judge each other."""
        count = self.progress.total
        self._tell(Progress("judging", count, count))
        with Attempt() as attempt, self._turnstile.last(), warnings.catch_warnings(action="ignore"):
            expected = expectation_of(segmenter, self._learned)
        with self.lock:
            self.expected = None if attempt.error else expected
        self._tell(Progress("idle", count, count, error=attempt.reason))

    def _is_current(self, now: int) -> bool:
        with self.lock:
            return not self._is_closing and self._round == now

    def _wait_for_change(self, now: int) -> None:
        with self._changed:
            while not self._is_closing and self._round == now:
                self._changed.wait()

    def _tell(self, progress: Progress) -> None:
        with self.lock:
            self.progress = progress
        self._notify([])


def _knows_examples(segmenter: Segmenter) -> bool:
    """Whether a segmenter has examples already, those of a saved task."""
    with suppress(ValueError):
        return bool(segmenter.fitted)
    return False


def _takes_prompts(segmenter: Segmenter) -> bool:
    """Whether an edit can be begun."""
    with Attempt() as attempt:
        segmenter.edit(np.zeros((segmenter.size_px, segmenter.size_px), np.float32))
    return attempt.error is None


def _left(start: float, count: int, waiting: int) -> float | None:
    """Seconds that the rest will take."""
    return (time.monotonic() - start) / count * waiting if count else None


def _packed(result: Segmentation, now: int) -> Prediction:
    case = result.cases[0]
    planes = case.view.planes(result.masks[0].reshape(case.grid))
    dice, look_first = None, False
    with suppress(ValueError):  # weights without a quality model predict no Dice
        by_class, look_first = result.predicted_dice[0], bool(result.look_first)
        shown = np.array([result.layer(0, value).any() for value in result.classes])
        dice = float(by_class[shown].min() if shown.any() else by_class.max())
    return Prediction.packing(planes, dice, look_first, now)
