"""The experiment on supports that mix two definitions of one structure: whose does the mask follow?"""

from collections.abc import Sequence
from statistics import fmean

from jaxtyping import Float
from torch import Tensor

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.drawn_tasks import AGREED, Drawings, Shown, TaskReading, Values, judge_all, scores_of
from benchmarks.plans.task_plans import Episode
from incontext.networks.measures import dice
from incontext.networks.unknown import judged
from incontext.training.augment import dilate

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of a support that are labelled by the wider definition."""
RIM = "with a rim"
RIM_SHARE = 2 / 128
"""Width of the rim, as a share of the side of the image."""
PEOPLE, RIMMED = "two people", "one label, without and with a rim"
NARROW, WIDE, DISPUTED = "Dice with the narrower", "Dice with the wider", "probability where only the wider is"


def label_conflicts(bench: Bench) -> Findings:
    """Measure masks of supports of which a growing share is labelled by the wider of two definitions.

    Raises:
        ValueError: If several people drew nothing of the suite, the predictor is no network, or it was trained on all.
    """
    found, details = judge_all(bench, measured, with_rim)
    scores: dict[Coordinates, list[Score]] = {}
    references: dict[Coordinates, Coordinates] = {}
    for panel in (PEOPLE, RIMMED):
        for name in (NARROW, WIDE, DISPUTED):
            for share in SHARES:
                place = Coordinates(100 * share, name, panel)
                if own := scores_of(found, panel, f"{name}, {share}"):
                    scores[place], references[place] = own, place._replace(x=0.0)
    return Findings(averaged(scores, references, bench.settings.seed), details)


def measured(reading: TaskReading, draws: Sequence[Episode]) -> Values:
    """Measure a query by supports that mix two people's labels, and the agreed label without and with a rim."""
    narrow, *_, wide = by_area(reading.drawings, draws[0])
    pairs = {PEOPLE: (narrow, wide), RIMMED: (AGREED, RIM)}
    found = {name: [mixed(reading, draw, pair) for draw in draws] for name, pair in pairs.items()}
    return {name: {key: fmean(each[key] for each in values) for key in values[0]} for name, values in found.items()}


def by_area(drawings: Drawings, episode: Episode) -> list[str]:
    """People by the area that they drew on the images of a support, the least first."""

    def area(name: str) -> int:
        tasks = drawings.people.drawn[name]
        return sum(int(drawings.collection.areas(tasks[sample.row])[sample.row]) for sample in episode.support)

    return sorted(drawings.people.on(episode.query.row), key=area)


def mixed(reading: TaskReading, episode: Episode, pair: tuple[str, str]) -> dict[str, float]:
    """Measure a query by supports of which each share is labelled by the second of two."""
    rows = [sample.row for sample in episode.support]
    narrow, wide = (with_rim(reading.drawings, episode.query.row, who)[0, 0] for who in pair)
    known = judged(narrow) & judged(wide)
    disputed = known & (wide == 1) & (narrow != 1)
    values = {}
    for share in SHARES:
        probabilities = reading.probabilities(episode.query.row, shared(rows, pair, share))
        mask = probabilities >= 0.5
        values[f"{NARROW}, {share}"] = dice(mask, narrow == 1, known).item()
        values[f"{WIDE}, {share}"] = dice(mask, wide == 1, known).item()
        if disputed.any():
            values[f"{DISPUTED}, {share}"] = probabilities[disputed].mean().item()
    return values


def shared(rows: Sequence[int], pair: tuple[str, str], share: float) -> list[Shown]:
    """Show the first images of a support, in its random order, by the second of two definitions."""
    wide = round(share * len(rows))
    return [(row, pair[index < wide]) for index, row in enumerate(rows)]


def with_rim(drawings: Drawings, row: int, who: str) -> Float[Tensor, "1 1 H W"]:
    """Label that somebody drew, or the agreed one grown by a rim."""
    if who != RIM:
        return drawings.label(row, who)
    label = drawings.label(row, AGREED)
    return dilate(label[None], max(1, round(RIM_SHARE * label.shape[-1])))[0]
