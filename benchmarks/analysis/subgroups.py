"""Scores with intervals by subgroup: modality, anatomy, object size, split, or an attribute of the subjects.

The groups of one predictor are compared as predictors are: on the same resamples of tasks and subjects.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.analysis.statistics import Interval, count_subjects, estimate, interval, resample, subject_means
from benchmarks.plans.suites import ANATOMIES, MODALITIES, OTHER, family
from benchmarks.scoring.results import Row, shared_rows, showing
from megamed import Collection, Task

Grouping = Callable[[Row], str]
"""Function from a row to the name of its group; a row of the empty name belongs to no group."""
Attribute = Mapping[tuple[str, str], str]
"""Mapping of (dataset, subject) → value of one attribute of the subject, as the table states it."""

NUMBER = re.compile(r"-?\d+(\.\d+)?")
UNKNOWN = {"na", "n/a", "nan", "none", "null", "unknown", "-", "?"}
"""Words, in lower case, that say among numbers that a number is not known."""
SIZES = ("small", "medium", "large")
MOST_KINDS = 8
"""Number of distinct values above which a numerical attribute, such as age, is divided into ranges."""


@dataclass(frozen=True)
class Subgroup:
    """Scores of every predictor on one group of rows."""

    name: str
    tasks: int
    subjects: int
    images: int
    scores: dict[str, Interval]
    """Score of each predictor that has one in the group."""


@dataclass(frozen=True)
class Gap:
    """Difference between a predictor's scores on its best and its worst group."""

    best: str
    worst: str
    difference: Interval
    """Best minus worst, of as many subjects as the smaller of both groups has.

    With three groups and more, the interval takes no account of these two having been picked.
    """


@dataclass(frozen=True)
class SubgroupTable:
    """Scores by the groups of one attribute."""

    attribute: str
    groups: tuple[Subgroup, ...]
    gaps: dict[str, Gap]
    """Gap of each predictor between its extreme groups; predictors with scores in one group only are absent."""

    def as_json(self) -> dict[str, Any]:
        """Convert the table to JSON values."""
        return asdict(self) | {"groups": [asdict(group) for group in self.groups]}


def tabulate_runs(
    folders: Sequence[Path],
    by: Sequence[str],
    collection: Path | None = None,
    attributes: Path | None = None,
    seed: int = 0,
) -> list[SubgroupTable]:
    """Score predictors on subgroups, over the predictions that all of them made from the same supports.

    Args:
        folders: Result folders of `incontext-bench run`.
        by: Names of groupings: see `groupings`.
        collection: The collection of the runs, which tells anatomy and split.
        attributes: CSV table of subject attributes: see `read_attributes`.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If a grouping is unknown, or the runs share nothing.
    """
    rows = showing(shared_rows(folders))
    names = list(dict.fromkeys(row.predictor for row in rows))
    source = None if collection is None else Collection(collection)
    found = groupings(by, rows, source, None if attributes is None else read_attributes(attributes))
    return [tabulate(name, grouping, rows, names, seed) for name, grouping in found.items()]


def tabulate(
    attribute: str, grouping: Grouping, rows: Iterable[Row], predictors: Sequence[str], seed: int = 0
) -> SubgroupTable:
    """Score every predictor on every group; rows that belong to no group are left out.

    Args:
        attribute: Name of the grouping, which is the table's.
        grouping: Function that names a row's group; groups of object size keep their order, others are sorted.
        rows: Predictions of at least these predictors.
        predictors: Predictors to report.
        seed: Seed of the bootstrap.
    """
    by_group: dict[str, list[Row]] = {}
    for row in rows:
        if row.predictor in predictors and (name := grouping(row)):
            by_group.setdefault(name, []).append(row)
    names = sorted(by_group, key=lambda name: (SIZES.index(name) if name in SIZES else len(SIZES), name))
    scored = {predictor: _by_group(predictor, by_group, names, seed) for predictor in predictors}
    groups = (
        Subgroup(
            name,
            tasks=len({row.task for row in by_group[name]}),
            subjects=len({(row.dataset, row.subject) for row in by_group[name]}),
            images=len({(row.task, row.case) for row in by_group[name]}),
            scores={predictor: found[name] for predictor, (found, _) in scored.items() if name in found},
        )
        for name in names
    )
    gaps = {predictor: gap for predictor, (_, gap) in scored.items() if gap}
    return SubgroupTable(attribute, tuple(groups), gaps)


def _by_group(
    predictor: str, by_group: Mapping[str, Sequence[Row]], names: Sequence[str], seed: int
) -> tuple[dict[str, Interval], Gap | None]:
    """Scores of one predictor on the groups where it has any, and the gap between the extreme ones."""
    group_of = {row.key: name for name in names for row in by_group[name] if row.predictor == predictor}
    present = [name for name in names if name in set(group_of.values())]
    if not present:
        return {}, None
    own = (row for name in present for row in by_group[name] if row.predictor == predictor)
    scores = list(subject_means(own, present, column=lambda row: group_of[row.key]).values())
    means, resampled = estimate(scores), resample(scores, seed)
    found = {
        name: replace(interval(means[index], resampled[:, index]), subjects=subjects)
        for index, (name, subjects) in enumerate(zip(present, count_subjects(scores), strict=True))
    }
    if len(present) == 1:
        return found, None
    best, worst = int(means.argmax()), int(means.argmin())
    difference = interval(means[best] - means[worst], resampled[:, best] - resampled[:, worst])
    least = min(found[present[best]].subjects, found[present[worst]].subjects)
    return found, Gap(present[best], present[worst], replace(difference, subjects=least))


def groupings(
    names: Sequence[str],
    rows: Sequence[Row],
    collection: Collection | None = None,
    attributes: Mapping[str, Attribute] | None = None,
) -> dict[str, Grouping]:
    """Groupings by name: `size`, `size-in-task`, `modality`, `anatomy`, `split`, or an attribute of the subjects.

    Raises:
        ValueError: If a name is none of these, or needs a collection (`anatomy`, `split`) and none is given, or the
            attributes are of no subject of the rows.
    """
    described = {who for values in (attributes or {}).values() for who in values}
    people = {(row.dataset, row.subject) for row in rows}
    if described and people and not described & people:
        (got, person), (dataset, subject) = min(described), min(people)
        msg = (
            f"The table of attributes describes no subject of the runs: expected some such as {subject} of {dataset}, "
            f"got others such as {person} of {got}. Write both as the runs do."
        )
        raise ValueError(msg)
    known: dict[str, Callable[[], Grouping]] = {
        "size": partial(by_size, rows),
        "size-in-task": partial(by_size_in_task, rows),
        "modality": lambda: by_modality,
    }
    if collection is not None:
        known |= {"anatomy": partial(by_anatomy, collection), "split": partial(by_split, collection, rows)}
    for name, values in (attributes or {}).items():
        if name in known:
            msg = f"The table of attributes has a column {name!r}, by which images are grouped anyway. Rename it."
            raise ValueError(msg)
        known[name] = partial(by_attribute, by_range(values))
    if strange := [name for name in names if name not in known]:
        msg = (
            f"Unknown attribute: expected one of {', '.join(known)}, got {strange[0]!r}. "
            "Anatomy and split need --collection, an attribute of subjects --attributes."
        )
        raise ValueError(msg)
    return {name: known[name]() for name in names}


def by_modality(row: Row) -> str:
    """Family of the modality of a row's task, one of `MODALITIES` or `OTHER`."""
    return family(Task.from_id(row.task).modality, MODALITIES)


def by_anatomy(collection: Collection) -> Grouping:
    """Group rows by the family of the anatomy that the card of their dataset states."""
    known = {dataset: family(collection.card(dataset).anatomy, ANATOMIES) for dataset in collection.datasets}
    return lambda row: known.get(row.dataset, OTHER)


def by_size(rows: Iterable[Row]) -> Grouping:
    """Group rows into thirds of the images: those with the smallest, medium and largest objects, by label area."""
    areas = {(row.task, row.case): row.label_px for row in rows}
    low, high = np.quantile(list(areas.values()), [1 / 3, 2 / 3])
    return lambda row: _size(row, low, high)


def by_size_in_task(rows: Iterable[Row]) -> Grouping:
    """Group rows into thirds of the images of their own task, so that every task has a part in each group.

    Rows of a task with fewer than three different areas belong to no group.
    """
    areas: dict[str, dict[str, int]] = {}
    for row in rows:
        areas.setdefault(row.task, {})[row.case] = row.label_px
    ends = {
        task: np.quantile(list(by_case.values()), [1 / 3, 2 / 3])
        for task, by_case in areas.items()
        if len({*by_case.values()}) >= len(SIZES)
    }
    return lambda row: _size(row, *ends[row.task]) if row.task in ends else ""


def _size(row: Row, low: float, high: float) -> str:
    """Group of a row between the area up to which objects are small and that above which they are large."""
    return SIZES[int(row.label_px > low) + int(row.label_px > high)]


def by_split(collection: Collection, rows: Iterable[Row]) -> Grouping:
    """Group rows by the split, train, val or test, that their subject is in."""
    tasks = {Task.from_id(name) for name in sorted({row.task for row in rows})}
    splits = {(task.id, each.subject): each.split for task in tasks for each in collection.samples(task)}
    return lambda row: splits.get((row.task, row.subject), "")


def by_attribute(known: Attribute) -> Grouping:
    """Group rows by an attribute of their subject; rows whose subject lacks it belong to no group."""
    return lambda row: known.get((row.dataset, row.subject), "")


def read_attributes(path: Path) -> dict[str, Attribute]:
    """Read a CSV table with the columns `dataset`, `subject`, and one per attribute, such as `sex`.

    Raises:
        ValueError: If it is no text, a column is missing or there twice, a line is longer than the first, or a subject
            has two lines.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is no table of subjects: expected UTF-8, got the byte {error.object[error.start]:#04x}."
        raise ValueError(msg) from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = list(reader.fieldnames or ())
    if not {"dataset", "subject"} < set(columns) or len(set(columns)) < len(columns):
        msg = (
            f"{path} is no table of subjects: expected columns dataset, subject and an attribute, separated by commas "
            f"and each of its own name, got {columns}. Mend its first line."
        )
        raise ValueError(msg)
    lines = []
    for line in reader:
        if None in line:
            got = len(columns) + len(line[None])
            msg = (
                f"{path} is no table in line {reader.line_num}: expected {len(columns)} cells, got {got}. "
                "Put a cell that holds a comma in quotes."
            )
            raise ValueError(msg)
        lines.append(line)
    people = {(line["dataset"], line["subject"]): line for line in lines}
    if len(people) < len(lines):
        msg = (
            f"{path} repeats a subject: expected {len(lines)} different ones, got {len(people)}. Keep one line of each."
        )
        raise ValueError(msg)
    attributes = [column for column in columns if column not in ("dataset", "subject")]
    return {name: {who: (line[name] or "").strip() for who, line in people.items()} for name in attributes}


def by_range(values: Attribute) -> Attribute:
    """Divide an attribute of many numbers, some of which may be `UNKNOWN`, into three ranges; leave any other."""
    known = {who: text for who, text in values.items() if text and text.lower() not in UNKNOWN}
    kinds = {*known.values()}
    if len(kinds) <= MOST_KINDS or not all(NUMBER.fullmatch(text) for text in kinds):
        return values
    return by_quantile(known)


def by_quantile(values: Attribute) -> Attribute:
    """Turn numbers, such as ages, into three ranges with equally many subjects, as in `20–35`.

    Raises:
        ValueError: If a value is no number.
    """
    numbers = {who: float(text) for who, text in values.items() if text}
    if not numbers:
        return {}
    edges = np.quantile(list(numbers.values()), [0, 1 / 3, 2 / 3, 1])
    names = [f"{low:g}–{high:g}" for low, high in pairwise(edges)]
    return {who: names[int(np.searchsorted(edges[1:-1], number))] for who, number in numbers.items()}
