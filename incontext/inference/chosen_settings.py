"""Choice of settings by how well labelled images are segmented by the others, in place of rules."""

import copy
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float

from incontext.images.examples import Labels, Pictures, as_list, spread

FOLDS = 4
"""Parts of the examples, each segmented by the others."""
LEAST, MOST = 8, 32
"""Examples without which nothing is chosen, and examples that choose at most, evenly spread among all."""
CANDIDATES: tuple[Mapping[str, Any], ...] = (
    {"size_px": 192},
    {"flips": True},
    {"support": "nearest", "support_size": 8},
    {"scaling": "percentile"},
    {"scaling": "min-max"},
    {"tiling": "never"},
    {"tiling": "always"},
)
"""Settings that are tried in the place of the given ones, one after the other."""


Track = Callable[[Sequence[Mapping[str, Any]]], Iterable[Mapping[str, Any]]]
"""Function that passes settings on one by one, and may show the progress."""


@runtime_checkable
class Fitting(Protocol):
    """An estimator such as `incontext.Segmenter`."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""

    def set_params(self, **params: Any) -> Self:
        """Change parameters, by their names."""

    def fit(self, images: Pictures, labels: Labels, classes: Mapping[int, str] | None = None) -> Self:
        """Take over labelled examples."""

    def score(self, images: Pictures, labels: Labels) -> float:
        """Mean Dice on labelled images."""


@dataclass(frozen=True)
class Tried:
    """Settings that were tried.

    Attributes:
        changes: Parameters that differ from the given ones, by name; none for the given ones.
        dice: Dice of each example that was asked, by examples of other folds.
        gain: Mean difference to the Dice by the given settings.
        error: Standard error of this difference.
    """

    changes: Mapping[str, Any]
    dice: Float[np.ndarray, " N"] = field(repr=False)
    gain: float = 0.0
    error: float = 0.0

    @property
    def is_better(self) -> bool:
        """Whether the gain exceeds one standard error."""
        return self.gain > self.error

    def __str__(self) -> str:
        named = ", ".join(f"{name}={value!r}" for name, value in self.changes.items()) or "as given"
        against = f", {self.gain:+.3f} ± {self.error:.3f}" if self.changes else ""
        return f"{named}: Dice {self.dice.mean():.3f}{against}"


@dataclass(frozen=True)
class Choices:
    """Settings that were tried on labelled examples, the given ones first; none where these are too few."""

    tried: Sequence[Tried] = ()

    @property
    def changes(self) -> Mapping[str, Any]:
        """Parameters to change: of the settings that gain most, if that exceeds their standard error."""
        better = [each for each in self.tried if each.is_better]
        return max(better, key=lambda each: each.gain).changes if better else {}

    def told(self) -> str:
        """Tell in one sentence what was chosen and why."""
        return f"Settings tried on the labelled images: {'; '.join(str(self).splitlines())}."

    def __str__(self) -> str:
        if not self.tried:
            return f"settings as given: fewer than {LEAST} examples choose none"
        return "\n".join(f"{each}{', chosen' if each.changes == self.changes else ''}" for each in self.tried)


def on_terminal(tried: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Pass settings on, and show on a terminal how many are done and how long the others will take."""
    from incontext.training.tuning import shown_on_terminal

    return shown_on_terminal(tried, "Choosing settings")


def choose_settings(
    estimator: Fitting,
    images: Pictures,
    labels: Labels,
    subjects: Sequence[Hashable] | None = None,
    track: Track = iter,
) -> Choices:
    """Try settings by cross-validation; the estimator stays as it is.

    Each example is segmented by those of the other folds, on its own grid, so that sizes and tilings are comparable.
    Those of one subject are in one fold, where several subjects are known. Nothing is tuned meanwhile.

    Args:
        estimator: Estimator with the given settings.
        images: The labelled examples.
        labels: Labels of the images, in the forms that `Segmenter.fit` takes.
        subjects: The subject of each image.
        track: Wraps the settings to try, to show progress.

    Raises:
        ValueError: If an argument does not fit.
        OSError: If a file cannot be read.
    """
    pictures = as_list(images)
    if subjects is not None and len(subjects) != len(pictures):
        msg = f"subjects do not fit images: expected {len(pictures)}, got {len(subjects)}. Name one for each."
        raise ValueError(msg)
    if len(pictures) < LEAST:
        return Choices()
    asked = spread(len(pictures), MOST)
    folds = _folds(asked, subjects)
    given = _dice(estimator, {}, pictures, labels, folds)
    tried = [Tried({}, given)]
    for changes in track(list(_candidates(estimator.get_params()))):
        dice = _dice(estimator, changes, pictures, labels, folds)
        differences = dice - given
        error = float(differences.std(ddof=1) / np.sqrt(len(differences)))
        tried.append(Tried(changes, dice, float(differences.mean()), error))
    return Choices(tried)


def _candidates(given: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Settings that differ from the given ones, and that go with them."""
    for changes in CANDIDATES:
        if "support" in changes and given["support"] != "all":
            continue
        if any(given[name] != value for name, value in changes.items()):
            yield changes


def _folds(asked: Sequence[int], subjects: Sequence[Hashable] | None) -> list[list[int]]:
    """Divide examples into folds, in turn; those of one subject together, unless all are of one."""
    units = [subjects[index] for index in asked] if subjects else []
    if len(set(units)) < 2:
        units = list(asked)
    turns = {unit: turn for turn, unit in enumerate(dict.fromkeys(units))}
    folds: list[list[int]] = [[] for _ in range(FOLDS)]
    for index, unit in zip(asked, units, strict=True):
        folds[turns[unit] % FOLDS].append(index)
    return [fold for fold in folds if fold]


def _dice(
    estimator: Fitting, changes: Mapping[str, Any], images: Sequence[Any], labels: Labels, folds: Sequence[list[int]]
) -> Float[np.ndarray, " N"]:
    """Dice of the examples of all folds, each by those of other folds."""
    found: list[float] = []
    for fold in folds:
        shown = sorted(index for other in folds if other is not fold for index in other)
        fitted = copy.copy(estimator).set_params(**changes, tune=0)
        fitted.fit([images[index] for index in shown], _of(labels, shown))
        found += [fitted.score([images[index]], _of(labels, [index])) for index in fold]
    return np.array(found)


def _of(labels: Labels, indices: Sequence[int]) -> Labels:
    """Labels of some of the images."""
    if isinstance(labels, Mapping):
        return {name: [as_list(masks)[index] for index in indices] for name, masks in labels.items()}
    listed = as_list(labels)
    return [listed[index] for index in indices]
