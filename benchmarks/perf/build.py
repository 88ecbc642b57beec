"""Time and memory of a build by number of workers: `python -m benchmarks.perf.build ROOT [WORKERS ...]`.

Each build starts from nothing in a process of its own. Time is wall time, from the start of that process to its end, so
on a machine that does other work too it says little; beside it stands the CPU time of the process that writes and of
its workers. Memory is the largest resident set of the writer and of any worker.
"""

import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from megamed.build import BuildOptions, build
from megamed.executors import open_executor

Usage = tuple[float, int]


def measure(root: Path, workers: int) -> tuple[Usage, Usage]:
    """CPU seconds and peak MiB of this process and of its workers; right only in a fresh process."""
    with TemporaryDirectory() as out, open_executor(workers) as (executor, ahead):
        build(root, Path(out), BuildOptions(ahead=ahead), executor, lambda *_: None)
    writer, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return usage(writer), usage(children)


def usage(found: resource.struct_rusage) -> Usage:
    """CPU seconds and peak MiB."""
    return found.ru_utime + found.ru_stime, found.ru_maxrss // 1024


def main() -> None:
    """Measure and print everything."""
    root, counts = Path(sys.argv[1]), [int(count) for count in sys.argv[2:]] or [1, 2]
    first = None
    for workers in counts:
        start = time.perf_counter()
        with ProcessPoolExecutor(1, get_context("spawn")) as executor:
            (writer_s, writer_mib), (worker_s, worker_mib) = executor.submit(measure, root, workers).result()
        seconds = time.perf_counter() - start
        first = first or seconds
        cpu = f"CPU {writer_s:.1f} s + {worker_s:.1f} s, peak {writer_mib} MiB + {worker_mib} MiB each"
        print(f"{workers} workers: {seconds:6.1f} s {first / seconds:5.2f}×   {cpu}", flush=True)


if __name__ == "__main__":
    main()
