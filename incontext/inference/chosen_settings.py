"""Choice of settings by how well labelled images are segmented by the others, in place of rules."""

import copy
from collections.abc import Iterator, Mapping, Sequence
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

    def __str__(self) -> str:
        if not self.tried:
            return f"settings as given: fewer than {LEAST} examples choose none"
        return "\n".join(f"{each}{', chosen' if each.changes == self.changes else ''}" for each in self.tried)


def choose_settings(estimator: Fitting, images: Pictures, labels: Labels) -> Choices:
    """Try settings by cross-validation; the estimator stays as it is.

    Each example is segmented by those of the other folds, on its own grid, so that sizes and tilings are comparable.
    Nothing is tuned meanwhile.

    Args:
        estimator: Estimator with the given settings.
        images: The labelled examples.
        labels: Labels of the images, in the forms that `Segmenter.fit` takes.

    Raises:
        ValueError: If an argument does not fit.
        OSError: If a file cannot be read.
    """
    pictures = as_list(images)
    if len(pictures) < LEAST:
        return Choices()
    asked = spread(len(pictures), MOST)
    given = _dice(estimator, {}, pictures, labels, asked)
    tried = [Tried({}, given)]
    for changes in _candidates(estimator.get_params()):
        dice = _dice(estimator, changes, pictures, labels, asked)
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


def _dice(
    estimator: Fitting, changes: Mapping[str, Any], images: Sequence[Any], labels: Labels, asked: Sequence[int]
) -> Float[np.ndarray, " N"]:
    """Dice of the examples that are asked, each by those of other folds."""
    found = np.zeros(len(asked))
    for fold in range(FOLDS):
        held_out = asked[fold::FOLDS]
        shown = [index for index in asked if index not in held_out]
        fitted = copy.copy(estimator).set_params(**changes, tune=0)
        fitted.fit([images[index] for index in shown], _of(labels, shown))
        found[fold::FOLDS] = [fitted.score([images[index]], _of(labels, [index])) for index in held_out]
    return found


def _of(labels: Labels, indices: Sequence[int]) -> Labels:
    """Labels of some of the images."""
    if isinstance(labels, Mapping):
        return {name: [as_list(masks)[index] for index in indices] for name, masks in labels.items()}
    listed = as_list(labels)
    return [listed[index] for index in indices]
