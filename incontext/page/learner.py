"""Learning from a folder: an example that is accepted joins, and now and then all are read anew."""

import warnings
from collections.abc import Collection

import numpy as np

from incontext.folders.folder_images import read_folder
from incontext.folders.user_folder import fit_pairs
from incontext.page.store import AnnotatedFolder
from incontext.segmenter import Segmenter
from megamed.failures import Attempt
from megamed.unknown import UNKNOWN


class Learner:
    """A memory of the examples of a folder that a segmenter has learned.

    The first examples decide on the preparation of all images. So that they do not decide for ever, all are read anew
    whenever there are twice as many as the last time, which in all takes no longer than reading each of them twice.

    Args:
        folder: The folder.

    Attributes:
        names: Names of the images that were learned, in their order.
    """

    def __init__(self, folder: AnnotatedFolder) -> None:
        self._folder = folder
        self._fitted_to = 0
        self.names: list[str] = []

    def learn(self, segmenter: Segmenter, joined: Collection[int] | None) -> None:
        """Let a segmenter know the examples of the folder.

        Args:
            segmenter: The segmenter, which this has taught before if it knows any.
            joined: Indices of the images that were accepted since; None if any label may have changed.

        Raises:
            ValueError: If there is no example, or one cannot be used.
            OSError: If a file cannot be read.
        """
        with Attempt() as joining:
            if joined is not None and self._can_join(segmenter, joined):
                self._join(segmenter, joined)
                return
        if joining.error:
            warnings.warn(f"examples are read anew: {joining.reason}", stacklevel=2)
        self._fit(segmenter)

    def _can_join(self, segmenter: Segmenter, joined: Collection[int]) -> bool:
        """Whether images are new, have maps of classes that are known by their present names, and are few enough."""
        if len(self.names) + len(joined) >= 2 * self._fitted_to:
            return False
        named = {value: each.name for value, each in self._folder.classes.items()}
        known = segmenter.fitted.names
        for index in joined:
            pair = self._folder.images[index].pair
            shown = {*np.unique(self._folder.open(index).drawing.planes).tolist()} - {0, UNKNOWN}
            if pair.name in self.names or [*pair.labels] != [""] or not shown <= known.keys():
                return False
        return all(named.get(value) == name for value, name in known.items())

    def _join(self, segmenter: Segmenter, joined: Collection[int]) -> None:
        for index in joined:
            pair = self._folder.images[index].pair
            (label,) = pair.labels[""]
            segmenter.add(pair.image, label)
            self.names.append(pair.name)

    def _fit(self, segmenter: Segmenter) -> None:
        """Fit to all examples, as the shell would; a network that was tuned stays as it is."""
        self._fitted_to = 0
        wish, tuned = segmenter.tune, segmenter.tuned if segmenter.tune and segmenter.has_examples else None
        found = read_folder(self._folder.folder)
        segmenter.set_params(tune=0)
        try:
            faulty = fit_pairs(segmenter, found)
        finally:
            if tuned:
                segmenter.set_params(tune=wish).keep_tuned(tuned)
        self.names = [pair.name for pair in found.labelled if pair.name not in faulty]
        self._fitted_to = len(self.names)


def take_tuned(segmenter: Segmenter, copied: Segmenter) -> None:
    """Let a segmenter go on with what tuning a copy of it has come to."""
    if tuned := copied.tuned:
        segmenter.set_params(tune="auto").keep_tuned(tuned)
