"""The experiment on fairness: how much worse is it for small objects, for one modality or for what one person drew?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.analysis.statistics import Interval
from benchmarks.analysis.subgroups import Grouping, SubgroupTable, groupings, tabulate
from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.experiments.scoring import Condition, score
from benchmarks.plans.task_plans import plan_suite
from benchmarks.run import Store
from benchmarks.scoring.results import Row, showing
from megamed import Task
from megamed.annotators import person_of
from megamed.schema import ANNOTATOR_MARK

ATTRIBUTES = {"size-in-task": "size within a task", "modality": "modality", "anatomy": "anatomy"}
"""Titles of the panels by the grouping that each shows."""


def fairness(bench: Bench) -> Findings:
    """Score groups of images, tasks and people, and the gap between the best and the worst of each kind.

    Where several people drew, each has a task of their own, with examples by that person.

    Raises:
        ValueError: If a predictor has no score at all.
        OSError: If a worker dies.
    """
    plans = plan_suite(bench.collection, bench.settings)[0]
    conditions = [Condition(Coordinates("all", name), name, plans) for name in bench.options.predictors]
    whole = score(bench, conditions)
    names = {each.name: each.predictor for each in conditions}
    rows = [replace(row, predictor=names[row.predictor]) for row in showing(Store.open(bench.out).rows())]
    tables = [
        tabulate(title, grouping, rows, bench.options.predictors, bench.settings.seed)
        for title, grouping in grouped(bench, rows)
    ]
    return Findings([*whole.points, *(point for table in tables for point in points_of(table))], whole.details)


def grouped(bench: Bench, rows: Sequence[Row]) -> Iterator[tuple[str, Grouping]]:
    """Yield groupings of the rows with their titles; people of each dataset have one of their own."""
    known = groupings(list(ATTRIBUTES), rows, bench.collection)
    yield from ((title, known[name]) for name, title in ATTRIBUTES.items())
    for dataset in dict.fromkeys(row.dataset for row in rows if rater_of(row)):
        yield f"person, {dataset}", partial(person_in, dataset)


def person_in(dataset: str, row: Row) -> str:
    """Person who drew the label of a row's task; empty if it is what all agreed on, or is of another dataset."""
    return rater_of(row) if row.dataset == dataset else ""


def rater_of(row: Row) -> str:
    """Person who drew the label of a row's task; empty if it is what all agreed on."""
    _, mark, annotator = Task.from_id(row.task).label.partition(ANNOTATOR_MARK)
    return person_of(annotator) if mark else ""


def points_of(table: SubgroupTable) -> Iterator[Point]:
    """Yield a point for each group and predictor; the worst group is compared with the best."""
    for group in table.groups:
        for name, value in group.scores.items():
            place = Coordinates(group.name, name, table.attribute)
            about = f"{group.images} image{'' if group.images == 1 else 's'}"
            point = Point(place, value, about=about, tasks=group.tasks)
            gap = table.gaps.get(name)
            if gap is not None and gap.worst == group.name:
                gain = gap.difference
                below = Interval(-gain.mean, -gain.high, -gain.low, gain.subjects)
                point = replace(point, reference=place._replace(x=gap.best), difference=below)
            yield point
