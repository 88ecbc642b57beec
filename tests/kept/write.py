"""Write what people keep, as this version of the library writes it: weights, tasks and a collection, all small.

Run `python -m tests.kept.write` once for each release, and commit the folder; `tests/test_kept_files.py` makes sure
that every later version opens it and finds the same in it. The folder of a released version is never written again.
"""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from incontext import Segmenter, __version__
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed import Collection
from megamed.build import BuildOptions, build
from megamed.standardise import Standard

KEPT = Path(__file__).parent
EXPECTED = "expected.json"
WEIGHTS, COLLECTION = "tiny.safetensors", "collection"
SIDE_PX = 24
CARD = {
    "id": "drawn",
    "modality": "CT (drawn)",
    "license": "CC0-1.0",
    "role": "train",
    "labels": {"1": "disc", "2": "ring"},
    "derived_labels": {"both of them": [1, 2]},
    "subject_pattern": "^(p[0-9]+)_",
    "files": {"image": "images/{case}", "label": "labels/{annotator}/{case}", "unknown": 9},
}


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture and a label map with a square of 1 beside a square of 2."""
    label = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    label[4 + seed : 12 + seed, 4:12], label[4:12, 12:20] = 1, 2
    noise = np.random.default_rng(seed).integers(0, 60, label.shape)
    return (noise + 80 * label).astype(np.uint8), label


def segmenters(weights: Path) -> dict[str, Segmenter]:
    """Fitted segmenters by name, which differ in what a task keeps: settings, classes, and a network that was tuned."""
    images, labels = zip(*map(draw, range(4)), strict=True)
    by_name = {"disc": [label == 1 for label in labels], "ring": [None, *(label == 2 for label in labels[1:])]}
    settings = {"size_px": 32, "device": "cpu", "absent": "keep"}
    return {
        "map": Segmenter(weights, **settings).fit(images, labels, {1: "disc", 2: "ring"}),
        "overlapping": Segmenter(weights, **settings, overlap=True, support="random", support_size=2, ensemble=2).fit(
            images, by_name
        ),
        "tiled": Segmenter(weights, **settings, tiling=16, scaling="window", flips=True).fit(images, labels),
        "unknown": Segmenter(weights, **settings, unknown=9).fit(images, [np.where(x == 2, 9, x) for x in labels]),
        "tuned": Segmenter(weights, **settings, tune=4).fit(images, labels),
    }


def write_collection(folder: Path) -> None:
    """Build a collection of six pictures of three people: two annotators drew them, and nobody judged a corner."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "drawn"
        for place in ("images", "labels/ann", "labels/bob"):
            (source / place).mkdir(parents=True)
        (source / "meta.json").write_text(json.dumps(CARD))
        for seed in range(6):
            name, (image, label) = f"p{seed // 2}_{seed % 2}.png", draw(seed)
            label[:3, :3] = 9
            Image.fromarray(image).save(source / "images" / name)
            Image.fromarray(label).save(source / "labels/ann" / name)
            Image.fromarray(np.roll(label, 1, axis=1)).save(source / "labels/bob" / name)
        with ThreadPoolExecutor(1) as executor:
            build(source, folder, BuildOptions(Standard(16)), executor, lambda *_: None)


def probabilities(segmenter: Segmenter) -> list[float]:
    """Probabilities of all classes at every fourth pixel of a picture that no task holds."""
    return segmenter.predict_proba(draw(5)[0])[0][..., ::4, ::4].astype(float).round(5).ravel().tolist()


def contents(folder: Path) -> dict[str, list[list[int]]]:
    """Sums over the rows of the images and labels of each task of a collection."""
    with Collection(folder) as collection:
        return {
            task.id: [
                [int(plane.sum()) for plane in read(task, [sample.row for sample in collection.samples(task)])]
                for read in (collection.images, collection.labels)
            ]
            for task in collection.tasks()
        }


def main() -> None:
    """Write the folder of this version.

    Raises:
        FileExistsError: If it is there.
    """
    folder = KEPT / __version__
    folder.mkdir()
    torch.manual_seed(0)
    network = SupportOnceNet(
        SupportOnceConfig(channels=(4, 4, 8), heads=1, head_channels=4, groups=2, fitted_channels=2)
    )
    checkpoint.save(folder / WEIGHTS, network, {})
    expected = {}
    for name, segmenter in segmenters(folder / WEIGHTS).items():
        segmenter.save_task(folder / f"{name}.task")
        expected[name] = probabilities(segmenter)
        if name == "map":
            segmenter.save_task(folder / "codes.task", codes_only=True)
            expected["codes"] = expected[name]
    write_collection(folder / COLLECTION)
    told = {"probabilities": expected, "collection": contents(folder / COLLECTION)}
    (folder / EXPECTED).write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
