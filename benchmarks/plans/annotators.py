"""People who drew the label of a task: which of them drew which image, and plans that ask about what several drew."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.plans.suites import consensus
from benchmarks.plans.task_plans import Episode, TaskPlan
from megamed import Collection, Task
from megamed.annotators import person_of
from megamed.schema import ANNOTATOR_MARK


@dataclass(frozen=True)
class Annotators:
    """People who drew a task's label."""

    drawn: dict[str, dict[int, Task]]
    """Mapping of a person's name → row of an image → task that holds what the person drew on it."""

    @classmethod
    def of(cls, collection: Collection, task: Task) -> "Annotators":
        """Look up who drew what; of what one person drew on an image with several tools, the first by name counts."""
        drawn: dict[str, dict[int, Task]] = defaultdict(dict)
        for other in collection.tasks([task.dataset]):
            _, mark, annotator = other.label.partition(ANNOTATOR_MARK)
            if mark and consensus(other) == task.id:
                rows = (collection.areas(other) >= 0).nonzero()[0].tolist()
                drawn[person_of(annotator)] = dict.fromkeys(rows, other) | drawn[person_of(annotator)]
        return cls(dict(drawn))

    def on(self, row: int) -> tuple[str, ...]:
        """Names of those who drew on an image."""
        return tuple(name for name, rows in self.drawn.items() if row in rows)


def drawn_by_several(collection: Collection, plans: Sequence[TaskPlan], size: int) -> list[tuple[TaskPlan, Annotators]]:
    """Keep the queries that two or more people drew, with supports that all of these drew, too.

    Args:
        collection: Collection of the tasks.
        plans: Plans whose supports hold every image that may be shown, in order of preference.
        size: Largest number of images of a support.

    Raises:
        ValueError: If there are none.
    """
    kept = []
    for plan in plans:
        people = Annotators.of(collection, plan.task)
        episodes = [
            _shown_by_all(episode, people, size) for episode in plan.episodes if len(people.on(episode.query.row)) > 1
        ]
        if episodes := [episode for episode in episodes if episode.support]:
            kept.append((replace(plan, episodes=tuple(episodes)), people))
    if not kept:
        msg = (
            "Nobody drew what another drew: expected tasks of several annotators in the suite, got none. "
            "Use --suite heldout-annotators or dev-annotators."
        )
        raise ValueError(msg)
    return kept


def _shown_by_all(episode: Episode, people: Annotators, size: int) -> Episode:
    """Cut a support down to the first images that everybody drew who drew the query."""
    asked = set(people.on(episode.query.row))
    support = [sample for sample in episode.support if asked <= set(people.on(sample.row))]
    return replace(episode, support=tuple(support[:size]))
