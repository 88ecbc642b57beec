"""A small drawn dataset that tests spoil in one place at a time."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from megamed.build import BuildOptions, BuildReport, build
from megamed.standardise import Standard

CARD = {
    "id": "drawn",
    "modality": "CT (drawn)",
    "labels": {"1": "disc", "2": "ring"},
    "derived_labels": {"both of them": [1, 2]},
    "subject_pattern": r"^(p\d+)_",
    "license": "CC0",
}


def draw_case(seed: int, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture and a label map with a square of 1 beside a square of 2."""
    label = np.zeros((size, size), np.uint8)
    label[4:12, 4:12], label[4:12, 12:20] = 1, 2
    noise = np.random.default_rng(seed).integers(0, 100, label.shape)
    return (noise + 70 * label).astype(np.uint8), label


def save_case(folder: Path, name: str, image: np.ndarray, label: np.ndarray) -> None:
    Image.fromarray(image).save(folder / "images" / f"{name}.png")
    Image.fromarray(label).save(folder / "labels" / f"{name}.png")


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write a dataset of some subjects with two images each; keywords change its card."""

    def make(subjects: int = 5, folder: str = "data/drawn", **changes: object) -> Path:
        root = tmp_path / folder
        (root / "images").mkdir(parents=True)
        (root / "labels").mkdir()
        (root / "meta.json").write_text(json.dumps(CARD | changes))
        for subject in range(subjects):
            for view in "ab":
                save_case(root, f"p{subject}_{view}", *draw_case(2 * subject + (view == "b")))
        return root

    return make


@pytest.fixture
def build_folder(tmp_path: Path) -> Callable[..., BuildReport]:
    """Build in this process into `out` of the temporary folder."""

    def run(root: Path, out: Path = tmp_path / "out", size_px: int = 16, **options: Any) -> BuildReport:
        with ThreadPoolExecutor(1) as executor:
            return build(
                root, out, BuildOptions(**{"standard": Standard(size_px)} | options), executor, lambda *_: None
            )

    return run
