"""Learning from a folder: an example that is accepted joins, and now and then all are read anew."""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from incontext.folders.folder_images import read_folder
from incontext.folders.user_folder import fit_pairs, labels_of
from incontext.inference.support_pool import Fitted
from incontext.page.store import AnnotatedFolder
from incontext.segmenter import Segmenter
from megamed.failures import Attempt
from megamed.pairing import ImagePair
from megamed.unknown import UNKNOWN


class Learner:
    """A memory of the examples of a folder that a segmenter has learned.

    The first examples decide on the preparation of all images. So that they do not decide for ever, all are read anew
    whenever there are twice as many as the last time, which in all takes no longer than reading each of them twice.
    Where there is a saved task, they join its examples, which decide; one without images learns nothing more.

    Args:
        folder: The folder.
        task: Examples of a saved task; None without one.

    Attributes:
        names: Names of the images that were learned, in their order, those of the task first.
    """

    def __init__(self, folder: AnnotatedFolder, task: Fitted | None = None) -> None:
        self._folder = folder
        self._fitted_to = 0
        self._task = task and _placed(task)
        self.names = _names_in(self._task) if self._task else list[str]()

    def learn(self, segmenter: Segmenter, joined: Collection[int] | None) -> None:
        """Let a segmenter know the examples of the folder.

        Args:
            segmenter: The segmenter, which this has taught before if it knows any.
            joined: Indices of the images that were accepted since; None if any label may have changed.

        Raises:
            ValueError: If there is no example, or one cannot be used.
            OSError: If a file cannot be read.
        """
        if self._task and self._task.codes:
            return
        with Attempt() as joining:
            if joined is not None and self._can_join(segmenter, joined):
                self._join(segmenter, joined)
                return
        if joining.error:
            warnings.warn(f"examples are read anew: {joining.reason}", stacklevel=2)
        self._fit(segmenter)

    def _can_join(self, segmenter: Segmenter, joined: Collection[int]) -> bool:
        """Whether images are new, have maps of classes that are known by their present names, and are few enough."""
        if self._task is None and len(self.names) + len(joined) >= 2 * self._fitted_to:
            return False
        named = self._folder.classes.names
        known = segmenter.fitted.names
        for index in joined:
            pair = self._folder.images[index].pair
            shown = {*np.unique(self._folder.open(index).drawing.planes).tolist()} - {0, UNKNOWN}
            if pair.name in self.names or [*pair.labels] != [""] or not shown <= known.keys():
                return False
        return all(named.get(value) == name for value, name in known.items())

    def _join(self, segmenter: Segmenter, joined: Collection[int]) -> None:
        for index in joined:
            self._add(segmenter, self._folder.images[index].pair)

    def _add(self, segmenter: Segmenter, pair: ImagePair) -> None:
        by_class = sorted(filter(None, pair.labels))
        labels: Any = labels_of([pair], by_class)
        label = {name: labels[name][0] for name in by_class} if by_class else labels[0]
        segmenter.add(pair.image, label, self._folder.classes.names)
        self.names.append(pair.name)

    def _fit(self, segmenter: Segmenter) -> None:
        """Fit to all examples, as the shell would; a network that was tuned stays as it is."""
        self._fitted_to = 0
        wish, tuned = segmenter.tune, segmenter.tuned if segmenter.tune and segmenter.has_examples else None
        found = read_folder(self._folder.folder)
        segmenter.set_params(tune=0)
        try:
            if self._task:
                self._add_to(self._task, segmenter, found.labelled)
            else:
                faulty = fit_pairs(segmenter, found)
                self.names = [pair.name for pair in found.labelled if pair.name not in faulty]
                self._fitted_to = len(self.names)
        finally:
            if tuned:
                segmenter.set_params(tune=wish).keep_tuned(tuned)

    def _add_to(self, task: Fitted, segmenter: Segmenter, pairs: Sequence[ImagePair]) -> None:
        """Let all examples join those of a task; those that cannot be used are left out, if others can."""
        segmenter.go_back_to(task)
        self.names = _names_in(task)
        attempts = [Attempt() for _ in pairs]
        for attempt, pair in zip(attempts, pairs, strict=True):
            with attempt:
                self._add(segmenter, pair)
        if attempts and all(attempt.error for attempt in attempts):
            raise next(attempt.error for attempt in attempts if attempt.error)


def _placed(task: Fitted) -> Fitted:
    """Examples of a task that count as images of their own, so that those which join are known apart."""
    count = len(task.pool.units.unique())
    return replace(task, pool=replace(task.pool, places=[(number, None) for number in range(count)]))


def _names_in(task: Fitted) -> list[str]:
    """Names for the examples of a task, which no image of a folder has."""
    return [f"example {number} of the task" for number in range(1, len(task.pool.places) + 1)]


def take_tuned(segmenter: Segmenter, copied: Segmenter) -> None:
    """Let a segmenter go on with what tuning a copy of it has come to."""
    if tuned := copied.tuned:
        segmenter.set_params(tune="auto").keep_tuned(tuned)
