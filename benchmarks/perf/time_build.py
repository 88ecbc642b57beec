"""Time and memory of a build by number of workers: `python -m benchmarks.perf.time_build ROOT [WORKERS ...]`.

Each build starts from nothing in a process of its own; the numbers of workers take turns for some rounds, and the
median and the fastest build of each are printed. Time is wall time from the start of the process to its end, which
says little on a machine that does other work; beside it stands the CPU time of the writing process and of its workers.
Memory is the largest resident set of the writer and of any worker.
"""

import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from megamed.build import BuildOptions, build
from megamed.executors import open_executor

ROUNDS = 3
Usage = tuple[float, int]


@dataclass(frozen=True, order=True)
class Measurement:
    """Wall time of one build in seconds, with CPU seconds and peak MiB of the writer and of its workers."""

    seconds: float
    writer: Usage
    workers: Usage


def measure(root: Path, workers: int) -> Measurement:
    """Time a build in a fresh process; removing what it made does not count."""
    with TemporaryDirectory() as out:
        start = time.perf_counter()
        with ProcessPoolExecutor(1, get_context("spawn")) as executor:
            usages = executor.submit(build_here, root, Path(out), workers).result()
        return Measurement(time.perf_counter() - start, *usages)


def build_here(root: Path, out: Path, workers: int) -> tuple[Usage, Usage]:
    """CPU seconds and peak MiB of this process and of its workers; right only in a fresh process."""
    with open_executor(workers) as (executor, ahead):
        build(root, out, BuildOptions(ahead=ahead), executor, lambda *_: None)
    writer, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return usage(writer), usage(children)


def usage(found: resource.struct_rusage) -> Usage:
    """Convert the kernel's figures to CPU seconds and peak MiB."""
    return found.ru_utime + found.ru_stime, found.ru_maxrss // 1024


def main() -> None:
    """Measure builds with each number of workers and print a line for each."""
    root, counts = Path(sys.argv[1]), [int(count) for count in sys.argv[2:]] or [1, 2]
    rounds = [[measure(root, workers) for workers in counts] for _ in range(ROUNDS)]
    first = None
    for workers, builds in zip(counts, zip(*rounds, strict=True), strict=True):
        fastest, median = sorted(builds)[0], sorted(builds)[ROUNDS // 2]
        first = first or median.seconds
        (writer_s, writer_mib), (worker_s, worker_mib) = median.writer, median.workers
        cpu = f"CPU {writer_s:.1f} s + {worker_s:.1f} s, peak {writer_mib} MiB + {worker_mib} MiB each"
        seconds = f"{median.seconds:6.1f} s (fastest {fastest.seconds:.1f} s)"
        print(f"{workers} workers: {seconds} {first / median.seconds:5.2f}×   {cpu}", flush=True)


if __name__ == "__main__":
    main()
