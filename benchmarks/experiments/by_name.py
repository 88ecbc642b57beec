"""The experiment on names: examples that the name of a structure finds in other datasets, against some of one's own."""

from collections import defaultdict
from functools import partial
from typing import Any

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.shared_supports import SharedSupport, mean_dice, measured, pairs
from benchmarks.plans.task_plans import stable_hash
from incontext import Segmenter
from incontext.inference.named_task import MOST_TASKS, compared_tasks
from megamed.names import Named, find, named_tasks
from megamed.schema import Task

OWN, FOUND, RANDOM = "own examples", "the best task of the name", "a random task of the name"


def by_name(bench: Bench) -> Findings:
    """Measure Dice with the images that a task's label finds in all other datasets, and with examples of its own.

    Raises:
        ValueError: If no other dataset has any of the structures.
    """
    details = bench.claim_weights()
    named = named_tasks(bench.collection)
    scores: dict[Coordinates, list[Score]] = defaultdict(list)
    learned_from: dict[str, str] = {}
    for support, found in measured(bench, partial(compared, named)):
        learned_from[support.name] = found["task"]
        for series, value in found["dice"].items():
            scores[Coordinates(series)].append(support.score(value))
    if not scores:
        msg = "No structure is in two datasets: expected a label of the suite in some other, got none. Add datasets."
        raise ValueError(msg)
    return Findings(
        averaged(scores, {place: Coordinates(OWN) for place in scores}, bench.settings.seed),
        {**details, "learned from": learned_from},
    )


def compared(named: list[Named], bench: Bench, segmenter: Segmenter, support: SharedSupport) -> dict[str, Any]:
    """Mean Dice of the queries by each kind of examples; nothing if no task of another dataset answers to the label."""
    tasks = answering(support.task, named)
    if not tasks:
        return {"task": "", "dice": {}}
    images, labels = pairs(bench, support, support.queries)

    own = segmenter.fit(*pairs(bench, support, support.examples))
    learner = Segmenter(**segmenter.get_params() | {"support": "nearest"})
    best, source = compared_tasks(learner, bench.collection, tasks, images)[0]
    drawn = tasks[stable_hash(support.name) % len(tasks)]
    random, _ = compared_tasks(learner, bench.collection, [drawn], images)[0]
    learned = {OWN: own, FOUND: best, RANDOM: random}
    found = {series: mean_dice(each.predict(images).masks, labels) for series, each in learned.items()}
    return {"task": source.task.id, "dice": found}


def answering(task: Task, named: list[Named]) -> list[Task]:
    """Tasks of other datasets that the label of a task finds: of the same kind of images, such as MR, if there are any.

    So would a person ask, who knows what the images are of.
    """
    others = [each for each in named if each.task.dataset != task.dataset]
    found, modalities = find(task.label.replace("-", " "), others).tasks, Named(task).modalities
    alike = [each for each in found if Named(each).modalities & modalities]
    return (alike or found)[:MOST_TASKS]
