"""Executors for the work of a build: processes of this machine, or the workers of a Dask scheduler."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import SpawnContext, SpawnProcess
from time import monotonic
from types import TracebackType
from typing import Any

from megamed.extras import require

TASKS_PER_WORKER = 64
"""Tasks given out at once: enough that no worker waits for the writer, too few for finished rows to fill the memory."""

ALONE_SECONDS = 15.0
"""Time without any worker of a scheduler after which no more is expected; one that is restarted takes a few seconds."""


class Worker(SpawnProcess):
    """Fresh process that an interruption by the user does not reach: whoever made it hears of that and ends it."""

    def start(self) -> None:
        """Start the process, which inherits what signals are held back."""
        if not hasattr(signal, "pthread_sigmask"):
            return super().start()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerContext(SpawnContext):
    """Way to start processes that makes a `Worker` of each."""

    Process = Worker


@contextmanager
def telling_of_death() -> Iterator[None]:
    """Tell in the words of commands with `--workers` that one of the processes died.

    Raises:
        OSError: If one did.
    """
    try:
        yield
    except BrokenExecutor as error:
        msg = "A worker died, perhaps for want of memory. The same command goes on; give it fewer --workers."
        raise OSError(msg) from error


class LocalExecutor(ProcessPoolExecutor):
    """Executor on processes of this machine, of which nobody waits for what they do still once an error came."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes: at once on an error, else when they have done what they were given."""
        for each in multiprocessing.active_children() if kind else ():
            if isinstance(each, Worker):
                each.terminate()
        self.shutdown(cancel_futures=bool(kind))


def local_executor(workers: int | None = None) -> LocalExecutor:
    """Start fresh processes on this machine, by default one per core; they end when this one is killed."""
    return LocalExecutor(workers, WorkerContext(), initializer=_end_with_parent)


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
        OSError: If no scheduler answers, its workers die of a task, or all of them are gone.
        ValueError: If both are given, or the scheduler has no worker.
    """
    if scheduler is None:
        with local_executor(workers) as executor:
            yield executor, TASKS_PER_WORKER * (workers or os.cpu_count() or 1)
        return
    if workers is not None:
        msg = f"workers and scheduler are both given: expected one, got {workers} and {scheduler!r}. Drop --workers."
        raise ValueError(msg)
    require("dask", "A scheduler", "distributed")
    import distributed

    for name in ("distributed", "distributed.client"):  # they log a lost connection with its traceback; we tell of it
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with distributed.Client(scheduler, set_as_default=False) as client:
        threads = sum(client.nthreads().values())
        if not threads:
            msg = f"scheduler {scheduler} has no worker: expected at least one, got none. Start `dask worker` first."
            raise ValueError(msg)
        try:
            with AttendedExecutor(client, scheduler) as executor:
                yield executor, TASKS_PER_WORKER * threads
        except distributed.KilledWorker as error:
            msg = f"workers of {scheduler} died: {error}. Give them more memory, or let them do fewer tasks at once."
            raise OSError(msg) from error


class AttendedExecutor(Executor):
    """Executor on the workers of a Dask client, whose tasks fail once nobody has been there to do them for a while.

    By itself, Dask waits for new workers without end and without a word.
    """

    def __init__(self, client: Any, scheduler: str) -> None:
        self._client, self._scheduler = client, scheduler
        self._executor = client.get_executor(pure=False)
        self._waiting: set[Future[Any]] = set()
        self._lock, self._ended = threading.Lock(), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Let a worker call a function."""
        done: Future[Any] = Future()
        with self._lock:
            self._waiting.add(done)
        self._executor.submit(function, *args, **kwargs).add_done_callback(partial(self._pass_on, done))
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel all tasks whose outcome nobody has waited for; none is left when a work ends well."""
        if not self._ended.is_set():
            self._ended.set()
            if self._attended():
                self._executor.shutdown(wait=False)

    def _pass_on(self, done: "Future[Any]", outcome: "Future[Any]") -> None:
        if outcome.cancelled():
            self._settle(done, error=self._gone())
        elif error := outcome.exception():
            self._settle(done, error=error)
        else:
            self._settle(done, outcome.result())

    def _settle(self, done: "Future[Any]", result: object = None, error: BaseException | None = None) -> None:
        """Give a task its outcome, unless it has one."""
        with self._lock:
            if done not in self._waiting:
                return
            self._waiting.remove(done)
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def _attended(self) -> bool:
        return self._client.status == "running" and bool(self._client.scheduler_info().get("workers"))

    def _watch(self) -> None:
        seen = monotonic()
        while not self._ended.wait(1.0):
            if self._attended():
                seen = monotonic()
            elif monotonic() - seen > ALONE_SECONDS:
                for done in list(self._waiting):
                    self._settle(done, error=self._gone())

    def _gone(self) -> OSError:
        return OSError(
            f"workers of {self._scheduler} are gone: expected one at least, got none for {ALONE_SECONDS:g} seconds. "
            "Start the scheduler and its workers, and the same command goes on."
        )
