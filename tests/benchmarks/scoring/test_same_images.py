"""Runs are paired if their images and labels are the same, whatever else their collections hold."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.plans.task_plans import Settings, plan_suite
from benchmarks.scoring.results import Row, append_rows, claim_folder, shared_rows
from benchmarks.scoring.same_images import note_contents
from tests.benchmarks.conftest import DrawnCollection

TASK = "cells/drawing/2d/disc"


class Changed(DrawnCollection):
    """The same drawings, with other grey values in the image of one row."""

    def images(self, task: object, rows: object) -> np.ndarray:
        images = super().images(task, rows)
        images[[row == 20 for row in rows]] += 1
        return images


def result(folder: Path, collection: DrawnCollection, name: str, label_px: int = 49, noted: bool = True) -> Path:
    """A folder with rows of one predictor on the query in row 20."""
    claim_folder(folder, {"collection_sha256": type(collection).__name__}, {name: name})
    if noted:
        note_contents(folder, collection, plan_suite(collection, Settings(support_size=3, draws=1))[0])
    append_rows(folder / "rows.csv", [Row(name, "cells", TASK, "s2", "s2-0", 0, 3, "0a1b2c3d", label_px, 40, 0.5)])
    return folder


def test_another_image_of_the_same_name_is_named(tmp_path: Path) -> None:
    ours = result(tmp_path / "ours", DrawnCollection(), "a")
    theirs = result(tmp_path / "theirs", Changed(), "b")
    with pytest.raises(ValueError, match=r"theirs is of a collection of other content than .*ours: .* 1 others in "
                       r"cells/drawing/2d/disc \(s2-0\)\. Score both"):  # fmt: skip
        shared_rows([ours, theirs])


def test_another_label_is_noticed_in_results_of_an_earlier_version(tmp_path: Path) -> None:
    ours = result(tmp_path / "ours", DrawnCollection(), "a", noted=False)
    theirs = result(tmp_path / "theirs", DrawnCollection(), "b", label_px=48, noted=False)
    with pytest.raises(ValueError, match=r"cells/drawing/2d/disc \(s2-0\)"):
        shared_rows([ours, theirs])


def test_more_datasets_make_no_difference(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class More(DrawnCollection):
        """The same drawings and another manifest."""

    ours = result(tmp_path / "ours", DrawnCollection(), "a")
    assert len(shared_rows([ours, result(tmp_path / "theirs", More(), "b")])) == 2
    assert not caplog.text


def test_an_earlier_version_that_tells_no_images_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ours = result(tmp_path / "ours", DrawnCollection(), "a")
    assert len(shared_rows([ours, result(tmp_path / "theirs", Changed(), "b", noted=False)])) == 2
    assert "are of two collections, and the older does not tell its images" in caplog.text
