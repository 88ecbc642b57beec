"""A suite is refused where weights have seen its images, whatever the dataset is called."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import run as runs
from benchmarks.plans.task_plans import Settings
from benchmarks.predictors import NamedPredictor, load_predictor, mean_mask
from benchmarks.reports import gather
from benchmarks.scoring.evaluator import Execution
from benchmarks.scoring.leaks import Leaks, find_leaks
from benchmarks.scoring.leaks import trained_on as datasets_of
from benchmarks.scoring.results import read_rows
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed import Collection, Task
from megamed.build import BuildOptions, build
from megamed.standardise import Standard

SIZE_PX = 16
ROLES = {"learned": "train", "other": "train", "tested": "heldout"}


def trained_on(*datasets: str) -> NamedPredictor:
    provenance: dict[str, Any] = {"provenance": {"datasets": dict.fromkeys(datasets, "CC0")}} if datasets else {}
    return NamedPredictor("ours", mean_mask, "ours", provenance)


def write_dataset(folder: Path, name: str, seeds: list[int]) -> None:
    """One subject per seed, each with one noise image that only the seed decides."""
    card = {"id": name, "role": ROLES[name], "modality": "drawing", "labels": {"1": "disc"}, "license": "CC0"}
    for kind in ("images", "labels"):
        (folder / name / kind).mkdir(parents=True)
    (folder / name / "meta.json").write_text(json.dumps(card))
    for seed in seeds:
        image = np.random.default_rng(seed).integers(0, 256, (SIZE_PX, SIZE_PX), np.uint8)
        Image.fromarray(image).save(folder / name / "images" / f"{name}{seed}.png")
        Image.fromarray(np.eye(SIZE_PX, dtype=np.uint8)).save(folder / name / "labels" / f"{name}{seed}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A collection in which one image to be tested with, `tested3`, is also `learned3`."""
    for name, seeds in {"learned": [1, 2, 3], "other": [7, 8], "tested": [3, 4, 5]}.items():
        write_dataset(tmp_path / "data", name, seeds)
    with ThreadPoolExecutor(1) as executor:
        build(tmp_path / "data", tmp_path / "out", BuildOptions(Standard(size_px=SIZE_PX)), executor, lambda *_: None)
    return tmp_path / "out"


@pytest.fixture
def suite(folder: Path) -> tuple[Collection, list[Task]]:
    collection = Collection(folder)
    return collection, collection.tasks(roles=["heldout"])


def test_trained_image_is_refused_and_named(suite: tuple[Collection, list[Task]]) -> None:
    seen = find_leaks(*suite, [trained_on("other"), replace(trained_on("learned", "other"), name="theirs")]).seen
    assert seen.keys() == {"theirs"}
    (reason,) = seen["theirs"].values()
    assert "got 1, such as tested/drawing/2d tested3 is learned/drawing/2d learned3" in reason


def test_trained_dataset_is_refused(suite: tuple[Collection, list[Task]]) -> None:
    (reason,) = find_leaks(*suite, [trained_on("tested")]).seen["ours"].values()
    assert "got 3, such as tested/drawing/2d tested3; tested/drawing/2d tested4" in reason


@pytest.mark.parametrize(
    ("datasets", "not_compared"),
    [((), {}), (("other",), {"ours": []}), (("elsewhere", "other"), {"ours": ["elsewhere"]})],
)
def test_clean_weights_pass(
    suite: tuple[Collection, list[Task]], datasets: tuple[str, ...], not_compared: dict[str, list[str]]
) -> None:
    assert find_leaks(*suite, [trained_on(*datasets)]) == Leaks({}, not_compared)


def test_run_names_the_leak_and_harms_nobody_else(folder: Path) -> None:
    settings = Settings(support_size=1, draws=1, queries=2)
    out, weights = folder.parent / "scores", folder.parent / "ours"
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))
    checkpoint.save(weights, network, {"datasets": {"learned": "CC0"}})
    summary = runs.run_benchmark(folder, settings, [str(weights), "mean-mask"], out, Execution())
    reason = summary["failed"]["ours"]["tested/drawing/2d/disc"]
    assert reason.startswith("The weights were trained on its images: expected none in common, got 1, such as tested/")
    assert list(summary["overall"]) == ["mean-mask"]
    assert {row.predictor for row in read_rows(out / "rows.csv")} == {"mean-mask"}
    assert gather([out]).notes["failed"] == {"ours on tested/drawing/2d/disc": reason}
    with pytest.raises(ValueError, match=r"Every predictor failed on every task: .*trained on its images"):
        runs.run_benchmark(folder, settings, [str(weights)], folder.parent / "alone", Execution())


def test_run_tells_what_could_not_be_compared(folder: Path) -> None:
    weights = folder.parent / "ours"
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))
    checkpoint.save(weights, network, {"datasets": {"other": "CC0", "elsewhere": "CC0"}})
    settings = Settings(support_size=1, draws=1, queries=2)
    summary = runs.run_benchmark(folder, settings, [str(weights)], folder.parent / "scores", Execution())
    assert summary["training_data_not_compared"] == {"ours": ["elsewhere"]}


def test_packaged_weights_say_what_they_were_trained_on() -> None:
    assert "stare" not in datasets_of(load_predictor("packaged"))
    assert len(datasets_of(load_predictor("packaged"))) > 10
    assert datasets_of(load_predictor("mean-mask")) == []
