"""Plans of tasks: their queries and support sets, drawn by hashes, so that no order or machine can change them."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.plans.suites import SUITES, consensus, of_distinct_people
from megamed import Collection, Sample, Task
from megamed.schema import ANNOTATOR_MARK

QUERY_SUBJECTS = ("all", "test")
"""Choices of the subjects that may be queries: all, or those of the test split."""
SUPPORTS = ("per-query", "shared")
"""Choices of sharing: each draw is the support of one query, or of all queries of a task."""
DATASETS_NAMED = 5
"""Maximum number of datasets that an error message names."""
TEST_SHARE = 0.2
"""Share of a task's subjects to hold out where the test split does not."""


@dataclass(frozen=True)
class Settings:
    """Settings that decide the scores; device and batch size do not, hence are no part of them."""

    suite: str = "heldout"
    """Name of the suite, a key of `SUITES`."""
    support_size: int = 16
    """Number of labelled examples per query; fewer where a task has fewer."""
    draws: int = 5
    """Number of support sets drawn per query."""
    queries: int = 40
    """Maximum number of query images per task, spread over its subjects."""
    seed: int = 0
    """Seed of the choice of queries, supports and bootstrap resamples."""
    query_subjects: str = "all"
    """`all`: any subject may be a query, and all others its support. `test`: queries are of test subjects, and their
    support is of subjects that are not."""
    ensemble: int = 1
    """Number of consecutive draws of a query whose mean probability is scored, too; 1 for single draws alone."""
    supports: str = "per-query"
    """`per-query`: each query has draws of its own, which averages over supports. `shared`: all queries of a task have
    the support of a draw in common, as have those of a person who annotated once."""
    absent: int = 0
    """Maximum number of further queries per task that lack the structure, to count false alarms; they have no part in
    Dice."""

    def __post_init__(self) -> None:
        names = (
            ("suite", self.suite, SUITES),
            ("query subjects", self.query_subjects, QUERY_SUBJECTS),
            ("supports", self.supports, SUPPORTS),
        )
        for what, name, known in names:
            if name not in known:
                msg = f"Unknown {what}: expected one of {', '.join(known)}, got {name!r}."
                raise ValueError(msg)
        for name in ("support_size", "draws", "queries", "ensemble"):
            if getattr(self, name) < 1:
                msg = f"{name} is too small: expected at least 1, got {getattr(self, name)}."
                raise ValueError(msg)
        for name in ("seed", "absent"):
            if getattr(self, name) < 0:
                msg = f"{name} is too small: expected at least 0, got {getattr(self, name)}."
                raise ValueError(msg)
        if self.draws % self.ensemble:
            msg = (
                f"draws do not make whole ensembles: expected a multiple of {self.ensemble}, got {self.draws}. "
                f"Use --draws {self.ensemble * math.ceil(self.draws / self.ensemble)}."
            )
            raise ValueError(msg)
        if self.supports == "shared" and self.query_subjects != "test":
            msg = (
                f"A shared support may be of a query's subject: expected queries of test subjects, got those of "
                f"{self.query_subjects}. Use --query-subjects test."
            )
            raise ValueError(msg)


def stated(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values; one that lists and runs of earlier versions lack is left out at its default."""
    return {name: value for name, value in asdict(settings).items() if name != "absent" or value}


DEFAULTS: dict[str, Any] = asdict(Settings())
"""Values of the settings that a results folder does not state because it was made before they existed."""


@dataclass(frozen=True)
class Episode:
    """One query with one drawn support set."""

    query: Sample
    draw: int
    support: tuple[Sample, ...]

    @property
    def support_hash(self) -> str:
        """Eight hex digits that name the support's cases, in order."""
        return support_hash([self])


@dataclass(frozen=True)
class TaskPlan:
    """A task and all its episodes."""

    task: Task
    episodes: tuple[Episode, ...]
    ensemble: int = 1
    """Number of draws of one query whose probabilities are averaged."""
    annotators: Mapping[int, tuple[Task, ...]] = field(default_factory=dict)
    """Mapping of a query's row → tasks that hold each annotator's label of it; see `with_annotators`."""

    @property
    def groups(self) -> list[tuple[Episode, ...]]:
        """Episodes grouped by query and, within a query, by ensemble of consecutive draws.

        In a plan with annotators, all draws of a query are one group, to be compared with all annotations at once.
        """
        groups: dict[tuple[int, str], list[Episode]] = defaultdict(list)
        for episode in self.episodes:
            groups[0 if self.annotators else episode.draw // self.ensemble, episode.query.case].append(episode)
        return [tuple(group) for group in groups.values()]


def support_hash(episodes: Iterable[Episode]) -> str:
    """Eight hex digits that name the cases in the supports of some episodes, in order."""
    return hash_of_cases(sample.case for episode in episodes for sample in episode.support)


def hash_of_cases(cases: Iterable[str]) -> str:
    """Eight hex digits that name cases, in order."""
    return f"{stable_hash(*cases):016x}"[:8]


def stable_hash(*parts: object) -> int:
    """Hash the text of some parts to 64 bits, equally on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def plan_suite(
    collection: Collection, settings: Settings, datasets: Sequence[str] = ()
) -> tuple[list[TaskPlan], dict[str, str]]:
    """Plan every episode of a suite before anything is predicted.

    The datasets of a suite are unseen as a whole, so any of their subjects may be a query unless settings forbid it.

    Args:
        collection: The collection.
        settings: Settings that decide the episodes.
        datasets: Ids of the datasets to ask about; by default all of the suite.

    Returns:
        The plans, sorted by task id, and the skipped task ids with the reason.

    Raises:
        ValueError: If the collection holds no task of the suite, or none with two subjects, or lacks a dataset.
    """
    plans: list[TaskPlan] = []
    skipped: dict[str, str] = {}
    suite = SUITES[settings.suite]
    wanted = {task.id for task in collection.tasks(list(datasets))} if datasets else None
    for task in suite.tasks(collection):
        if wanted is not None and task.id not in wanted:
            continue
        samples = collection.samples(task)
        subjects = len({sample.subject for sample in samples})
        if subjects < suite.minimum_subjects:
            skipped[task.id] = f"needs {suite.minimum_subjects} labelled subjects, has {subjects}"
        else:
            plans.append(plan_task(task, samples, settings, lacking(collection, task) if settings.absent else ()))
    if not plans:
        named, others = collection.datasets[:DATASETS_NAMED], collection.datasets[DATASETS_NAMED:]
        msg = (
            f"The collection has no task of suite {settings.suite!r}: expected {suite} and "
            f"{suite.minimum_subjects} labelled subjects, got {', '.join(named)}"
            f"{f' and {len(others)} more datasets' if others else ''}. Name another by --suite: `all` asks for no role."
        )
        raise ValueError(msg)
    return plans, skipped


def lacking(collection: Collection, task: Task) -> list[Sample]:
    """List the rows on which a task's label is known to be absent, with no pixel that nobody judged."""
    known = (collection.areas(task) == 0) & (collection.unknown_areas(task) == 0)
    return [each for each in collection.rows(task) if known[each.row]]


def plan_task(task: Task, samples: Sequence[Sample], settings: Settings, without: Sequence[Sample] = ()) -> TaskPlan:
    """Choose a task's queries and draw supports, seeded by (seed, draw, task), and by the query if each has its own.

    Args:
        task: The task.
        samples: Samples of the task, of which queries and supports are chosen.
        settings: Settings that decide the choice.
        without: Samples that lack the structure, of which further queries are chosen; no choice among `samples`
            depends on them.
    """
    episodes = []
    asking = showing = samples
    if settings.query_subjects == "test":
        held_out = held_out_subjects(task.dataset, samples)
        asking = [sample for sample in samples if sample.subject in held_out]
        showing = [sample for sample in samples if sample.subject not in held_out]
    queries = choose_queries(asking, task.id, settings)
    shown = {sample.subject for sample in showing} if settings.query_subjects == "test" else set()
    further = [sample for sample in without if sample.subject not in shown]
    queries += choose_queries(further, task.id, replace(settings, queries=settings.absent)) if further else []
    for draw in range(settings.draws):
        for query in queries:
            own = (query.case,) if settings.supports == "per-query" else ()
            rng = np.random.default_rng(stable_hash(settings.seed, draw, task.id, *own))
            episodes.append(Episode(query, draw, draw_support(showing, query, settings.support_size, rng)))
    return TaskPlan(task, tuple(episodes), settings.ensemble)


def held_out_subjects(dataset: str, samples: Iterable[Sample]) -> set[str]:
    """Subjects of a task that are in the test split.

    A small task may have none there, or all: then they are a fifth of its subjects, the first by hash, for any seed.
    """
    subjects = {sample.subject for sample in samples}
    test = {sample.subject for sample in samples if sample.split == "test"}
    if test and test != subjects:
        return test
    by_hash = sorted(subjects, key=lambda subject: stable_hash(dataset, subject))
    return set(by_hash[: math.ceil(TEST_SHARE * len(subjects))])


def choose_queries(samples: Iterable[Sample], task_id: str, settings: Settings) -> list[Sample]:
    """Choose the first samples in hash order, one of every subject before a second; new data changes no order."""

    def by_hash(sample: Sample) -> tuple[int, int]:
        subject = stable_hash(settings.seed, task_id, sample.subject)
        return subject, stable_hash(settings.seed, task_id, sample.subject, sample.case)

    return round_robin(sorted(samples, key=by_hash))[: settings.queries]


def draw_support(samples: Iterable[Sample], query: Sample, size: int, rng: np.random.Generator) -> tuple[Sample, ...]:
    """Draw examples of other subjects than the query's, without replacement, distinct subjects first."""
    others = sorted((sample for sample in samples if sample.subject != query.subject), key=lambda sample: sample.case)
    return tuple(round_robin([others[i] for i in rng.permutation(len(others))])[:size])


def round_robin(samples: Sequence[Sample]) -> list[Sample]:
    """Sort samples in turns: the first of every subject, then the second of every subject, and so on."""
    seen: Counter[str] = Counter()
    turns = []
    for sample in samples:
        turns.append(seen[sample.subject])
        seen[sample.subject] += 1
    return [samples[i] for i in sorted(range(len(samples)), key=turns.__getitem__)]


def with_annotators(collection: Collection, plans: Iterable[TaskPlan]) -> list[TaskPlan]:
    """Add to plans of consensus tasks the tasks of their annotators, for queries that two or more of them annotated."""
    plans = list(plans)
    drawn: dict[str, list[Task]] = defaultdict(list)
    for task in collection.tasks(sorted({plan.task.dataset for plan in plans})):
        if ANNOTATOR_MARK in task.label:
            drawn[consensus(task)].append(task)
    return [replace(plan, annotators=_annotators(collection, plan, drawn[plan.task.id])) for plan in plans]


def _annotators(collection: Collection, plan: TaskPlan, tasks: Sequence[Task]) -> dict[int, tuple[Task, ...]]:
    known = {task: collection.areas(task) >= 0 for task in tasks}
    rows = {episode.query.row for episode in plan.episodes if episode.query.area_px}
    by_row = {row: of_distinct_people(task for task in tasks if known[task][row]) for row in sorted(rows)}
    return {row: tasks for row, tasks in by_row.items() if len(tasks) > 1}


def plan_hash(plans: Iterable[TaskPlan]) -> str:
    """Sixteen hex digits that name every query, support and ensemble of a plan: equal hashes, equal benchmark."""
    parts = (
        (plan.task.id, plan.ensemble, episode.draw, episode.query.case, episode.support_hash)
        for plan in plans
        for episode in plan.episodes
    )
    return f"{stable_hash(*parts):016x}"
