"""Distribution of work over this process, worker processes or a Dask scheduler's workers, with results in order."""

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from multiprocessing import current_process, parent_process
from pathlib import Path

import torch

from benchmarks.predictors import NamedPredictor, load_predictor
from benchmarks.scoring.evaluator import Evaluator, Execution, Scored, Work
from megamed import Collection
from megamed.executors import TASKS_PER_WORKER, open_executor, telling_of_death

BEGUN_PER_WORKER = 2
"""Number of works given to each worker at once: one to do, and one so that it need not wait."""
EPISODES_PER_WORKER = 500
"""Minimum number of episodes per worker process; fewer take less time than the start of a process."""

Begin = Callable[[Work], Callable[[], Scored]]
"""Function that starts some work and returns a function that waits for its outcome."""


def choose_workers(device: str, episodes: int) -> int:
    """Number of processes to use unless told otherwise: one per GPU, or one per core as long as that pays.

    A process that is itself one of several starts no others.
    """
    if torch.device(device).type == "cuda":
        return 1 if ":" in device else torch.cuda.device_count()
    return 1 if parent_process() else max(1, min(os.cpu_count() or 1, episodes // EPISODES_PER_WORKER))


def score_all(
    collection: Collection,
    works: Iterable[Work],
    predictors: Mapping[str, tuple[str, NamedPredictor]],
    execution: Execution,
) -> Iterator[Scored]:
    """Score works, each in one or several parts, in the order in which they come.

    Args:
        collection: Collection that holds the images.
        works: Episodes to score.
        predictors: Name or path of each predictor as `load_predictor` knows it, and the loaded predictor, by its name.
        execution: Device, batches and workers.

    Raises:
        OSError: If a process dies.
    """
    works = [work for work in works if work.groups]
    if execution.scheduler is None and execution.workers is None:
        execution = replace(execution, workers=choose_workers(execution.device, sum(work.episodes for work in works)))
    if execution.workers == 1 and execution.scheduler is None:
        here = Evaluator(collection, execution)
        yield from in_order(lambda work: partial(here.score, work, predictors[work.name][1].predict), works, 1)
        return
    with telling_of_death(), open_executor(execution.workers, execution.scheduler) as (executor, many):

        def begin(work: Work) -> Callable[[], Scored]:
            source, loaded = predictors[work.name]
            version = source, loaded.fingerprint
            return executor.submit(score_elsewhere, collection.path, version, work, execution).result

        yield from in_order(begin, works, BEGUN_PER_WORKER * many // TASKS_PER_WORKER)


def in_order(begin: Begin, works: Iterable[Work], ahead: int) -> Iterator[Scored]:
    """Yield the outcomes of works in the order of these, with a number of them begun ahead of their turn."""
    coming, begun = iter(works), deque[Callable[[], Scored]]()
    while True:
        begun.extend(begin(work) for work in islice(coming, ahead - len(begun)))
        if not begun:
            return
        scored = begun.popleft()()
        if scored.rest.groups and not scored.failure:
            begun.appendleft(begin(scored.rest))
        yield scored


def score_elsewhere(collection: Path, version: tuple[str, str], work: Work, execution: Execution) -> Scored:
    """Score work in a worker process, which keeps collection, predictor and batch sizes of earlier work.

    Args:
        collection: Path of the collection.
        version: Name of the predictor as `load_predictor` knows it, and its fingerprint.
        work: Episodes to score.
        execution: Device and batches.

    Raises:
        ValueError: If this process has another version of the predictor.
    """
    execution = replace(execution, device=own_device(execution.device))
    return _evaluator(collection, execution).score(work, _predictor(*version, execution.device).predict)


def own_device(device: str) -> str:
    """Device of this process: `cuda` stands for one of several GPUs, which are given to processes in turn."""
    if device != "cuda" or not (number := re.search(r"\d+$", current_process().name)):
        return device
    return f"cuda:{(int(number[0]) - 1) % torch.cuda.device_count()}"


@cache
def _evaluator(collection: Path, execution: Execution) -> Evaluator:
    return Evaluator(Collection(collection), execution)


@cache
def _predictor(name: str, fingerprint: str, device: str) -> NamedPredictor:
    loaded = load_predictor(name, device)
    if loaded.fingerprint != fingerprint:
        msg = (
            f"A worker has another version of predictor {name}: expected {fingerprint}, got {loaded.fingerprint}. "
            "Give all workers the same files, and start them anew."
        )
        raise ValueError(msg)
    return loaded
