"""A small real collection of drawings, built by megamed."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed.build import BuildOptions, build
from megamed.standardise import Standard

SIZE_PX = 32


def draw_dataset(folder: Path, role: str, subjects: int) -> None:
    """Discs (label 1) and squares (label 2) on noise, two images per subject."""
    rng = np.random.default_rng(len(folder.name))
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    rows, columns = np.ogrid[:40, :40]
    for subject in range(subjects):
        for index in range(2):
            disc = (rows - rng.integers(8, 32)) ** 2 + (columns - rng.integers(8, 32)) ** 2 <= 36
            square = (abs(rows - rng.integers(6, 34)) <= 5) & (abs(columns - rng.integers(6, 34)) <= 5)
            label = np.where(disc, 1, np.where(square, 2, 0)).astype(np.uint8)
            image = (90 * label + rng.integers(0, 60, label.shape)).astype(np.uint8)
            Image.fromarray(image).save(folder / "images" / f"s{subject}_{index}.png")
            Image.fromarray(label).save(folder / "labels" / f"s{subject}_{index}.png")
    card = {
        "id": folder.name,
        "role": role,
        "modality": "drawing",
        "labels": {"1": "disc", "2": "square"},
        "subject_pattern": r"^(s\d+)_",
        "license": "CC0",
    }
    (folder / "meta.json").write_text(json.dumps(card))


@pytest.fixture(scope="session")
def collection_path(tmp_path_factory) -> Path:
    """The path of a collection with datasets of every role, 32×32."""
    root, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("built") / "collection"
    for name, role, subjects in [
        ("cells", "train", 6),
        ("bones", "train", 3),
        ("toys", "auxiliary", 4),
        ("eyes", "dev", 5),
    ]:
        draw_dataset(root / name, role, subjects)
    with ThreadPoolExecutor(1) as executor:
        report = build(root, out, BuildOptions(Standard(size_px=SIZE_PX)), executor, lambda *_: None)
    assert report.complete
    return out
