"""The experiment on which images to label: random ones, those nearest to the query, or a diverse lot.

A choice sees images alone, never a label, and is made for each query out of the images of other subjects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scoring import Condition
from benchmarks.experiments.supports import first, pools
from benchmarks.plans.task_plans import Episode, TaskPlan, round_robin, stable_hash
from benchmarks.predictors import load_network
from benchmarks.scoring.evaluator import exactly
from incontext.inference.selection import diverse, image_features, nearest
from incontext.networks.checkpoint import PACKAGED
from incontext.networks.protocols import FeatureEncoder
from megamed import Sample

SIZES = (1, 4, 16)
THUMBNAIL_PX = 32
"""Side of the images that are compared by pixels."""

Encode = Callable[[Float[Tensor, "1 1 H W"]], Float[Tensor, "1 C"]]
"""Function from an image to a feature vector, by which images are compared."""
Order = Callable[[Episode], Sequence[Sample]]
"""Function that sorts the pool of an episode by preference, best first."""


def support_choice(bench: Bench) -> list[Condition]:
    """Conditions with supports chosen by image features or pixels, each compared with a random support."""
    whole = pools(bench)
    chosen = chosen_pools(bench, whole)
    conditions = []
    for name in bench.options.predictors:
        panel = bench.panel_of(name)
        for size in SIZES:
            random = Coordinates(size, "random", panel)
            conditions.append(Condition(random, name, [first(plan, size) for plan in whole], random))
            conditions += [
                Condition(Coordinates(size, way, panel), name, [first(plan, size) for plan in plans], random)
                for way, plans in chosen.items()
            ]
    return conditions


def chosen_pools(bench: Bench, whole: Sequence[TaskPlan]) -> dict[str, list[TaskPlan]]:
    """Plans for each way of choosing; the nearest images are the same in every draw, so one draw is scored."""
    encode = encoder(bench)
    chosen: dict[str, list[TaskPlan]] = {"nearest by features": [], "nearest by pixels": [], "diverse": []}
    for plan in whole:
        features, pixels = (features_of(bench, plan, each) for each in (encode, thumbnail))
        chosen["nearest by features"].append(reordered(once(plan), features.nearest))
        chosen["nearest by pixels"].append(reordered(once(plan), pixels.nearest))
        chosen["diverse"].append(reordered(plan, features.diverse))
    return chosen


def encoder(bench: Bench) -> Encode:
    """Load the encoder of the packaged network, by whose features images are compared.

    Raises:
        TypeError: If the network has no features.
    """
    network = load_network(PACKAGED, bench.execution.device)
    if not isinstance(network, FeatureEncoder):
        msg = f"The packaged network tells no features: expected `features`, got {type(network).__name__}."
        raise TypeError(msg)
    return partial(image_features, network)


@dataclass(frozen=True)
class TaskFeatures:
    """Image features of those samples of a task that a plan names."""

    features: Float[Tensor, "N C"]
    indices: dict[int, int]
    """Mapping of a sample's row in the collection → its index in `features`."""

    def nearest(self, episode: Episode) -> list[Sample]:
        """Sort the pool by distance to the query, nearest first; no subject has a second image before all have one."""
        pool, features = self._pool(episode)
        order = nearest(self.features[[self.indices[episode.query.row]]], features)[0]
        return round_robin([pool[index] for index in order.tolist()])

    def diverse(self, episode: Episode) -> list[Sample]:
        """Select images of the pool whose features lie as far apart as can be, at most as many as the largest size."""
        pool, features = self._pool(episode)
        seed = stable_hash(episode.query.case, episode.support_hash) % 2**63
        chosen = diverse(features, min(max(SIZES), len(pool)), torch.Generator().manual_seed(seed))
        return [pool[index] for index in chosen.tolist()]

    def _pool(self, episode: Episode) -> tuple[list[Sample], Float[Tensor, "pool C"]]:
        """Samples that may be chosen, sorted by case so that no draw's order matters, with their features."""
        pool = sorted(episode.support, key=lambda sample: sample.case)
        return pool, self.features[[self.indices[sample.row] for sample in pool]]


def features_of(bench: Bench, plan: TaskPlan, encode: Encode) -> TaskFeatures:
    """Encode every image that a plan names, each by itself, so that no batch changes its features."""
    rows = sorted({sample.row for episode in plan.episodes for sample in (episode.query, *episode.support)})
    images = torch.from_numpy(bench.collection.images(plan.task, rows)).to(bench.execution.device).unsqueeze(1) / 255
    with exactly():
        features = torch.cat([encode(image) for image in images.split(1)])
    return TaskFeatures(features.cpu(), {row: index for index, row in enumerate(rows)})


def thumbnail(image: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 C"]:
    """Average an image down to `THUMBNAIL_PX` squared pixels, as a vector."""
    return F.adaptive_avg_pool2d(image, THUMBNAIL_PX).flatten(1)


def once(plan: TaskPlan) -> TaskPlan:
    """Reduce a plan to the first draw of every query."""
    return replace(plan, episodes=tuple(episode for episode in plan.episodes if episode.draw == 0))


def reordered(plan: TaskPlan, order: Order) -> TaskPlan:
    """Sort the pool of every episode of a plan by preference."""
    return replace(plan, episodes=tuple(replace(each, support=tuple(order(each))) for each in plan.episodes))
