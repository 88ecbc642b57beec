"""The experiment on chosen settings: what do settings gain that the examples choose by segmenting each other?

What is judged is what a user calls, `Segmenter.choose`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.experiments.averages import Score, averaged, mean_of
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.shared_supports import SharedSupport, mean_dice, measured, pairs
from incontext import Segmenter

GIVEN, EXPECTED, CHOSEN = "as given", "expected by the examples", "chosen"
EVERYWHERE, WHERE_CHOSEN = "all supports", "supports that chose it"
ALL, ANY = "all", "anything"
WORSE_BY = 0.005
"""Dice that chosen settings have to lose on other images to be called worse."""

Measured = Sequence[tuple[SharedSupport, Mapping[str, Any]]]
"""Supports with what `compared` returns of each."""


def chosen_settings(bench: Bench) -> Findings:
    """Compare the Dice of other images by chosen settings, and the Dice expected of these, with that by given ones."""
    details = bench.claim_weights()
    found = [(support, each) for support, each in measured(bench, compared) if each]
    scores: dict[Coordinates, list[Score]] = {}
    for x, panel, some in groups(found):
        for series in (GIVEN, EXPECTED, CHOSEN):
            scores[Coordinates(x, series, panel)] = [support.score(dice_of(each, series)) for support, each in some]
    references = {place: place._replace(series=GIVEN) for place in scores}
    points = averaged(scores, references, bench.settings.seed)
    return Findings([replace(point, about=about(point.place, found)) for point in points], details)


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


def groups(found: Measured) -> Iterator[tuple[str, str, Measured]]:
    """Yield supports by dataset, all of them, those that chose anything, and those by what they chose."""
    for name in dict.fromkeys(support.task.dataset for support, _ in found):
        yield name, EVERYWHERE, [(support, each) for support, each in found if support.task.dataset == name]
    yield ALL, EVERYWHERE, found
    for name in (ANY, *sorted({each["settings"] for _, each in found} - {GIVEN})):
        if some := [(support, each) for support, each in found if has_chosen(each, name)]:
            yield name, WHERE_CHOSEN, some


def has_chosen(each: Mapping[str, Any], name: str) -> bool:
    """Whether a support chose the settings of a name, or anything."""
    settings: str = each["settings"]
    return settings != GIVEN if name == ANY else settings == name


def dice_of(each: Mapping[str, Any], series: str) -> float:
    """Dice of a series, in [0, 1]: the gain that is expected is added to the Dice by the given settings."""
    dice: float = each[series]
    return each[GIVEN] + dice if series == EXPECTED else dice


def about(place: Coordinates, found: Measured) -> str:
    """Remark on a point of chosen settings: how often they were chosen, or are worse for other images."""
    if place == (ALL, CHOSEN, EVERYWHERE):
        return f"worse with {share(found, lambda each: each[CHOSEN] < each[GIVEN] - WORSE_BY)} of the supports"
    if place.series == CHOSEN and place.panel == WHERE_CHOSEN:
        return f"by {share(found, lambda each: has_chosen(each, str(place.x)))} of the supports"
    return ""


def share(found: Measured, holds: Callable[[Mapping[str, Any]], bool]) -> str:
    """Share of the supports for which something holds, all datasets weighing the same."""
    return f"{mean_of([support.score(float(holds(each))) for support, each in found], seed=0).mean:.0%}"
