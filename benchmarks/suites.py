"""What is scored: the tasks of a named suite and, by hash alone, the queries and support sets of each."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from megamed import Collection, Sample, Task
from megamed.schema import Role

SUITES: dict[str, tuple[Role, ...]] = {"heldout": ("heldout",), "dev": ("dev",)}
"""Suite name → the dataset roles whose tasks it holds."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides which numbers come out; the device and the batch size do not."""

    suite: str = "heldout"
    """A key of `SUITES`."""
    support_size: int = 16
    """Labelled examples per query; fewer where a task has fewer."""
    draws: int = 5
    """Support sets drawn per query."""
    queries: int = 40
    """Most query images per task, spread over its subjects."""
    seed: int = 0
    """Seed of the choice of queries, supports and bootstrap resamples."""

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            msg = f"Unknown suite: expected one of {', '.join(SUITES)}, got {self.suite!r}."
            raise ValueError(msg)
        for name in ("support_size", "draws", "queries"):
            if getattr(self, name) < 1:
                msg = f"{name} is too small: expected at least 1, got {getattr(self, name)}."
                raise ValueError(msg)


@dataclass(frozen=True)
class Episode:
    """One query with one drawn support set."""

    query: Sample
    draw: int
    support: tuple[Sample, ...]

    @property
    def support_hash(self) -> str:
        """Eight hex digits that name the support's cases, in order."""
        return f"{stable_hash(*(sample.case for sample in self.support)):016x}"[:8]


@dataclass(frozen=True)
class TaskPlan:
    """A task and all its episodes."""

    task: Task
    episodes: tuple[Episode, ...]


def stable_hash(*parts: object) -> int:
    """A 64-bit hash of the parts' text, equal on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def plan_suite(collection: Collection, settings: Settings) -> tuple[list[TaskPlan], dict[str, str]]:
    """Lay down every episode of a suite before anything is predicted.

    A suite's datasets are unseen as a whole, so every subject of theirs may be a query, whatever its split.

    Returns:
        The plans, sorted by task id, and the skipped task ids with the reason.

    Raises:
        ValueError: If the collection holds no task of the suite, or none with two subjects.
    """
    plans: list[TaskPlan] = []
    skipped: dict[str, str] = {}
    for task in collection.tasks(roles=SUITES[settings.suite]):
        samples = collection.samples(task)
        subjects = len({sample.subject for sample in samples})
        if subjects < 2:
            skipped[task.id] = f"needs 2 labelled subjects, has {subjects}"
        else:
            plans.append(plan_task(task, samples, settings))
    if not plans:
        msg = (
            f"The collection has no task of suite {settings.suite!r}: expected a dataset of role "
            f"{' or '.join(SUITES[settings.suite])} with two subjects, got {', '.join(collection.datasets)}."
        )
        raise ValueError(msg)
    return plans, skipped


def plan_task(task: Task, samples: Sequence[Sample], settings: Settings) -> TaskPlan:
    """Choose a task's queries and draw a support set for each, seeded by (seed, draw, task, query)."""
    episodes = []
    queries = choose_queries(samples, task.id, settings)
    for draw in range(settings.draws):
        for query in queries:
            rng = np.random.default_rng(stable_hash(settings.seed, draw, task.id, query.case))
            episodes.append(Episode(query, draw, draw_support(samples, query, settings.support_size, rng)))
    return TaskPlan(task, tuple(episodes))


def choose_queries(samples: Iterable[Sample], task_id: str, settings: Settings) -> list[Sample]:
    """The first samples in hash order, every subject's first before any second; new data shuffles nothing."""

    def by_hash(sample: Sample) -> tuple[int, int]:
        subject = stable_hash(settings.seed, task_id, sample.subject)
        return subject, stable_hash(settings.seed, task_id, sample.subject, sample.case)

    return round_robin(sorted(samples, key=by_hash))[: settings.queries]


def draw_support(samples: Iterable[Sample], query: Sample, size: int, rng: np.random.Generator) -> tuple[Sample, ...]:
    """Draw examples of other subjects than the query's, without replacement, distinct subjects first."""
    others = sorted((sample for sample in samples if sample.subject != query.subject), key=lambda sample: sample.case)
    return tuple(round_robin([others[i] for i in rng.permutation(len(others))])[:size])


def round_robin(samples: Sequence[Sample]) -> list[Sample]:
    """Reorder: the first sample of every subject, then the second of every subject, and so on."""
    seen: Counter[str] = Counter()
    turns = []
    for sample in samples:
        turns.append(seen[sample.subject])
        seen[sample.subject] += 1
    return [samples[i] for i in sorted(range(len(samples)), key=turns.__getitem__)]


def plan_hash(plans: Iterable[TaskPlan]) -> str:
    """Sixteen hex digits that name every query and support of a plan: equal hashes, equal benchmark."""
    parts = (
        (plan.task.id, episode.draw, episode.query.case, episode.support_hash)
        for plan in plans
        for episode in plan.episodes
    )
    return f"{stable_hash(*parts):016x}"
