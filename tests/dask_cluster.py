"""A Dask scheduler and its workers, each a process of its own that a test can kill."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Cluster = tuple[str, list[subprocess.Popen[str]]]
"""Address of a scheduler, and the processes: the scheduler's first, then its workers'."""


@contextmanager
def dask_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a scheduler and two workers in a folder."""
    pytest.importorskip("distributed")
    address = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    processes = [start("distributed.cli.dask_scheduler", *address, folder=folder)]
    try:
        found = wait_for(processes[0], r"(tcp://127\.0\.0\.1:\d+)")
        for _ in range(2):
            options = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
            processes.append(start("distributed.cli.dask_worker", found, *options, folder=folder))
        for worker in processes[1:]:
            wait_for(worker, f"(Registered to): *{found}")
        yield found, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def start(module: str, *arguments: str, folder: Path) -> subprocess.Popen[str]:
    """Start a module as a program whose messages can be read."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stderr=subprocess.PIPE, text=True, cwd=folder, bufsize=1
    )


def wait_for(process: subprocess.Popen[str], pattern: str) -> str:
    """Read messages of a process until one matches, and return the first group of the match."""
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(pattern, line):
            return match[1]
    raise AssertionError(pattern)
