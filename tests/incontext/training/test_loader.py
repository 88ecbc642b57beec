"""Every batch reaches one process, in the step that it belongs to."""

import itertools
import signal
from collections.abc import Iterator
from multiprocessing import active_children
from types import SimpleNamespace
from typing import NoReturn

import pytest
import torch

from incontext.training import loader
from incontext.training.config import TrainConfig
from incontext.training.distributed import ALONE, Processes
from incontext.training.episodes import EpisodeConfig, TrainingData
from incontext.training.loader import load_steps
from megamed.failures import told

CONFIG = TrainConfig(
    episodes=EpisodeConfig(images_per_batch=4, set_sizes=(2,), large_share=0), batches_per_step=4, workers=0
)


@pytest.fixture(scope="module")
def data(collection_path):
    return TrainingData.load(collection_path, 0)


def numbers(data, first_step, processes, config=CONFIG):
    return [list(given.batches) for given in itertools.islice(load_steps(config, data, first_step, processes), 2)]


def test_steps_take_the_batches_in_turn(data):
    assert numbers(data, 0, ALONE) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert numbers(data, 5, ALONE) == [[20, 21, 22, 23], [24, 25, 26, 27]]


def test_processes_share_the_batches_of_a_step(data):
    assert numbers(data, 1, Processes(0, 2)) == [[4, 6], [8, 10]]
    assert numbers(data, 1, Processes(1, 2)) == [[5, 7], [9, 11]]


def test_batches_that_do_not_divide_are_refused(data):
    with pytest.raises(ValueError, match=r"expected a multiple of 3, got 4\. Set batches_per_step to 6"):
        next(load_steps(CONFIG, data, 0, Processes(0, 3)))


def test_a_step_costs_what_all_its_batches_cost(data, monkeypatch):
    ticks, hours = itertools.count(0.0), itertools.count(0.0, step=3600)
    clock = SimpleNamespace(process_time=lambda: next(ticks), perf_counter=lambda: next(hours))
    monkeypatch.setattr(loader, "time", clock)
    for step in itertools.islice(load_steps(CONFIG, data, 0, ALONE), 2):
        assert (step.cpu_seconds, step.waited_seconds) == (4, 3600)


def test_batches_depend_on_their_number_alone(data):
    alone = next(load_steps(CONFIG, data, 1, ALONE))
    shared = next(load_steps(CONFIG.model_copy(update={"workers": 1}), data, 1, Processes(1, 2)))
    assert shared.cpu_seconds > 0
    for number, batch in shared.batches.items():
        assert torch.equal(batch.images, alone.batches[number].images)
        assert torch.equal(batch.labels, alone.batches[number].labels)
        assert batch.queries == alone.batches[number].queries == 2


def test_a_killed_worker_is_told_of(data):
    """It is not waited for."""
    steps = load_steps(CONFIG.model_copy(update={"workers": 1}), data, 0, ALONE)
    next(steps)
    (worker,) = active_children()

    def kill_and_wait() -> None:
        worker.kill()  # torch tells of it as soon as the signal comes, wherever this process is then
        list(itertools.islice(steps, 10))

    with pytest.raises(RuntimeError) as killed:
        kill_and_wait()
    assert told(killed.value).startswith("a worker process died: DataLoader worker")


def test_a_killed_worker_is_told_of_though_its_connection_breaks_first(
    data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> NoReturn:
        msg = "DataLoader worker (pid 1) is killed by signal: Killed."
        raise RuntimeError(msg)

    def arriving(*_: object, **_options: object) -> Iterator[object]:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        raise ConnectionResetError
        yield

    monkeypatch.setattr(loader, "DataLoader", arriving)
    before = signal.signal(signal.SIGALRM, die)
    try:
        with pytest.raises(RuntimeError, match="is killed"):
            next(load_steps(CONFIG, data, 0, ALONE))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
