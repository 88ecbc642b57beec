"""Experiments that train networks: without some data, on less, with less augmentation, with more synthetic tasks.

Each training has the same number of steps and, except for the settings that the experiment varies, the default
configuration. Its weights are those of the last step, so that no measurement on `dev` picks them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scoring import Condition
from benchmarks.experiments.study import Override, overridden
from benchmarks.plans.suites import ANATOMIES, MODALITIES, OTHER, family
from benchmarks.plans.task_plans import TaskPlan, plan_suite, plan_task, stable_hash
from incontext.training.augment import AugmentConfig
from incontext.training.config import TrainConfig
from incontext.training.loop import train
from megamed import Collection, Task
from megamed.audit import content_hash, each_image
from megamed.executors import local_executor
from megamed.files import replace_file
from megamed.schema import slugify

TRAINING_SIZES = (5, 10, 20, 40)
"""Numbers of training datasets to compare with all that there are."""
SYNTHETIC_SHARES = (0.0, 0.3, 0.6, 1.0)
LEFT_OUT = 3
"""Number of datasets or families that are left out, one after the other, by default."""

ALL, NONE = AugmentConfig(), AugmentConfig.only()
RECIPES = {
    "both levels": ALL,
    "task level alone": AugmentConfig(task=ALL.task, image=NONE.image),
    "image level alone": AugmentConfig(task=NONE.task, image=ALL.image),
    "none": NONE,
}
"""Augmentations to train with, from both levels to none, by the name of their bar."""


@dataclass(frozen=True)
class TrainingVariant:
    """Variant of the training, and the point of the figure that its score belongs to."""

    place: Coordinates
    override: Override
    """Settings that differ from the default configuration."""
    about: str = ""
    reference: Coordinates | None = None


def augmentation(bench: Bench) -> Iterator[Condition]:
    """Conditions with one or both levels of the augmentation left out, compared with both."""
    full = Coordinates(next(iter(RECIPES)))
    levels = [
        TrainingVariant(Coordinates(name), {"augmentation": recipe.model_dump(mode="json")}, reference=full)
        for name, recipe in RECIPES.items()
    ]
    return on_suite(bench, levels)


def synthetic_share(bench: Bench) -> Iterator[Condition]:
    """Conditions with larger and smaller shares of synthetic sets in the training."""
    first = Coordinates(SYNTHETIC_SHARES[0])
    levels = [
        TrainingVariant(
            Coordinates(share), {"episodes": {"synthetic_share": share, "superpixel_share": 0.0}}, reference=first
        )
        for share in SYNTHETIC_SHARES
    ]
    return on_suite(bench, levels)


def training_size(bench: Bench) -> Iterator[Condition]:
    """Conditions with growing sets of training datasets, each a part of the next; none of the role `auxiliary`."""
    by_dataset = Counter(task.dataset for task in bench.collection.tasks(roles=("train",)))
    names = sorted(by_dataset, key=lambda name: stable_hash(bench.settings.seed, name))
    counts = [*(count for count in TRAINING_SIZES if count < len(names)), len(names)]
    levels = [
        TrainingVariant(
            Coordinates(count),
            {"episodes": {"datasets": names[:count]}},
            f"{sum(by_dataset[name] for name in names[:count])} tasks",
            Coordinates(counts[0]),
        )
        for count in counts
    ]
    return on_suite(bench, levels)


def leave_one_out(bench: Bench) -> Iterator[Condition]:
    """Conditions that ask for left-out tasks, of a network trained without them and of one trained with all data.

    The latter was trained on the very images that it is asked about: the difference bounds the cost of their lack.
    """
    contents = training_contents(bench.collection)
    with local_executor(1) as executor:
        learn = partial(trained, bench, executor)
        for name, tasks in left_out(bench).items():
            plans = planned(bench, tasks)
            datasets = without_copies({task.dataset for task in tasks}, contents)
            have, lack = Coordinates(name, "trained with it"), Coordinates(name, "trained without it")
            about = f"{len(datasets)} datasets left out" if len(datasets) > 1 else ""
            for seed in range(bench.options.seeds):
                yield Condition(have, str(learn("everything", {}, seed)), plans, seed=seed, seen=True)
                without = learn(f"without {name}", {"episodes": {"leave_out": sorted(datasets)}}, seed)
                yield Condition(lack, str(without), plans, have, about, seed)


def on_suite(bench: Bench, levels: Iterable[TrainingVariant]) -> Iterator[Condition]:
    """Train every variant, and make a condition that asks its network for the tasks of the suite."""
    plans = plan_suite(bench.collection, bench.settings)[0]
    with local_executor(1) as executor:
        for level in levels:
            for seed in range(bench.options.seeds):
                weights = trained(bench, executor, str(level.place), level.override, seed)
                yield Condition(level.place, str(weights), plans, level.reference, level.about, seed)


def trained(bench: Bench, executor: Executor, name: str, override: Override, seed: int) -> Path:
    """Path of the weights of a training, run now, in the one process of an executor, or earlier."""
    slug = f"{slugify(name)}-seed{seed}"
    kept = bench.out / "weights" / f"{slug}.safetensors"
    if not kept.is_file():
        config = overridden(override, seed, bench.options.steps)
        arguments = config, bench.collection.path, bench.out / "trainings" / slug, bench.execution.device
        weights = executor.submit(train_alone, *arguments).result()
        kept.parent.mkdir(parents=True, exist_ok=True)
        replace_file(kept, weights.read_bytes())
    return kept


def train_alone(config: TrainConfig, collection: Path, out: Path, device: str) -> Path:
    """Train on one thread, in a process that does nothing else."""
    torch.set_num_threads(1)
    return train(config, collection, out, device)


def left_out(bench: Bench) -> dict[str, list[Task]]:
    """Tasks of each dataset, modality or anatomy to leave out, among those of training datasets.

    Raises:
        ValueError: If a name to leave out belongs to none of them.
    """
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in bench.collection.tasks(roles=("train",)):
        groups[group_of(bench, task)].append(task)
    asked = bench.options.leave_out or typical(groups, bench)
    if unknown := sorted(set(asked) - groups.keys()):
        msg = f"Unknown {bench.options.by}: expected some of {', '.join(sorted(groups))}, got {', '.join(unknown)}."
        raise ValueError(msg)
    return {name: groups[name] for name in asked}


def group_of(bench: Bench, task: Task) -> str:
    """Name of the dataset, the modality's family or the anatomy's family that a task belongs to."""
    if bench.options.by == "dataset":
        return task.dataset
    if bench.options.by == "modality":
        return family(task.modality, MODALITIES)
    return family(bench.collection.card(task.dataset).anatomy, ANATOMIES)


def typical(groups: Mapping[str, list[Task]], bench: Bench) -> list[str]:
    """Names of a few datasets chosen by hash, or of the families with the most datasets."""
    if bench.options.by == "dataset":
        return sorted(groups, key=lambda name: stable_hash(bench.settings.seed, name))[:LEFT_OUT]
    datasets = {name: len({task.dataset for task in tasks}) for name, tasks in groups.items() if name != OTHER}
    return sorted(datasets, key=lambda name: (-datasets[name], name))[:LEFT_OUT]


def planned(bench: Bench, tasks: Iterable[Task]) -> list[TaskPlan]:
    """Plan the episodes of tasks of any suite; tasks with a single subject are left out.

    Raises:
        ValueError: If no task has two subjects.
    """
    samples = {task: bench.collection.samples(task) for task in tasks}
    plans = [
        plan_task(task, each, bench.settings)
        for task, each in samples.items()
        if len({sample.subject for sample in each}) > 1
    ]
    if not plans:
        names = ", ".join(task.id for task in samples)
        msg = f"Nothing is left to ask: expected a task with two subjects, got {names}. Leave out something else."
        raise ValueError(msg)
    return plans


def training_contents(collection: Collection) -> dict[str, set[str]]:
    """Training datasets that hold each image, by the hash of its pixels."""
    datasets: dict[str, set[str]] = defaultdict(set)
    for task, sample in each_image(collection, collection.tasks(roles=("train", "auxiliary"))):
        datasets[content_hash(collection.image(task, sample.row))].add(task.dataset)
    return datasets


def without_copies(datasets: set[str], contents: Mapping[str, set[str]]) -> set[str]:
    """Extend a set of datasets by all others that share an image with it."""
    return datasets.union(*(shared for shared in contents.values() if shared & datasets))
