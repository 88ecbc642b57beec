"""Executors for the work of a build: processes of this machine, or the workers of a Dask scheduler."""

import importlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

TASKS_PER_WORKER = 64
"""Tasks given out at once: enough that no worker waits for the writer, too few for finished rows to fill the memory."""


def local_executor(workers: int | None = None) -> ProcessPoolExecutor:
    """Start fresh processes on this machine, by default one per core; they end when this one is killed."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Watch for the death of the process that made this one, which would otherwise wait for work forever."""
    if parent := multiprocessing.parent_process():

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def open_executor(workers: int | None = None, scheduler: str | None = None) -> Iterator[tuple[Executor, int]]:
    """Open the executor of a build and say how many tasks it should be given at once.

    Args:
        workers: Number of processes on this machine.
        scheduler: Address of a Dask scheduler, such as `tcp://10.0.0.1:8786`. Its workers need this package and must
            see the source files under the same paths; only the process that calls this one writes.

    Raises:
        ImportError: If Dask distributed is needed and missing.
        OSError: If no scheduler answers, or its workers die of a task.
        ValueError: If both are given, or the scheduler has no worker.
    """
    if scheduler is None:
        with local_executor(workers) as executor:
            yield executor, TASKS_PER_WORKER * (workers or os.cpu_count() or 1)
        return
    if workers is not None:
        msg = f"workers and scheduler are both given: expected one, got {workers} and {scheduler!r}. Drop --workers."
        raise ValueError(msg)
    distributed = _distributed()
    with distributed.Client(scheduler, set_as_default=False) as client:
        threads = sum(client.nthreads().values())
        if not threads:
            msg = f"scheduler {scheduler} has no worker: expected at least one, got none. Start `dask worker` first."
            raise ValueError(msg)
        try:
            with client.get_executor(pure=False) as executor:
                yield executor, TASKS_PER_WORKER * threads
        except distributed.KilledWorker as error:
            msg = f"workers of {scheduler} died: {error}. Give them more memory, or let them do fewer tasks at once."
            raise OSError(msg) from error


def _distributed():  # type: ignore[no-untyped-def]
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        msg = 'a scheduler needs Dask distributed: expected it installed. `pip install "incontext-seg[dask]"`.'
        raise ImportError(msg) from error
