"""The experiment on chosen settings: what do settings gain that the examples choose by segmenting each other?

What is judged is what a user calls, `Segmenter.choose`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.shared_supports import SharedSupport, mean_dice, measured, pairs
from incontext import Segmenter

GIVEN, CHOSEN = "as given", "chosen"
EXPECTED, GAINED = "expected by the examples", "on other images"
DICE, GAIN, SHARE = "Dice", "gain where something was chosen", "share of the supports"
ALL, ANY, WORSE = "all", "any", "worse for it"
WORSE_BY = 0.005
"""Dice that chosen settings have to lose on other images to be called worse."""

Measured = Sequence[tuple[SharedSupport, Mapping[str, Any]]]
"""Supports with what `compared` returns of each."""
Scores = dict[Coordinates, list[Score]]


def chosen_settings(bench: Bench) -> Findings:
    """Compare settings that the examples choose with the given ones: Dice, what was expected, and how often."""
    details = bench.claim_weights()
    found = [(support, each) for support, each in measured(bench, compared) if each]
    scores = dice_of(found) | gains_of(found) | shares_of(found)
    references = {place: place._replace(series=GIVEN) for place in scores if place.panel == DICE}
    references |= {place: place._replace(series=EXPECTED) for place in scores if place.panel == GAIN}
    return Findings(averaged(scores, references, bench.settings.seed), details)


def compared(bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, Any]:
    """Dice in [0, 1] of the queries by given and by chosen settings, and the gain that the examples expected.

    Nothing is measured with examples that allow no choice.
    """
    images, labels = pairs(bench, support, support.examples)
    queries, drawn = pairs(bench, support, support.queries)
    given = mean_dice(segmenter.fit(images, labels).predict(queries).masks, drawn)
    choices = segmenter.choose(images, labels, subjects=[sample.subject for sample in support.examples]).choices
    if choices is None or not choices.tried:
        return {}
    (taken,) = (each for each in choices.tried if each.changes == choices.changes)
    chosen = mean_dice(segmenter.predict(queries).masks, drawn) if taken.changes else given
    return {GIVEN: given, CHOSEN: chosen, EXPECTED: taken.gain, "settings": named(taken.changes)}


def named(changes: Mapping[str, Any]) -> str:
    """Name settings by what they change."""
    return ", ".join(f"{name}={value}" for name, value in changes.items()) or GIVEN


def dice_of(found: Measured) -> Scores:
    """Dice by given and by chosen settings, by dataset and of all."""
    scores: Scores = defaultdict(list)
    for is_all in (False, True):
        for support, each in found:
            for series in (GIVEN, CHOSEN):
                place = Coordinates(ALL if is_all else support.task.dataset, series, DICE)
                scores[place].append(support.score(each[series]))
    return scores


def gains_of(found: Measured) -> Scores:
    """Gains that the examples expected of the settings that they chose, and those on other images, by settings."""
    scores: Scores = defaultdict(list)
    for support, each in found:
        if each["settings"] != GIVEN:
            for name in (ANY, each["settings"]):
                for series, gain in ((EXPECTED, each[EXPECTED]), (GAINED, each[CHOSEN] - each[GIVEN])):
                    scores[Coordinates(name, series, GAIN)].append(support.score(gain))
    return scores


def shares_of(found: Measured) -> Scores:
    """Shares of the supports that chose any settings, and each of them, and that are worse for it."""
    scores: Scores = defaultdict(list)
    names = sorted({each["settings"] for _, each in found} - {GIVEN})
    for support, each in found:
        is_so = {
            ANY: each["settings"] != GIVEN,
            **{name: each["settings"] == name for name in names},
            WORSE: each[CHOSEN] < each[GIVEN] - WORSE_BY,
        }
        for name, value in is_so.items():
            scores[Coordinates(name, "", SHARE)].append(support.score(float(value)))
    return scores
