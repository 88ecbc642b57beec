"""Throughput, memory and resumption of a run over many tasks: `python -m benchmarks.perf.time_scale [TASKS ...]`.

For each number of tasks, a collection of simulated ones is drawn, of 40 subjects each and ten to a dataset, and
`incontext-bench run` scores a baseline that costs next to nothing on it, with 16 labelled images, 40 queries and 5
draws each, in batches of 40: what is measured is the evaluator. It asks a Dask scheduler with two worker processes
until it is killed, when half of the rows are there, and then one with four. `compare` reads what came of it. Where
tasks are few, the rows must be those of a run that nothing interrupted.

Time is wall time, beside the processor seconds of the process that writes; memory is the largest resident set of that
process, and of any worker. All stays in `runs/scale`: a second call draws no collection anew.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from benchmarks.plans.task_plans import Settings, plan_suite
from benchmarks.predictors import load_predictor
from benchmarks.scoring.evaluator import Evaluator, Execution, Work
from benchmarks.scoring.metering import status_bytes
from incontext.synthesis.tasks import synthetic_set
from megamed import Collection, DatasetCard
from megamed.build import BuildReport
from megamed.collection import DatasetWriter
from megamed.collection_folder import CollectionFolder
from megamed.files import claimed, sha256_of
from megamed.manifest import Contents, DatasetEntry, FileHeader, Manifest
from megamed.rows import StandardSlice, pack
from megamed.vocabulary import Split

SIZE_PX = 64
SUBJECTS = 40
TASKS_PER_DATASET = 10
SIZES = (50, 1000)
WORKERS = (2, 4)
COMPARED = 100
"""Number of tasks up to which a run without interruption is made, too."""
ALONE = 3
"""Number of tasks that are scored in one process."""
POLL_SECONDS = 0.5
PREDICTOR = "mean-mask"
BATCH = 40
"""Number of queries that are asked at once; a CPU's default of one takes the cost of torch's calls for each query."""
FOLDER = Path("runs") / "scale"


@dataclass(frozen=True)
class Taken:
    """Wall and processor seconds that a process took, its peak memory, and that of the largest worker, in MiB."""

    seconds: float
    processor_seconds: float
    peak_mib: float
    worker_mib: float = 0.0


def draw_collection(path: Path, tasks: int) -> None:
    """Draw a collection of simulated tasks, ten to a dataset, each with subjects of its own."""
    with claimed(path, "build") as ledger:
        folder = CollectionFolder(path, ledger)
        folder.open(SIZE_PX)
        names = [f"simulated{number:04d}" for number in range(-(-tasks // TASKS_PER_DATASET))]
        entries = {name: _draw_dataset(folder, name, index, tasks) for index, name in enumerate(names)}
        folder.publish(Manifest(size_px=SIZE_PX, datasets=entries), BuildReport(datasets={}))


def _draw_dataset(folder: CollectionFolder, name: str, index: int, tasks: int) -> DatasetEntry:
    card = DatasetCard(id=name, modality="simulated", role="dev", labels={1: "structure"}, license="Apache-2.0")
    with folder.partial(name) as partial:
        writer = DatasetWriter(partial, SIZE_PX)
        numbers = range(index * TASKS_PER_DATASET, min(tasks, (index + 1) * TASKS_PER_DATASET))
        for number in numbers:
            pairs = zip(*synthetic_set(SUBJECTS, SIZE_PX, np.random.default_rng(number)), strict=True)
            for subject, (image, label) in enumerate(pairs):
                about = f"simulated{number % TASKS_PER_DATASET}", "2d", f"s{number}-{subject}", f"c{number}-{subject}"
                row = StandardSlice(*about, "test", image, {"structure": label}, frozenset({"structure"}))
                writer.append(pack(row))
        subjects: dict[Split, int] = {"test": SUBJECTS * len(numbers)}
        contents = Contents(card=card, subjects=subjects, views=writer.finish_views())
        writer.close(FileHeader(size_px=SIZE_PX, contents=contents))
        sha256 = sha256_of(partial)
        size, file = partial.stat().st_size, folder.keep(partial, name, sha256)
    return DatasetEntry(**dict(contents), file=file.name, sha256=sha256, file_bytes=size, fingerprint=sha256)


@contextmanager
def cluster(workers: int) -> Iterator[tuple[str, Callable[[], float]]]:
    """Start a Dask scheduler with workers, and yield its address and a function for the peak MiB of the largest."""
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"dashboard_address": None, "memory_limit": None, "silence_logs": logging.CRITICAL}
    with LocalCluster(workers, threads_per_worker=1, **options) as local, Client(local) as client:
        yield local.scheduler_address, lambda: max(client.run(peak_mib).values())


def peak_mib() -> float:
    """Largest resident set of this process so far, in MiB."""
    return status_bytes("VmHWM") / 2**20


def command(*words: str | Path) -> list[str]:
    """Words that run `incontext-bench` in a process of its own."""
    return [sys.executable, "-c", "from benchmarks.cli import app; app()", *map(str, words)]


def run_command(collection: Path, out: Path, address: str) -> list[str]:
    """Words that score the collection into a folder."""
    asked = ("--collection", collection, "--suite", "dev", "--predictor", PREDICTOR, "--out", out)
    return command("run", *asked, "--batch-size", str(BATCH), "--scheduler", address, "--json")


def measure(words: Sequence[str], rows: Path, until: float = inf) -> tuple[Taken, int]:
    """Run a command, in silence unless it fails, and measure it; return the number of rows that it wrote, too.

    Args:
        words: The command.
        rows: Table that it adds rows to.
        until: Number of rows in the table at which it is killed.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    before, start = count(rows), time.perf_counter()
    with TemporaryFile() as told:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=told)
        ended = 0
        while not ended:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if count(rows) >= until:
                process.kill()
            time.sleep(POLL_SECONDS)
        if status and count(rows) < until:
            told.seek(0)
            raise subprocess.CalledProcessError(status, list(words), stderr=told.read().decode())
    seconds = time.perf_counter() - start
    taken = Taken(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    return taken, count(rows) - before


def processor_ms(collection: Path) -> tuple[float, float, float]:
    """Processor milliseconds of this process for the plan of a task, and for a row asked alone and in a batch."""
    opened, predictor = Collection(collection), load_predictor(PREDICTOR)
    start = time.process_time()
    plans, _ = plan_suite(opened, Settings("dev"))
    planned = time.process_time() - start
    works = [Work.missing(PREDICTOR, plan, set()) for plan in plans[:ALONE]]
    per_row = []
    for batch_size in (1, BATCH):
        evaluator, start = Evaluator(opened, Execution(batch_size=batch_size)), time.process_time()
        rows = sum(len(evaluator.score(work, predictor.predict).rows) for work in works)
        per_row.append(1e3 * (time.process_time() - start) / rows)
    alone, batched = per_row
    return 1e3 * planned / len(plans), alone, batched


def count(table: Path) -> int:
    """Number of rows in a table, without its header; 0 if there is none."""
    return max(0, table.read_bytes().count(b"\n") - 1) if table.exists() else 0


def report(name: str, rows: int, found: Taken) -> None:
    """Print what was measured of some rows, and how busy the machine was."""
    speed = f"{rows:7} rows in {found.seconds:7.1f} s, {rows / found.seconds:6.1f} a second"
    writer = f"writer {1e6 * found.processor_seconds / max(1, rows):5.0f} µs a row, {found.peak_mib:.0f} MiB"
    worker = f", a worker {found.worker_mib:.0f} MiB" if found.worker_mib else ""
    print(f"{name:<24}{speed}; {writer}{worker}; load {os.getloadavg()[0]:.1f}", flush=True)


def measure_size(tasks: int) -> None:
    """Measure a run over a number of tasks, and print a line for each part of it, with what its files take."""
    collection, out = FOLDER / f"collection-{tasks}", FOLDER / f"results-{tasks}"
    if not (collection / "manifest.json").exists():
        draw_collection(collection, tasks)
    plan, alone, batched = processor_ms(collection)
    print(f"{tasks} tasks, in one process: {plan:.1f} ms for the plan of a task")
    print(f"  {alone:.2f} ms a row that is asked alone, {batched:.2f} ms in batches of {BATCH}", flush=True)
    rmtree(out, ignore_errors=True)
    table, total = out / "rows.csv", tasks * SUBJECTS * Settings().draws
    for workers, until in zip(WORKERS, (total / 2, inf), strict=True):
        with cluster(workers) as (address, largest):
            found, rows = measure(run_command(collection, out, address), table, until)
            report(f"{tasks} tasks, {workers} workers", rows, replace(found, worker_mib=largest()))
    report("  compare", total, measure(command("compare", out), table)[0])
    for name in ("rows.csv", "settings.json", "summary.json"):
        size = (out / name).stat().st_size
        print(f"  {name:<22}{size / 2**20:7.1f} MiB, {size / total:.0f} bytes a row", flush=True)
    if tasks <= COMPARED:
        whole = FOLDER / f"whole-{tasks}"
        rmtree(whole, ignore_errors=True)
        with cluster(WORKERS[0]) as (address, _):
            measure(run_command(collection, whole, address), whole / "rows.csv")
        same = (whole / "rows.csv").read_bytes() == table.read_bytes()
        print(f"  as without interruption: {same}", flush=True)


def main() -> None:
    """Measure at the numbers of tasks that are given, or at `SIZES`."""
    for tasks in map(int, sys.argv[1:]) if len(sys.argv) > 1 else SIZES:
        measure_size(tasks)


if __name__ == "__main__":
    main()
