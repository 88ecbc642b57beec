"""Two runs of the baselines, at two support sizes, on bright squares of two datasets."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.plans.task_plans import Settings
from benchmarks.run import run_benchmark
from benchmarks.scoring.evaluator import Execution
from megamed.build import BuildOptions, build
from megamed.standardise import Standard

SIZES = (1, 3)


@pytest.fixture(scope="package")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reports")
    for dataset, modality in (("squares", "drawing"), ("tiles", "photo")):
        for folder in ("images", "labels"):
            (root / dataset / folder).mkdir(parents=True)
        card = {"id": dataset, "role": "heldout", "modality": modality, "labels": {"1": "square"}, "license": "CC0"}
        (root / dataset / "meta.json").write_text(json.dumps(card))
        for case in range(5):
            label = np.zeros((32, 32), np.uint8)
            label[4 + 2 * case : 16 + 2 * case, 8:20] = 1
            Image.fromarray(label).save(root / dataset / "labels" / f"case{case}.png")
            Image.fromarray(label * 200 + 10).save(root / dataset / "images" / f"case{case}.png")
    with ThreadPoolExecutor(1) as executor:
        build(root, root / "collection", BuildOptions(Standard(size_px=32)), executor, lambda *_: None)
    return root / "collection"


@pytest.fixture(scope="package")
def runs(collection: Path) -> Path:
    """A folder of the runs, not to be changed."""
    out = collection.parent / "runs"
    for size in SIZES:
        settings = Settings(support_size=size, draws=2, queries=5)
        run_benchmark(collection, settings, ["mean-mask", "nearest-copy"], out / f"S{size}", Execution("cpu", 8))
    return out


@pytest.fixture
def change(runs: Path, tmp_path: Path) -> Callable[[Callable[[dict], object]], Path]:
    """Copies the run at the largest size with its summary changed."""

    def changed(edit: Callable[[dict], object]) -> Path:
        copy = tmp_path / "changed"
        copy.mkdir()
        for path in (runs / f"S{SIZES[-1]}").iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        summary = json.loads((copy / "summary.json").read_text())
        edit(summary)
        (copy / "summary.json").write_text(json.dumps(summary))
        return copy

    return changed
