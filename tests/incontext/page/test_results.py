"""Masks that `segment` wrote are predictions to be corrected."""

from pathlib import Path

import numpy as np
import pytest

from incontext import read_label_image, read_source_image
from incontext.folders.segment_folder import segment_folder
from incontext.page.results import SegmentedFolder
from incontext.page.store import opened
from tests.incontext.page.test_store import plain_folder, segmenter
from tests.killed_runs import write_images


def test_masks_of_a_run_are_predictions_for_images_without_a_label(tmp_path: Path) -> None:
    support, folder = write_images(tmp_path / "support", ["x"]), plain_folder(tmp_path / "in")
    segment_folder(segmenter(), support, folder, tmp_path / "out")
    results = SegmentedFolder(tmp_path / "out")
    (tmp_path / "out" / "masks" / "b.png").write_bytes(b"damaged")
    with opened(folder, results.classes) as annotated:
        found = dict(results.predictions(annotated))
        assert found.keys() == {0, 2}
        case = read_source_image(folder / "c.png", "image")
        label = read_label_image(tmp_path / "out" / "masks" / "c.png", "mask", case)
        assert np.array_equal(found[2].planes, label.planes)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no results"):
        SegmentedFolder(tmp_path)
