"""What people keep is opened by every later version: weights, tasks and collections of each release."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from incontext import Segmenter
from megamed.collection import verify
from tests.kept.write import COLLECTION, EXPECTED, KEPT, WEIGHTS, contents, probabilities

VERSIONS = sorted(path.parent for path in KEPT.glob(f"*/{EXPECTED}"))
TASKS = [(folder, task) for folder in VERSIONS for task in sorted(folder.glob("*.task"))]


def expected(folder: Path) -> dict[str, Any]:
    return json.loads((folder / EXPECTED).read_text(encoding="utf-8"))


def test_files_of_a_release_are_kept() -> None:
    assert [folder.name for folder in VERSIONS] == ["0.1.0"]
    assert {task.stem for _, task in TASKS} == {"codes", "map", "overlapping", "tiled", "tuned", "unknown"}


@pytest.mark.parametrize(("folder", "task"), TASKS, ids=lambda path: path.name)
def test_a_task_finds_what_it_found(folder: Path, task: Path) -> None:
    found = probabilities(Segmenter.load_task(task, folder / WEIGHTS, device="cpu"))
    np.testing.assert_allclose(found, expected(folder)["probabilities"][task.stem], rtol=0, atol=1e-4)


def test_codes_that_nothing_is_told_of_tell_nothing() -> None:
    folder = KEPT / "0.1.0"
    task = Segmenter.load_task(folder / "codes.task", folder / WEIGHTS, device="cpu")
    assert not task.fitted.left_out
    assert task.expected_ is None


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_a_collection_holds_what_it_held(folder: Path) -> None:
    assert contents(folder / COLLECTION) == expected(folder)["collection"]
    assert not verify(folder / COLLECTION)
