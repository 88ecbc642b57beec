"""Experiments on how many labelled images there are, and on how an ensemble shares them.

All supports are drawn out of one pool, the labelled images of other subjects in a random order. Its beginning is the
support that any benchmark of these settings draws, so levels differ in nothing but what they are about.
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
"""Labelled images to make the best of."""
MEMBERS = (2, 4, 8, 16)
"""Sizes of ensembles."""
DEALT, HALVES = "dealt out", "random halves"
EVERYTHING = 10**6
"""A support size beyond any pool."""

Share = Callable[[Episode, int], tuple[Sample, ...]]
"""What a member of an ensemble is shown of the support of an episode."""


def support_size(bench: Bench) -> list[Condition]:
    """Growing supports, each the beginning of the next."""
    whole = pools(bench)
    plans = {size: [first(plan, size) for plan in whole] for size in SIZES}
    return [
        Condition(Coordinates(size, name), name, plans[size], Coordinates(SIZES[0], name))
        for name in bench.options.predictors
        for size in SIZES
    ]


def ensemble_budget(bench: Bench) -> list[Condition]:
    """Compare the same labelled images as one support, dealt out to the members of an ensemble, or drawn from for each.

    Only tasks with so many images of other subjects take part.
    """
    conditions = []
    for budget in BUDGETS:
        enough = [first(plan, budget) for plan in pools(bench) if smallest_pool(plan) >= budget]
        plans = {(members, way): [WAYS[way](plan, members) for plan in enough] for members, way in shares(budget)}
        for name in bench.options.predictors if enough else ():
            panel = name if len(bench.options.predictors) > 1 else ""
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
    """Every query with all that it may be shown, in the random order of each draw."""
    return plan_suite(bench.collection, replace(bench.settings, support_size=EVERYTHING))[0]


def smallest_pool(plan: TaskPlan) -> int:
    """Number of images that each query of a task can be shown."""
    return min(len(episode.support) for episode in plan.episodes)


def first(plan: TaskPlan, size: int) -> TaskPlan:
    """A plan with the beginning of every support."""
    return replace(plan, episodes=tuple(replace(each, support=each.support[:size]) for each in plan.episodes))


def shares(budget: int) -> Iterator[tuple[int, str]]:
    """Ways to share so many images: the number of members, and the way in which they get their supports."""
    yield 1, DEALT
    for members in MEMBERS:
        if members <= budget:
            yield members, DEALT
            yield members, HALVES


def dealt(plan: TaskPlan, members: int) -> TaskPlan:
    """Deal each support out to the members of an ensemble, like cards."""
    return ensembles(plan, members, lambda episode, member: episode.support[member::members])


def halves(plan: TaskPlan, members: int) -> TaskPlan:
    """Let each member of an ensemble draw half of the support."""

    def draw(episode: Episode, member: int) -> tuple[Sample, ...]:
        rng = np.random.default_rng(stable_hash(plan.task.id, episode.query.case, episode.support_hash, member))
        size = len(episode.support)
        return tuple(episode.support[index] for index in rng.permutation(size)[: size // 2])

    return ensembles(plan, members, draw)


def ensembles(plan: TaskPlan, members: int, share: Share) -> TaskPlan:
    """Turn every episode into those of an ensemble."""
    episodes = (
        Episode(each.query, each.draw * members + member, share(each, member))
        for each in plan.episodes
        for member in range(members)
    )
    return TaskPlan(plan.task, tuple(episodes), members)


WAYS: dict[str, Callable[[TaskPlan, int], TaskPlan]] = {DEALT: dealt, HALVES: halves}
"""How the members of an ensemble get their supports."""
