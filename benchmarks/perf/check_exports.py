"""Exported models against `Segmenter.predict`: `python -m benchmarks.perf.check_exports COLLECTION [TASKS]`.

The first task with subjects enough of each of several datasets, five unless TASKS says otherwise or those of
`--dataset`, is learned from some labelled images, once with the packaged weights and once tuned; where tuning does not
help and is not accepted, weights are moved at random in its place. Each is exported in all formats, and all segment
images of other subjects, which are also cut and stretched to other sides. A row of the table tells of the weights, how
much they change any probability at most, and for each format the largest difference from `predict`. `--keep FOLDER`
keeps the files.
"""

import argparse
import io
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from incontext.inference.model_files import WRITERS
from incontext.networks.weights_delta import Tuned, WeightsDelta
from incontext.segmenter import Segmenter
from megamed.collection import Collection
from megamed.schema import Task

LABELLED, ASKED = 8, 2
"""Labelled images of a task, and images that are segmented."""
MOVED = 0.05
"""Standard deviation of the changes of weights, as a share of the mean size of their tensor."""

Run = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Print a row for each task, untuned and tuned."""
    parser = argparse.ArgumentParser()
    parser.add_argument("collection", type=Path)
    parser.add_argument("tasks", type=int, nargs="?", default=5)
    parser.add_argument("--dataset", action="append")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    print(f"{'task':<80}{'weights':<18}{'moved by':>10}" + "".join(f"{suffix:>16}" for suffix in WRITERS), flush=True)
    with Collection(given.collection) as collection, tempfile.TemporaryDirectory() as folder:
        kept = given.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        for task in _one_of_each_dataset(collection, given.dataset)[: given.tasks]:
            for row in _rows(collection, task, kept):
                print(f"{task.id:<80}" + row, flush=True)


def _one_of_each_dataset(collection: Collection, datasets: list[str] | None) -> list[Task]:
    enough = (each for each in reversed(collection.tasks(datasets)) if len(_by_subject(collection, each)) > LABELLED)
    return list({task.dataset: task for task in enough}.values())[::-1]


def _by_subject(collection: Collection, task: Task) -> list[int]:
    """A labelled image of each subject, by its row."""
    return list({sample.subject: sample.row for sample in collection.samples(task)}.values())


def _rows(collection: Collection, task: Task, folder: Path) -> Iterator[str]:
    """Compare the exports of a task, with the packaged weights and with tuned ones."""
    by_subject = _by_subject(collection, task)
    labelled, asked = by_subject[:LABELLED], by_subject[LABELLED : LABELLED + ASKED]
    segmenter = Segmenter(absent="keep", device="cpu")
    segmenter.fit(list(collection.images(task, labelled)), list(collection.labels(task, labelled)), {1: task.label})
    images = [sides for image in collection.images(task, asked) for sides in _of_other_sides(image)]
    unmoved = [np.array(each) for each in segmenter.predict_proba(images)]
    for name in ("packaged", "tuned"):
        tuned = segmenter.set_params(tune="auto" if name == "tuned" else 0).tuned
        if tuned and not tuned.delta:
            tuned = Tuned(_some_changes(segmenter), "moved at random")
            segmenter.keep_tuned(tuned)
        weights = tuned.reason.partition(":")[0] if tuned else name
        expected = segmenter.predict_proba(images)
        apart = [
            _apart(map(_opened(segmenter.export(folder / f"{task.dataset}-{name}{suffix}")), images), expected)
            for suffix in WRITERS
        ]
        yield f"{weights:<18}{_apart(unmoved, expected):>10.1e}" + "".join(f"{each:>16.1e}" for each in apart)


def _some_changes(segmenter: Segmenter) -> WeightsDelta:
    torch.manual_seed(0)
    parameters = segmenter._load().module.named_parameters()
    return WeightsDelta.of({name: MOVED * each.abs().mean() * torch.randn_like(each) for name, each in parameters})


def _apart(found: Iterable[np.ndarray], expected: Iterable[np.ndarray]) -> float:
    """Largest difference of any probability."""
    return max(float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True))


def _of_other_sides(image: np.ndarray) -> list[Float32[np.ndarray, "H W"]]:
    image = image.astype(np.float32)
    return [image, image[:-30, 17:], np.repeat(image, 2, axis=0)[: len(image) + 60]]


def _opened(path: Path) -> Run:
    """Open a model as programs without this library do: a function from an image (H, W) to probabilities (1, H, W)."""
    if path.suffix == ".pt2":
        program = torch.export.load(io.BytesIO(path.read_bytes())).module()
        return lambda image: program(torch.from_numpy(image[None, None])).detach().numpy()[0, 0]
    import onnxruntime

    graph = path.read_bytes() if path.suffix == ".onnx" else zipfile.ZipFile(path).read("model.onnx")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image[None, None]})[0][0, 0]


if __name__ == "__main__":
    main()
