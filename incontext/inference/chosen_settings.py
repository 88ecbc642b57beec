"""Choice of settings by how well labelled images are segmented by the others, in place of rules."""

import copy
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float

from incontext.images.examples import Labels, Pictures, as_list, spread

FOLDS = 4
"""Parts of the examples, each segmented by the others."""
LEAST, MOST = 8, 32
"""Examples without which nothing is chosen, and examples that choose at most, evenly spread among all.

Further ones choose where these show a class less than twice."""
TOO_FEW = f"fewer than {LEAST} labelled images choose none, and a stack or volume counts as one"
SHOWN_BY_ONE = "one example alone shows something, or one subject's do, and those that would segment it show nothing"
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
    """Settings that were tried on labelled examples, the given ones first; none where these do not allow it.

    Attributes:
        tried: Settings, and what they gain.
        why: Reason why none were tried.
    """

    tried: Sequence[Tried] = ()
    why: str = TOO_FEW

    @property
    def changes(self) -> Mapping[str, Any]:
        """Parameters to change: of the settings that gain most, if that exceeds their standard error."""
        better = [each for each in self.tried if each.is_better]
        return max(better, key=lambda each: each.gain).changes if better else {}

    def told(self) -> str:
        """Tell in one sentence what was chosen and why."""
        if not self.tried:
            return f"No settings were tried on the labelled images: {self.why}."
        return f"Settings tried on the labelled images: {'; '.join(str(self).splitlines())}."

    def __str__(self) -> str:
        if not self.tried:
            return f"settings as given: {self.why}"
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
    shown: Sequence[Set[int]] | None = None,
) -> Choices:
    """Try settings by cross-validation; the estimator stays as it is.

    Each example is segmented by those of the other folds, on its own grid, so that sizes and tilings are comparable.
    Those of one subject are in one fold, where several subjects are known, and the others show each class where that is
    possible. Nothing is tuned meanwhile.

    Args:
        estimator: Estimator with the given settings.
        images: The labelled examples.
        labels: Labels of the images, in the forms that `Segmenter.fit` takes.
        subjects: The subject of each image.
        track: Wraps the settings to try, to show progress.
        shown: Label values of the classes that each image shows; by default all show the same.

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
    shown = shown or [{1}] * len(pictures)
    folds = _folds(shown, subjects)
    if not all(any(shown[index] for other in folds if other is not fold for index in other) for fold in folds):
        return Choices(why=SHOWN_BY_ONE)
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


def _folds(shown: Sequence[Set[int]], subjects: Sequence[Hashable] | None) -> list[list[int]]:
    """Divide examples into folds, each class evenly; those of one subject together, unless all are of one.

    The rarest classes are dealt first, so that two folds have each that two subjects show.
    """
    names = subjects if subjects and len(set(subjects)) > 1 else range(len(shown))
    asked = _asked(shown, names)
    units = {index: names[index] for index in asked}
    if len(set(units.values())) < 2:
        units = {index: index for index in asked}
    classes: dict[Hashable, set[int]] = {unit: set() for unit in units.values()}
    for index, unit in units.items():
        classes[unit] |= shown[index]
    common = Counter(value for values in classes.values() for value in values)
    fold_of, has = dict[Hashable, int](), [Counter[int]() for _ in range(FOLDS)]
    rarest = {unit: min((common[value] for value in values), default=len(shown)) for unit, values in classes.items()}
    for unit in sorted(classes, key=lambda unit: (not classes[unit], rarest[unit])):
        turns = [*fold_of.values()]
        costs = [sum(each[value] / common[value] for value in classes[unit]) for each in has]
        fold_of[unit] = min(range(FOLDS), key=lambda fold: (costs[fold], turns.count(fold)))
        has[fold_of[unit]].update(classes[unit])
    folds = [[index for index in asked if fold_of[units[index]] == fold] for fold in range(FOLDS)]
    return [fold for fold in folds if fold]


def _asked(shown: Sequence[Set[int]], names: Sequence[Hashable]) -> list[int]:
    """Evenly spread examples, and of each class that not two subjects show there, further ones until two do."""
    asked = {*spread(len(shown), MOST)}
    for value in sorted(set().union(*shown)):
        first = {names[index]: index for index in reversed(range(len(shown))) if value in shown[index]}
        known = {names[index] for index in asked if value in shown[index]}
        missing = sorted(index for name, index in first.items() if name not in known)
        asked |= {*missing[: max(0, 2 - len(known))]}
    return sorted(asked)


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
