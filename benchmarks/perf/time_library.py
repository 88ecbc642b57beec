"""Milliseconds to find tasks in a library, by its size: `python -m benchmarks.perf.time_library [TASKS ...]`.

Names, sources, authors and descriptions of images are made up; the classes are those of public datasets. `open` reads
the index from a file; the other times are the least of several runs after it.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.perf.check_names import structures
from incontext.inference.image_source import ImageSource
from incontext.inference.library_entries import Entries, Entry
from incontext.inference.task_library import TaskLibrary

SIZES = (1_000, 10_000, 100_000)
FEATURES = 371
RUNS = 5
ASKED = ("optic disc", "author77", "site12 liver", "Leber", "papilla", "nothing there", "data of site")


def made_up(folder: Path, count: int) -> TaskLibrary:
    """Make a library of many tasks, of which only the index is there."""
    generator = np.random.default_rng(0)
    labels = sorted({each.task.label for each in structures()})
    entries = (
        Entry(
            name=f"{labels[index % len(labels)]}-{index}",
            sha256="0" * 64,
            size_bytes=1,
            classes={1: labels[index % len(labels)].replace("-", " ")},
            labelled_images=4,
            expected_dice={1: 0.9},
            sources=(ImageSource(title=f"Data of site{index % 1999}", licence="CC0"),),
            author=f"author{index % 4999}",
        )
        for index in range(count)
    )
    return TaskLibrary(folder, Entries.of(entries), generator.random((count, FEATURES), np.float32) - np.float32(0.5))


def milliseconds(work: Callable[[], object]) -> float:
    """Least milliseconds of several runs."""
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1000 * min(taken)


def main() -> None:
    """Print a table for each size of a library."""
    for count in [int(each) for each in sys.argv[1:]] or SIZES:
        with TemporaryDirectory() as folder:
            made_up(Path(folder), count).write_index()
            print(f"{count} tasks\n  open {milliseconds(lambda: TaskLibrary.open(Path(folder))):.0f} ms")
            library = TaskLibrary.open(Path(folder))
        for words in ASKED:
            found = len(library.search(words))
            print(f"  {words}: {found} found, {milliseconds(lambda: library.search(words)):.1f} ms")  # noqa: B023
        print(f"  by looks: {milliseconds(lambda: library.nearest(library.looks[0])):.1f} ms", flush=True)  # noqa: B023


if __name__ == "__main__":
    main()
