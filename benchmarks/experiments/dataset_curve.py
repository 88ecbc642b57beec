"""The experiment on a dataset that is annotated image by image: does every accepted mask make the next one cheaper?"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby

import torch
from torch import Tensor

from benchmarks.experiments.averages import averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.dialogue import ROBOTS, converse
from benchmarks.experiments.prompted_tasks import Course, measure_tasks, question_of, scores_of, turns_to
from benchmarks.plans.task_plans import Episode, TaskPlan, choose_queries, plan_suite, stable_hash
from benchmarks.predictors.protocol import PromptedPredictor
from benchmarks.scoring.evaluator import EpisodeImages

IMAGES = 18
PART = 6
"""Number of images at the beginning and at the end that are averaged by themselves."""
TURNS, ENOUGH = 20, 0.9
"""Most clicks on an image, and the Dice at which its mask is accepted before."""
JOINING, ALONE = "accepted masks join the support", "every image by itself"
ALL, NEAR = "all tasks", "tasks within reach"


def dataset_curve(bench: Bench) -> Findings:
    """Measure the clicks that each of a row of images takes, with the masks accepted before as support, or with none.

    Raises:
        ValueError: If no task has images enough.
    """
    seed = bench.settings.seed
    measures = {name: partial(courses, seed, name == JOINING) for name in (JOINING, ALONE)}
    found, details = measure_tasks(bench, rows_of_images(bench), measures)
    scores, references, told = {}, {}, {}
    for (predictor, name), asked in found.items():
        for panel, some in panels(asked, found[predictor, ALONE]).items():
            titled = bench.panel_of(predictor, panel)
            told[Coordinates(IMAGES, name, titled)] = {
                part: turns_to(each, ENOUGH, TURNS, seed) for part, each in parts(some).items()
            }
            for index in range(IMAGES):
                place = Coordinates(index + 1, name, titled)
                here = [each for each in some if each.index == index]
                scores[place] = scores_of(here, map(clicks_of, here))
                references[place] = place._replace(series=ALONE)
    remarks = {place: "; ".join(f"{part}: {turns}" for part, turns in each.items()) for place, each in told.items()}
    points = [replace(each, about=remarks.get(each.place, "")) for each in averaged(scores, references, seed)]
    kept = {
        f"{place.panel}, {place.series}": {part: asdict(turns) for part, turns in each.items()}
        for place, each in told.items()
    }
    return Findings(points, details | {"clicks": kept})


def rows_of_images(bench: Bench) -> list[TaskPlan]:
    """Plan a row of images for each draw of each task that has enough, in an order of its own, of all subjects in turn.

    Raises:
        ValueError: If no task has enough.
    """
    plans = []
    for task in (plan.task for plan in plan_suite(bench.collection, replace(bench.settings, queries=1))[0]):
        samples = bench.collection.samples(task)
        seeds = [stable_hash(bench.settings.seed, draw) for draw in range(bench.settings.draws)]
        rows = [choose_queries(samples, task.id, replace(bench.settings, queries=IMAGES, seed=seed)) for seed in seeds]
        if len(samples) >= IMAGES:
            episodes = (Episode(query, draw, ()) for draw, row in enumerate(rows) for query in row)
            plans.append(TaskPlan(task, tuple(episodes)))
    if not plans:
        msg = f"No task has enough images: expected {IMAGES}, got fewer. Choose another suite."
        raise ValueError(msg)
    return plans


def courses(
    seed: int, joining: bool, predictor: PromptedPredictor, images: EpisodeImages, plan: TaskPlan
) -> Iterator[Course]:
    """Let a robot correct the images of each row in turn; accepted masks may join the support of those that follow."""
    for draw, row in groupby(plan.episodes, lambda episode: episode.draw):
        shown: list[Tensor] = []
        masks: list[Tensor] = []
        for index, episode in enumerate(row):
            question = question_of(images, episode)
            if shown:
                question = question._replace(support_images=stacked(shown), support_labels=stacked(masks))
            seeds = seed, plan.task.id, episode.query.case, draw
            dialogue = converse(predictor, question, ROBOTS["centre"], TURNS, seeds, ENOUGH)
            yield Course.of(plan, episode, dialogue, index)
            if joining:
                shown.append(question.image)
                masks.append(dialogue.mask.to(question.image))


def stacked(images: Sequence[Tensor]) -> Tensor:
    """Put images (1, 1, H, W) together as one support (1, S, 1, H, W)."""
    return torch.stack(list(images), 1)


def clicks_of(course: Course) -> float:
    """Number of clicks until a mask was accepted; all that there were if none was."""
    turns = course.turns_to(ENOUGH)
    return float(TURNS if turns is None else turns)


def panels(courses: Sequence[Course], alone: Sequence[Course]) -> dict[str, Sequence[Course]]:
    """Courses of all tasks, and of those, if any, of which every image, by itself, is accepted in the end."""
    lost = {each.task for each in alone if each.turns_to(ENOUGH) is None}
    near = [each for each in courses if each.task not in lost]
    return {ALL: courses} | ({NEAR: near} if near else {})


def parts(courses: Sequence[Course]) -> dict[str, list[Course]]:
    """Divide the courses of rows into those of all images, of the first and of the last."""
    return {
        "all images": list(courses),
        f"first {PART}": [each for each in courses if each.index < PART],
        f"last {PART}": [each for each in courses if each.index >= IMAGES - PART],
    }
