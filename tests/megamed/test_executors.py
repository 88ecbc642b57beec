"""Builds on processes of this machine and on a Dask scheduler give the same bytes."""

import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from time import sleep

import pytest
from typer.testing import CliRunner

from megamed.build import BuildReport
from megamed.cli import app
from megamed.executors import local_executor, open_executor
from tests.dask_cluster import Cluster, dask_cluster

PATIENCE_S = 300
"""Time that anything may take on a busy machine."""


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def cluster(repository: Path) -> Iterator[Cluster]:
    with dask_cluster(repository) as running:
        yield running


@pytest.fixture
def scheduler(cluster: Cluster) -> str:
    return cluster[0]


def build(root: Path, out: Path, *options: str) -> tuple[int, str]:
    arguments = ["build", str(root), "--out", str(out), "--size", "16", "--quiet", *options]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout + result.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dask_workers_build_the_same_collection(
    make_dataset: Callable[..., Path],
    build_folder: Callable[..., BuildReport],
    tmp_path: Path,
    scheduler: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = make_dataset(12)
    build_folder(root)
    monkeypatch.chdir(root.parent)  # the workers run elsewhere: a relative root must be understood all the same
    code, text = build(Path("drawn"), tmp_path / "dask", "--scheduler", scheduler)
    assert (code, "1 built; 12 subjects" in text) == (0, True), text
    assert snapshot(tmp_path / "dask") == snapshot(tmp_path / "out")


def test_scheduler_and_workers_exclude_each_other(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    code, text = build(make_dataset(1), tmp_path / "out", "--scheduler", "tcp://127.0.0.1:1", "--workers", "2")
    assert (code, text.count("\n")) == (1, 1)
    assert "Drop --workers" in text


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"incontext-seg\[dask\]"), open_executor(None, "tcp://127.0.0.1:1"):
        pass


def test_tasks_are_given_ahead_of_time() -> None:
    with open_executor(1) as (_, alone), open_executor(3) as (_, three):
        assert three == 3 * alone > 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("killed", ["workers", "all"])
def test_a_cluster_that_vanishes_is_told_of(cluster: Cluster, killed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that nobody is left to do fails, where Dask would wait without end."""
    monkeypatch.setattr("megamed.executors.ALONE_SECONDS", 2.0)
    scheduler, processes = cluster

    def lose_them() -> None:
        with open_executor(None, scheduler) as (executor, _):
            assert executor.submit(abs, -1).result(PATIENCE_S) == 1
            waiting = executor.submit(sleep, PATIENCE_S)
            for process in processes[1:] if killed == "workers" else processes:
                process.kill()
            waiting.result(PATIENCE_S)

    with pytest.raises(OSError, match=r"are gone: expected one at least, .* same command goes on"):
        lose_them()
    assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)  # which prints a traceback


ORPHANS = """
import os, sys
from megamed.executors import local_executor
if __name__ == "__main__":
    executor = local_executor(2)
    print(*{task.result() for task in [executor.submit(os.getpid) for _ in range(20)]}, flush=True)
    sys.stdin.read()
"""


def test_workers_end_when_the_build_is_killed(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "orphans.py").write_text(ORPHANS)
    environment = os.environ | {"PYTHONPATH": str(repository)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, tmp_path / "orphans.py"], env=environment, **pipes) as build:
        assert build.stdout is not None
        workers = [int(worker) for worker in build.stdout.readline().split()]
        assert workers
        build.kill()
        # The workers hold the pipe, which ends with the last of them; the time only keeps a failure from lasting.
        ended, _, _ = select.select([build.stdout], [], [], PATIENCE_S)
        for worker in () if ended else workers:
            os.kill(worker, signal.SIGKILL)
        assert ended, f"orphans: {workers}"
        assert build.stdout.read() == b""


def test_nobody_waits_for_work_after_an_error() -> None:
    def fail() -> None:
        with local_executor(1) as executor:
            executor.submit(abs, -1).result()
            begun.extend(executor.submit(sleep, 15) for _ in range(4))
            raise KeyboardInterrupt

    begun: list[Future[None]] = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert all(each.cancelled() or each.exception() for each in begun)


def test_an_interruption_is_told_to_the_process_that_gave_the_work_alone() -> None:
    with local_executor(1) as executor:
        assert executor.submit(signal.raise_signal, signal.SIGINT).result() is None
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
