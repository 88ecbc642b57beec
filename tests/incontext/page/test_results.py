"""Masks that `segment` wrote are predictions to be corrected."""

from pathlib import Path

import numpy as np
import pytest

from incontext import read_label_image, read_source_image
from incontext.folders.segment_folder import segment_folder
from incontext.page.results import SegmentedFolder
from incontext.page.store import opened
from tests.incontext.page.test_store import draw_and_accept, plain_folder, segmenter
from tests.killed_runs import drawn, write_images


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


def test_once_images_were_accepted_the_masks_of_a_run_are_made_anew(tmp_path: Path) -> None:
    support, folder = write_images(tmp_path / "support", ["x"]), plain_folder(tmp_path / "in")
    segment_folder(segmenter(), support, folder, tmp_path / "out")
    results = SegmentedFolder(tmp_path / "out")
    with opened(folder, results.classes) as annotated:
        assert {each.round for _, each in results.predictions(annotated)} == {1}
        draw_and_accept(annotated)
        assert {index: each.round for index, each in results.predictions(annotated)} == {1: 0, 2: 0}
        (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    with opened(folder) as annotated:
        assert results.told(annotated) == f"3 of 4 images have a mask in {tmp_path / 'out'}, which stays as it is."


def test_of_masks_that_overlap_the_last_class_stays(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    images, labels = zip(*(drawn(seed) for seed in range(20, 23)), strict=True)
    masks = [label[0] > 0 for label in labels]
    learner = segmenter().set_params(overlap=True)
    learner.fit([image[0] for image in images], {"disc": masks, "rim": masks})
    segment_folder(learner, None, folder, tmp_path / "out")
    results, found = SegmentedFolder(tmp_path / "out"), []
    with opened(folder, results.classes) as annotated:
        ((_, prediction),) = results.predictions(annotated)
        case = read_source_image(folder / "a.png", "image")
    for name in ("disc", "rim"):
        found.append(read_label_image(tmp_path / "out" / "masks" / name / "a.png", "mask", case).planes > 0)
    assert np.array_equal(prediction.planes, np.where(found[1], 2, found[0]))
    assert found[1].any()


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no results"):
        SegmentedFolder(tmp_path)
