"""Tasks on which prompted predictors are measured: who may be asked about which, and what is kept of each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments.averages import Score, mean_of
from benchmarks.experiments.bench import Bench
from benchmarks.experiments.dialogue import Dialogue, PromptedQuery
from benchmarks.plans.task_plans import Episode, TaskPlan, plan_hash, stable_hash
from benchmarks.predictors.prompted import load_prompted
from benchmarks.predictors.protocol import NamedPrompted, PromptedPredictor
from benchmarks.scoring.evaluator import EpisodeImages, exactly
from benchmarks.scoring.leaks import find_leaks


@dataclass(frozen=True)
class Course:
    """Course of a dialogue about one query."""

    dataset: str
    task: str
    subject: str
    case: str
    draw: int
    dice: list[float]
    """Dice of the mask after 0, 1, 2, … turns."""
    obeyed: float | None
    """Share of the prompted pixels that are on the side that was said, at the end; None if there are none."""
    index: int = 0
    """Index of the query in a row of them that share what was accepted before."""

    @classmethod
    def of(cls, plan: TaskPlan, episode: Episode, dialogue: Dialogue, index: int = 0) -> "Course":
        """Keep the course of a dialogue about the query of an episode."""
        task, query = plan.task, episode.query
        told = (task.dataset, task.id, query.subject, query.case, episode.draw)
        return cls(*told, [round(dice, 6) for dice in dialogue.dice], dialogue.obeyed, index)

    def after(self, turns: int) -> float:
        """Dice after a number of turns, or after the last one if there were fewer."""
        return self.dice[min(turns, len(self.dice) - 1)]

    def turns_to(self, dice: float) -> int | None:
        """Number of turns until the mask has this Dice; None if it never has."""
        return next((turns for turns, reached in enumerate(self.dice) if reached >= dice), None)


@dataclass(frozen=True)
class Turns:
    """Turns that it takes to reach some Dice, on average."""

    turns: Interval
    """Number of turns; where the Dice is never reached, it is the number of those that there were."""
    never: Interval
    """Share of the queries that never reach it."""

    def __str__(self) -> str:
        return f"{self.turns.written()}, {self.never.mean:.0%} never"


def turns_to(courses: Sequence[Course], dice: float, most: int, seed: int) -> Turns:
    """Average the turns that it takes to reach some Dice, of `most` that there were."""
    taken = [each.turns_to(dice) for each in courses]
    turns = scores_of(courses, [float(most if each is None else each) for each in taken])
    never = scores_of(courses, [float(each is None) for each in taken])
    return Turns(mean_of(turns, seed), mean_of(never, seed))


def scores_of(courses: Iterable[Course], values: Iterable[float]) -> list[Score]:
    """Make a score of each course and the value that is measured of it."""
    pairs = zip(courses, values, strict=True)
    return [Score(course.dataset, course.task, course.subject, value) for course, value in pairs]


Measure = Callable[[PromptedPredictor, EpisodeImages, TaskPlan], Iterable[Course]]
"""Function that asks a predictor about a planned task, of which it is given the images."""
Measured = dict[tuple[str, str], list[Course]]
"""Courses of all tasks by the names of the predictor and of the measure."""


def question_of(images: EpisodeImages, episode: Episode) -> PromptedQuery:
    """The query of an episode with its support, which may be empty."""
    rows = [images.indices[sample.row] for sample in episode.support]
    image, label = images.examples(torch.tensor([images.indices[episode.query.row]]))
    return PromptedQuery(image, label, *images.examples(torch.tensor([rows], dtype=torch.long)))


def measure_tasks(
    bench: Bench, plans: Sequence[TaskPlan], measures: Mapping[str, Measure]
) -> tuple[Measured, dict[str, Any]]:
    """Take every measure of every predictor on all tasks, except those that an earlier run has kept.

    No predictor is asked about tasks on whose images it was trained.

    Returns:
        The courses, and the fingerprints, the hash of the plans and what was left out, for the protocol.

    Raises:
        ValueError: If the folder holds other results, or a predictor may be asked about nothing.
    """
    predictors = [load_prompted(name, bench.execution.device) for name in bench.options.predictors]
    leaks = find_leaks(bench.collection, [plan.task for plan in plans], predictors).seen
    hashed = plan_hash(plans)
    bench.claim({each.name: f"{each.fingerprint} on plan {hashed}" for each in predictors})
    works = [
        (each, name, plan)
        for each in predictors
        for name in measures
        for plan in plans
        if plan.task.id not in leaks.get(each.name, {})
    ]
    found: Measured = {}
    measured = ([(each.name, name, kept(bench, each, name, plan, measures[name]))] for each, name, plan in works)
    for batch in bench.track(measured, len(works)):
        for predictor, name, courses in batch:
            found.setdefault((predictor, name), []).extend(courses)
    if empty := [each.name for each in predictors if not any(predictor == each.name for predictor, _ in found)]:
        msg = f"{empty[0]} has no score: expected tasks that it was not trained on, got none. Choose another suite."
        raise ValueError(msg)
    return found, {
        "plan_hashes": dict.fromkeys(measures, hashed),
        "fingerprints": {each.name: each.fingerprint for each in predictors},
        "failed": leaks,
    }


def kept(bench: Bench, named: NamedPrompted, name: str, plan: TaskPlan, measure: Measure) -> list[Course]:
    """Read what an earlier run measured of a task, or measure it now."""

    def courses() -> dict[str, Any]:
        images = EpisodeImages.load(bench.collection, plan, plan.episodes, bench.execution.device)
        with exactly():
            return {"courses": [asdict(each) for each in measure(named.predictor, images, plan)]}

    key = f"{stable_hash(named.name, name, plan.task.id):016x}"
    return [Course(**each) for each in bench.kept(key, courses)["courses"]]
