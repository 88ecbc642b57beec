"""The experiment on images that several people drew: is a network one of them, and unsure where they disagree?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from statistics import fmean

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.drawn_tasks import AGREED, JudgedQuery, Shown, TaskReading, Values, judge_all, scores_of
from benchmarks.plans.task_plans import Episode, stable_hash
from benchmarks.scoring.calibration_metrics import measure_candidates
from benchmarks.scoring.disagreement import near_border, unsure_where_people_disagree
from benchmarks.scoring.metrics import contours
from incontext.inference.uncertainty import binary_entropy
from incontext.networks.distance import distance_transform
from incontext.networks.measures import dice
from incontext.networks.unknown import judged

BAND_SHARE = 3 / 128
"""Width of the band on either side of a border, as a share of the side of the image."""
ALL_SETS = "all sets"

Way = Callable[[Sequence[int], Sequence[str], int], list[Shown]]
"""Function from the rows of a support, people in some order and the index of a draw to the labelled images to show."""


def one_person(rows: Sequence[int], people: Sequence[str], draw: int) -> list[Shown]:
    """Show one person's labels, in every draw those of the next."""
    return [(row, people[draw % len(people)]) for row in rows]


def agreed(rows: Sequence[int], people: Sequence[str], draw: int) -> list[Shown]:
    """Show what all agreed on."""
    return [(row, AGREED) for row in rows]


def mixed(rows: Sequence[int], people: Sequence[str], draw: int) -> list[Shown]:
    """Show of each image the label of the next person."""
    return [(row, people[(draw + index) % len(people)]) for index, row in enumerate(rows)]


def halved(rows: Sequence[int], people: Sequence[str], draw: int) -> list[Shown]:
    """Show two people's labels of the first half of the images, as many labels in all."""
    two = [people[(draw + index) % len(people)] for index in range(2)]
    return [(row, who) for row in rows[: (len(rows) + 1) // 2] for who in two]


ONE, MAJORITY, MIXED, HALVED = (
    "labels by one person", "agreed labels", "each label by another person", "half as many images, by two people each",
)  # fmt: skip
WAYS: dict[str, Way] = {ONE: one_person, MAJORITY: agreed, MIXED: mixed, HALVED: halved}
"""Ways to label a support, by name."""

WITH_A_PERSON, PEOPLE = "Dice with a person", "people"
THAT, ANOTHER = f"{ONE}, Dice with that one", f"{ONE}, Dice with another"
BUDGET = "Dice with a person, for as many labels"
WITH_AGREED, EACH_PERSON, AGREED_LABEL = "Dice with the agreed label", "Dice with each person", "the agreed label"
ENERGY, CRPS = "energy distance", "CRPS of the area, of the mean area"
AUC, AUC_NEAR = "unsure where people disagree: AUC", "the same within 3/128 of the border: AUC"
CORRELATION = "correlation of uncertainty and disagreement"
SINGLE, RESAMPLED, SUPPORTS, BY_PEOPLE, BORDER = (
    "one prediction", "resampled examples", "several supports", "several supports, by a person each",
    "nearness to the mask's border",
)  # fmt: skip
DRAWN = (WITH_A_PERSON, AUC, AUC_NEAR)
"""Measures that the figure shows, each in a panel of its own; the table has them all."""
REFERENCES = {
    WITH_A_PERSON: (WITH_A_PERSON, PEOPLE),
    BUDGET: (BUDGET, MIXED),
    WITH_AGREED: (WITH_AGREED, PEOPLE),
    EACH_PERSON: (WITH_A_PERSON, MAJORITY),
    **{measure: (measure, AGREED_LABEL) for measure in (ENERGY, CRPS)},
    **{measure: (measure, BORDER) for measure in (AUC, AUC_NEAR, CORRELATION)},
}
"""Measure and name of what those of a measure are compared with."""


def raters(bench: Bench) -> Findings:
    """Measure agreement with each of several people and with all, and whether what is uncertain is what they dispute.

    Raises:
        ValueError: If several people drew nothing of the suite, the predictor is no network, or it was trained on all.
    """
    found, details = judge_all(bench, partial(measured, bench.settings.seed))
    return Findings(averaged(*compared(found), bench.settings.seed), details)


@dataclass(frozen=True)
class Query:
    """Labels of an image by several people, and what was found, on the pixels that all of them judged."""

    people: Sequence[str]
    """Names of those who drew, in an order in which everybody may be the first."""
    labels: Bool[Tensor, "A H W"]
    agreed: Bool[Tensor, "H W"]
    known: Bool[Tensor, "H W"]
    found: Mapping[str, Float[Tensor, "K H W"]]
    """Probabilities of each draw, by the way of labelling."""

    @classmethod
    def of(cls, reading: TaskReading, draws: Sequence[Episode], seed: int, ways: Mapping[str, Way] = WAYS) -> "Query":
        """Ask about an image by every way of labelling its supports."""
        drawings, row = reading.drawings, draws[0].query.row
        people = sorted(drawings.people.on(row), key=lambda name: stable_hash(seed, draws[0].query.case, name))
        found = {
            name: torch.stack([reading.probabilities(row, way(rows_of(each), people, each.draw)) for each in draws])
            for name, way in ways.items()
        }
        labels = torch.cat([drawings.label(row, who)[0] for who in people])
        consensus = drawings.label(row, AGREED)[0, 0]
        known = judged(labels).all(0) & judged(consensus)
        return cls(people, (labels == 1) & known, (consensus == 1) & known, known, found)

    def masks(self, way: str) -> Bool[Tensor, "K H W"]:
        """Masks of each draw, at probability 0.5."""
        return (self.found[way] >= 0.5) & self.known


def rows_of(episode: Episode) -> list[int]:
    """Rows of the images of a support."""
    return [sample.row for sample in episode.support]


def measured(seed: int, reading: TaskReading, draws: Sequence[Episode]) -> Values:
    """All measures of one query."""
    query = Query.of(reading, draws, seed)
    resampled = reading.uncertainty(draws[0].query.row, agreed(rows_of(draws[0]), query.people, draws[0].draw), seed)
    among_people = pairwise(query.masks(MAJORITY), query.labels).mean(0)
    return {
        **with_a_person(query, [episode.draw for episode in draws]),
        WITH_AGREED: with_agreed(query),
        EACH_PERSON: dict(zip(query.people, among_people.tolist(), strict=True)),
        **with_all(query),
        **unsure(query, resampled),
    }


def pairwise(masks: Bool[Tensor, "K H W"], labels: Bool[Tensor, "A H W"]) -> Float[Tensor, "K A"]:
    """Dice of each mask with each label."""
    return dice(*torch.broadcast_tensors(masks[:, None], labels[None]))


def with_a_person(query: Query, draws: Sequence[int]) -> Values:
    """Mean Dice of masks, and of people, with a person: with the one whose labels were shown, with another, or any."""
    among = pairwise(query.labels, query.labels)
    pairs = [among[a, b].item() for a, b in combinations(range(len(query.people)), 2)]
    own = torch.zeros(len(draws), len(query.people), dtype=torch.bool)
    own[range(len(draws)), [draw % len(query.people) for draw in draws]] = True
    scores = pairwise(query.masks(ONE), query.labels).cpu()
    means = {way: pairwise(query.masks(way), query.labels).mean().item() for way in WAYS}
    by_one = {THAT: scores[own].mean().item(), ANOTHER: scores[~own].mean().item()}
    return {
        WITH_A_PERSON: {PEOPLE: fmean(pairs), **by_one, **{way: means[way] for way in (MAJORITY, MIXED)}},
        BUDGET: {way: means[way] for way in (MIXED, HALVED)},
    }


def with_agreed(query: Query) -> dict[str, float]:
    """Mean Dice with the agreed label: of people, of masks, and of the mean probability over people's supports."""
    target = query.agreed[None]
    together = ((query.found[ONE].mean(0) >= 0.5) & query.known)[None]
    return {
        PEOPLE: pairwise(query.labels, target).mean().item(),
        **{way: pairwise(query.masks(way), target).mean().item() for way in (ONE, MAJORITY, MIXED)},
        BY_PEOPLE: pairwise(together, target).item(),
    }


def with_all(query: Query) -> Values:
    """Agreement of all draws with all people, and of the agreed label by itself, which is a good single answer."""
    area = query.labels.sum((1, 2)).float().mean().item()
    candidates = {AGREED_LABEL: query.agreed[None]} | {way: query.masks(way) for way in (ONE, MAJORITY, MIXED)}
    found = {name: measure_candidates(masks[None], query.labels[None]) for name, masks in candidates.items()}
    return {
        ENERGY: {name: values["energy_distance"].item() for name, values in found.items()},
        CRPS: {name: values["area_crps_px"].item() / area for name, values in found.items() if area},
    }


def unsure(query: Query, resampled: Float[Tensor, "H W"]) -> Values:
    """Whether maps of uncertainty are high where people disagree, on all pixels and near the agreed border."""
    band = query.known & near_border(query.agreed, max(1, round(BAND_SHARE * query.agreed.shape[-1])))
    values: Values = {AUC: {}, AUC_NEAR: {}, CORRELATION: {}}
    for name, uncertainty in maps_of(query, resampled):
        everywhere, related = unsure_where_people_disagree(uncertainty, query.labels, query.known)
        near, _ = unsure_where_people_disagree(uncertainty, query.labels, band)
        for measure, value in ((AUC, everywhere), (AUC_NEAR, near), (CORRELATION, related)):
            if value is not None:
                values[measure][name] = value
    return values


def maps_of(query: Query, resampled: Float[Tensor, "H W"]) -> Iterator[tuple[str, Float[Tensor, "H W"]]]:
    """Yield maps of uncertainty by name, and one that knows no more than the mask."""
    first = query.found[MAJORITY][0]
    yield SINGLE, binary_entropy(first)
    yield RESAMPLED, resampled
    yield SUPPORTS, binary_entropy(query.found[MAJORITY].mean(0))
    yield BY_PEOPLE, binary_entropy(query.found[ONE].mean(0))
    edge = contours((first >= 0.5)[None, None])
    if edge.any():
        yield BORDER, -distance_transform(edge[0])[0]


def compared(found: Sequence[JudgedQuery]) -> tuple[dict[Coordinates, list[Score]], dict[Coordinates, Coordinates]]:
    """Gather the scores of each point, of each set and of all, and the point that each is compared with."""
    names = dict.fromkeys((what, name) for each in found for what, values in each.values.items() for name in values)
    sets = list(dict.fromkeys(each.dataset for each in found))
    scores, references = {}, {}
    for measure, name in names:
        # People of one name in two sets are not one person.
        several = [ALL_SETS] if len(sets) > 1 and measure != EACH_PERSON else []
        for where in (*sets, *several):
            if own := scores_of([each for each in found if where in (each.dataset, ALL_SETS)], measure, name):
                place = place_of(where, measure, name)
                scores[place], references[place] = own, place_of(where, *REFERENCES[measure])
    return scores, {place: other for place, other in references.items() if other in scores}


def place_of(where: str, measure: str, name: str) -> Coordinates:
    """Point of a measure on a set: in a panel of its own if the figure shows it."""
    return Coordinates(where, name, measure) if measure in DRAWN else Coordinates(where, f"{measure}: {name}")
