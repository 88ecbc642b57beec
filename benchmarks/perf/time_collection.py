"""Random slices per second from a collection and two other uses of HDF5: `python -m benchmarks.perf.time_collection`.

All three hold the same noisy images and the same round labels, 128×128, in one file each. A slice is one image and its
label, drawn at random, read by one thread from a warm cache; seconds are CPU time of the process. With the path of a
collection as argument, slices are drawn from random tasks of that collection as well.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np

from megamed import Collection, DatasetCard, Task
from megamed.collection import DatasetWriter
from megamed.manifest import Contents, FileHeader
from megamed.rows import StandardSlice, pack

SIZE_PX = 128
ROWS = 2000
SECONDS = 2.0
ROWS_AT_ONCE = 50

Read = Callable[[int], tuple[np.ndarray, np.ndarray]]


def draw_rows() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield noise images, which do not compress, with discs as labels, which compress as those of organs do."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[:SIZE_PX, :SIZE_PX]
    for _ in range(ROWS):
        centre, radius = rng.integers(32, 96, 2), rng.integers(4, 32)
        label = (down - centre[0]) ** 2 + (across - centre[1]) ** 2 < radius**2
        yield rng.integers(0, 256, (SIZE_PX, SIZE_PX), np.uint8), label.astype(np.uint8)


def collection(path: Path) -> Read:
    """Write the slices as a collection of ours, and return its reader."""
    writer = DatasetWriter(path, SIZE_PX)
    for index, (image, label) in enumerate(draw_rows()):
        row = StandardSlice(
            "noise", "2d", f"s{index}", f"c{index}", "train", image, {"disc": label}, frozenset({"disc"})
        )
        writer.append(pack(row))
    card = DatasetCard(id="drawn", modality="noise", labels={1: "disc"})
    contents = Contents(card=card, subjects={"train": ROWS}, views=writer.finish_views())
    writer.close(FileHeader(size_px=SIZE_PX, contents=contents))
    opened, task = Collection(path), Task(dataset="drawn", modality="noise", axis="2d", label="disc")
    return lambda row: (opened.image(task, row), opened.label(task, row))


def default_chunks(path: Path) -> Read:
    """Write the slices into two arrays that may grow, in h5py's default chunks, and return their reader."""
    shape, maxshape = (ROWS, SIZE_PX, SIZE_PX), (None, SIZE_PX, SIZE_PX)
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", shape, np.uint8, maxshape=maxshape)
        labels = file.create_dataset("labels", shape, np.uint8, maxshape=maxshape, compression="gzip")
        rows = list(draw_rows())
        for start in range(0, ROWS, ROWS_AT_ONCE):
            here = slice(start, start + ROWS_AT_ONCE)
            images[here], labels[here] = (np.stack(part) for part in zip(*rows[here], strict=True))
    file = h5py.File(path, "r", locking=False)
    images, labels = file["images"], file["labels"]
    return lambda row: (images[row], labels[row])


def dataset_per_sample(path: Path) -> Read:
    """Write a group per slice, with an array for image and label each, and return their reader."""
    with h5py.File(path, "w") as file:
        for index, (image, label) in enumerate(draw_rows()):
            file[f"{index}/image"] = image
            file.create_dataset(f"{index}/label", data=label, compression="gzip")
    file = h5py.File(path, "r", locking=False)
    return lambda row: (file[f"{row}/image"][()], file[f"{row}/label"][()])


def slices_per_second(read: Read, rows: int) -> float:
    """Slices per CPU second at random rows, after every row was read once to warm the cache."""
    for row in range(rows):
        read(row)
    order = np.random.default_rng(1).integers(0, rows, 2**20).tolist()
    start, count = time.process_time(), 0
    while (seconds := time.process_time() - start) < SECONDS:
        for row in order[count : count + ROWS_AT_ONCE]:
            read(row)
        count += ROWS_AT_ONCE
    return count / seconds


def everything(opened: Collection) -> tuple[Read, int]:
    """Reader and number of all samples of a collection, in random order, as training reads them."""
    samples = [(task, sample.row) for task in opened.tasks() for sample in opened.samples(task)]
    np.random.default_rng(2).shuffle(samples)

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        task, row = samples[index]
        return opened.image(task, row), opened.label(task, row)

    return read, len(samples)


def main() -> None:
    """Measure the three ways to use HDF5, and the collection named as an argument, and print a line for each."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        for write in (collection, default_chunks, dataset_per_sample):
            path = Path(folder) / f"{write.__name__}.h5"
            speed = slices_per_second(write(path), ROWS)
            print(f"{write.__name__:<24}{speed:>10,.0f} slices/s {path.stat().st_size / 2**20:>8.1f} MiB", flush=True)
        for argument in sys.argv[1:]:
            speed = slices_per_second(*everything(stack.enter_context(Collection(argument))))
            print(f"{argument:<24}{speed:>10,.0f} slices/s")


if __name__ == "__main__":
    main()
