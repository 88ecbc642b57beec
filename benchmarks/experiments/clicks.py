"""Experiments on how fast prompts mend masks, by the number of labelled examples and by the robot user."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from statistics import fmean
from typing import NamedTuple

from benchmarks.experiments.averages import averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.experiments.dialogue import ROBOTS, converse, mend_whole
from benchmarks.experiments.prompted_tasks import Course, Turns, measure_tasks, question_of, scores_of, turns_to
from benchmarks.experiments.supports import first, pools
from benchmarks.plans.task_plans import TaskPlan
from benchmarks.predictors.protocol import PromptedPredictor
from benchmarks.scoring.evaluator import EpisodeImages

SIZES = (0, 1, 4, 16)
WHOLE = "mended whole"
"""Name of the robot whose clicks mend the error that they hit, whole, and nothing else."""
TURNS = 10
TARGETS = (0.8, 0.85, 0.9)
"""Values of Dice of which it is told how many turns they take."""


class RobotSeries(NamedTuple):
    """Number of labelled examples, and robot user or `WHOLE`, of a curve in the figure."""

    size: int
    robot: str
    panel: str = ""
    """Title of the panel that it stands in, if there are several."""


def clicks(bench: Bench) -> Findings:
    """Measure Dice after each click at the centre of the largest error, for supports of each size.

    Beside it stands the Dice if each of these clicks mended the connected error that it hits, whole.
    """
    asked = {f"S = {size}": RobotSeries(size, "centre", "answered") for size in SIZES}
    whole = {f"{name}, {WHOLE}": RobotSeries(each.size, WHOLE, WHOLE) for name, each in asked.items()}
    return corrected(bench, asked | whole)


def robots(bench: Bench) -> Findings:
    """Measure Dice after each turn of each robot user."""
    return corrected(bench, {robot: RobotSeries(bench.settings.support_size, robot) for robot in ROBOTS})


def corrected(bench: Bench, series: dict[str, RobotSeries]) -> Findings:
    """Measure Dice after each turn, each compared with none, and the turns that it takes to reach the targets."""
    seed = bench.settings.seed
    measures = {name: partial(courses, seed, each) for name, each in series.items()}
    found, details = measure_tasks(bench, pools(bench), measures)
    points: list[Point] = []
    told = {}
    for (predictor, name), some in found.items():
        reached = {f"{target:.2f}": turns_to(some, target, TURNS, seed) for target in TARGETS}
        start = Coordinates(0, name.removesuffix(f", {WHOLE}"), bench.panel_of(predictor, series[name].panel))
        points += curve(start, some, reached, seed)
        told[f"{predictor}, {name}"] = {dice: asdict(each) for dice, each in reached.items()}
    return Findings(points, details | {"turns to": told})


def courses(
    seed: int, series: RobotSeries, predictor: PromptedPredictor, images: EpisodeImages, plan: TaskPlan
) -> Iterator[Course]:
    """Let a robot correct every query of a task, whose supports are the beginnings of those planned."""
    for episode in first(plan, series.size).episodes:
        seeds = seed, plan.task.id, episode.query.case, episode.draw
        question = question_of(images, episode)
        if series.robot == WHOLE:
            dialogue = mend_whole(predictor, question, TURNS)
        else:
            dialogue = converse(predictor, question, ROBOTS[series.robot], TURNS, seeds)
        yield Course.of(plan, episode, dialogue)


def curve(start: Coordinates, courses: Sequence[Course], reached: dict[str, Turns], seed: int) -> list[Point]:
    """Points of Dice after each turn, with the share of the error that is gone, and at the last with all else."""
    places = [start._replace(x=turns) for turns in range(TURNS + 1)]
    scores = {place: scores_of(courses, [each.after(turns) for each in courses]) for turns, place in enumerate(places)}
    points = averaged(scores, dict.fromkeys(places, start), seed)
    before, *after = (point.value.mean for point in points)
    about = ["", *(f"{(mean - before) / (1 - before):.0%} of the error gone" if before < 1 else "" for mean in after)]
    obeyed = [each.obeyed for each in courses if each.obeyed is not None]
    about[-1] = "; ".join(
        [about[-1], *(f"to {dice} in {turns}" for dice, turns in reached.items())]
        + ([f"{fmean(obeyed):.1%} of the prompted pixels obeyed"] if obeyed else [])
    )
    return [replace(point, about=remark) for point, remark in zip(points, about, strict=True)]
