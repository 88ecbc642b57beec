"""The experiment on a budget of labels: more images by one person each, or fewer by several people each?"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.drawn_tasks import Drawings, JudgedQuery, Shown, TaskReading, Values, judge_all, scores_of
from benchmarks.experiments.raters import ALL_SETS, WITH_A_PERSON, WITH_AGREED, Query, Way, pairwise
from benchmarks.plans.task_plans import Episode
from megamed.unknown import UNKNOWN_SHARE

MOST = 4
"""Largest number of people who label an image."""
EACH, TOGETHER = "each label shown", "one label of what most of them drew"
BETWEEN = "\n"
"""Mark between the names of several people whose labels of an image are shown as one."""


def annotator_budget(bench: Bench) -> Findings:
    """Measure masks by as many labels as a support may have, of ever fewer images by ever more people each.

    Raises:
        ValueError: If several people drew nothing of the suite, the predictor is no network, or it was trained on all.
    """
    found, details = judge_all(bench, partial(measured, bench.settings.seed), joined)
    scores: dict[Coordinates, list[Score]] = {}
    for panel, some in in_panels(found):
        for measure in (WITH_A_PERSON, WITH_AGREED):
            for way in (EACH, TOGETHER):
                for count in range(1, MOST + 1):
                    if all(name_of(count, way) in each.values[measure] for each in some):
                        place = Coordinates(count, f"{measure}, {way}", panel)
                        scores[place] = scores_of(some, measure, name_of(count, way))
    references = {place: place._replace(x=1) for place in scores}
    return Findings(averaged(scores, references, bench.settings.seed), details)


def in_panels(found: Sequence[JudgedQuery]) -> Iterator[tuple[str, list[JudgedQuery]]]:
    """Yield the queries of each set, and of all if there are several."""
    sets = list(dict.fromkeys(each.dataset for each in found))
    yield from ((name, [each for each in found if each.dataset == name]) for name in sets)
    if len(sets) > 1:
        yield ALL_SETS, list(found)


def name_of(count: int, way: str) -> str:
    """Name of a way of showing the labels of `count` people."""
    return f"{count}, {way}"


def measured(seed: int, reading: TaskReading, draws: Sequence[Episode]) -> Values:
    """Mean Dice of masks with each person and with the agreed label, by the number of people and the way of showing."""
    people = reading.drawings.people.on(draws[0].query.row)
    counts = range(1, min(MOST, len(people)) + 1)
    ways: dict[str, Way] = {name_of(count, EACH): partial(each_label, count) for count in counts}
    ways |= {name_of(count, TOGETHER): partial(one_label, count) for count in counts}
    query = Query.of(reading, draws, seed, ways)
    targets = {WITH_A_PERSON: query.labels, WITH_AGREED: query.agreed[None]}
    return {
        measure: {name: pairwise(query.masks(name), target).mean().item() for name in ways}
        for measure, target in targets.items()
    }


def each_label(count: int, rows: Sequence[int], people: Sequence[str], draw: int) -> list[Shown]:
    """Show the labels of `count` people for each image, who take turns, as many labels in all as there are rows."""
    return [(row, who) for row, names in labelled(count, rows, people, draw) for who in names]


def one_label(count: int, rows: Sequence[int], people: Sequence[str], draw: int) -> list[Shown]:
    """Show one label of the same images, in which the same people have a part."""
    return [(row, BETWEEN.join(sorted(names))) for row, names in labelled(count, rows, people, draw)]


def labelled(
    count: int, rows: Sequence[int], people: Sequence[str], draw: int
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the rows that are labelled if `count` people label each, and the names of these people."""
    for index, row in enumerate(rows[: len(rows) // count]):
        first = draw + count * index
        yield row, tuple(people[(first + further) % len(people)] for further in range(count))


def joined(drawings: Drawings, row: int, who: str) -> Float[Tensor, "1 1 H W"]:
    """Label of what most of some people drew; what half of them drew is unknown."""
    share = torch.stack([drawings.label(row, name) for name in who.split(BETWEEN)]).mean(0)
    return torch.where(share == UNKNOWN_SHARE, share, (share > UNKNOWN_SHARE).float())
