"""Experiments on the number of labelled images, and on sharing them among the members of an ensemble.

All supports are drawn out of one pool, the labelled images of other subjects in a random order. Its beginning is the
support that any benchmark of these settings draws, so conditions differ in nothing but the variable of the experiment.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scoring import Condition
from benchmarks.plans.task_plans import Episode, TaskPlan, plan_suite, stable_hash
from megamed import Sample

SIZES = (1, 2, 4, 8, 16, 32, 64)
BUDGETS = (4, 16, 64)
"""Numbers of labelled images to divide among the members of an ensemble."""
MEMBERS = (2, 4, 8, 16)
"""Numbers of members that an ensemble may have."""
DEALT, HALVES = "dealt out", "random halves"
EVERYTHING = 10**6
"""A support size beyond any pool."""

Share = Callable[[Episode, int], tuple[Sample, ...]]
"""Function from an episode and the index of an ensemble member to the part of the support that it is shown."""


def support_size(bench: Bench) -> list[Condition]:
    """Conditions with growing supports, each the beginning of the next."""
    whole = pools(bench)
    plans = {size: [first(plan, size) for plan in whole] for size in SIZES}
    return [
        Condition(Coordinates(size, name), name, plans[size], Coordinates(SIZES[0], name))
        for name in bench.options.predictors
        for size in SIZES
    ]


def ensemble_budget(bench: Bench) -> list[Condition]:
    """Conditions with the same labelled images as one support, dealt out to ensemble members, or drawn for each.

    Only tasks with enough images of other subjects take part.
    """
    conditions = []
    for budget in BUDGETS:
        enough = [first(plan, budget) for plan in pools(bench) if smallest_pool(plan) >= budget]
        plans = {(members, way): [WAYS[way](plan, members) for plan in enough] for members, way in shares(budget)}
        for name in bench.options.predictors if enough else ():
            panel = bench.panel_of(name)
            single = Coordinates(1, f"{budget} images, {DEALT}", panel)
            conditions += [
                Condition(Coordinates(members, f"{budget} images, {way}", panel), name, made, single)
                for (members, way), made in plans.items()
            ]
    if not conditions:
        msg = f"No task has enough images: expected {BUDGETS[0]} of other subjects, got fewer. Choose another suite."
        raise ValueError(msg)
    return conditions


def pools(bench: Bench) -> list[TaskPlan]:
    """Plans with the whole pool of every query as its support, in the random order of each draw."""
    return plan_suite(bench.collection, replace(bench.settings, support_size=EVERYTHING))[0]


def smallest_pool(plan: TaskPlan) -> int:
    """Number of images in the smallest pool of a task's queries."""
    return min(len(episode.support) for episode in plan.episodes)


def first(plan: TaskPlan, size: int) -> TaskPlan:
    """Cut every support of a plan down to its first images."""
    return replace(plan, episodes=tuple(replace(each, support=each.support[:size]) for each in plan.episodes))


def shares(budget: int) -> Iterator[tuple[int, str]]:
    """Yield ways to share a number of images: the number of members, and the key of `WAYS` for their supports."""
    yield 1, DEALT
    for members in MEMBERS:
        if members <= budget:
            yield members, DEALT
            yield members, HALVES


def dealt(plan: TaskPlan, members: int) -> TaskPlan:
    """Deal each support out to the members of an ensemble, like cards, so that no image is shown twice."""
    return ensembles(plan, members, lambda episode, member: episode.support[member::members])


def halves(plan: TaskPlan, members: int) -> TaskPlan:
    """Let each member of an ensemble draw half of the support at random, seeded by task, query and member."""

    def draw(episode: Episode, member: int) -> tuple[Sample, ...]:
        rng = np.random.default_rng(stable_hash(plan.task.id, episode.query.case, episode.support_hash, member))
        size = len(episode.support)
        return tuple(episode.support[index] for index in rng.permutation(size)[: size // 2])

    return ensembles(plan, members, draw)


def ensembles(plan: TaskPlan, members: int, share: Share) -> TaskPlan:
    """Turn every episode of a plan into one per member of an ensemble."""
    episodes = (
        Episode(each.query, each.draw * members + member, share(each, member))
        for each in plan.episodes
        for member in range(members)
    )
    return TaskPlan(plan.task, tuple(episodes), members)


WAYS: dict[str, Callable[[TaskPlan, int], TaskPlan]] = {DEALT: dealt, HALVES: halves}
"""Functions that give the members of an ensemble their supports, by the name in the figure."""
