"""A collection of bright squares, built from files as a user would."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from megamed.build import BuildOptions, build
from megamed.standardise import Standard


def build_squares(root: Path, role: str, case_name: str = "case", **facts: object) -> Path:
    """Write a dataset of six images with one square each, and build a collection of it; facts change its card."""
    for folder in ("images", "labels"):
        (root / "squares" / folder).mkdir(parents=True)
    card = {"id": "squares", "role": role, "modality": "drawing", "labels": {"1": "square"}, "license": "CC0"} | facts
    (root / "squares" / "meta.json").write_text(json.dumps(card))
    for case in range(6):
        label = np.zeros((32, 32), np.uint8)
        label[4 + 2 * case : 16 + 2 * case, 8:20] = 1
        Image.fromarray(label).save(root / "squares" / "labels" / f"{case_name}{case}.png")
        Image.fromarray(label * 200 + 10).save(root / "squares" / "images" / f"{case_name}{case}.png")
    with ThreadPoolExecutor(1) as executor:
        build(root, root / "collection", BuildOptions(Standard(size_px=32)), executor, lambda *_: None)
    return root / "collection"
