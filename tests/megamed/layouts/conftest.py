"""Datasets drawn in a few pixels, and what becomes of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from megamed.layouts import find_subjects
from megamed.prepare import prepare_subject
from megamed.rows import StandardSlice
from megamed.schema import DatasetCard
from megamed.standardise import Standard

FACTS = {"id": "drawn", "modality": "MRI", "labels": {1: "disc", 2: "cup"}, "license": "CC0"}
SIZE_PX = 8


class Prepared(NamedTuple):
    """All rows of a dataset, and the problems of its subjects."""

    rows: list[StandardSlice]
    problems: dict[str, list[str]]

    def areas(self, case: str, modality: str = "mri") -> dict[str, int]:
        """Pixels of every known label of one picture or axial slice."""
        key = (case, modality)
        (row,) = (row for row in self.rows if (row.case, row.modality) == key and row.axis in ("2d", "axial"))
        return {label: int(row.masks[label].sum()) if label in row.masks else 0 for label in sorted(row.known)}


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Prepared]:
    """Prepare the temporary folder as a dataset; keywords change its card."""

    def run(**changes: object) -> Prepared:
        card = DatasetCard.model_validate(FACTS | changes)
        rows, problems = [], {}
        for subject in find_subjects(tmp_path, card):
            found, faults = prepare_subject(card, Standard(SIZE_PX), subject, "train")
            rows += found
            if faults:
                problems[subject.id] = faults
        return Prepared(rows, problems)

    return run


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., np.ndarray]:
    """Write a picture of 8×8 pixels: noise, or a label whose rows have given values."""

    def write(name: str, rows: dict[int, object] | None = None, colour: bool = False) -> np.ndarray:
        shape = (SIZE_PX, SIZE_PX, 3) if colour else (SIZE_PX, SIZE_PX)
        array = np.zeros(shape, np.uint8)
        if rows is None:
            array = np.random.default_rng(len(name)).integers(0, 255, shape, np.uint8)
        for row, value in (rows or {}).items():
            array[row] = value
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
        return array

    return write


@pytest.fixture
def save_volume(tmp_path: Path) -> Callable[..., None]:
    """Write a NIfTI volume."""
    nibabel = pytest.importorskip("nibabel")

    def save(name: str, array: np.ndarray) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)

    return save


@pytest.fixture
def describe(tmp_path: Path) -> Callable[..., None]:
    """Write dataset.json, into a folder of the temporary one if it is named."""

    def write(folder: str = "", **description: object) -> None:
        (tmp_path / folder / "dataset.json").write_text(json.dumps(description))

    return write
