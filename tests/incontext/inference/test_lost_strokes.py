"""Strokes that the network's grid keeps nothing of are told, and no others."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from incontext import Segmenter
from incontext.folders.segment_folder import segment_folder
from incontext.images.resampling import binary_to_square


def strokes(thickness: int, side: int = 512) -> np.ndarray:
    """A label of two strokes, one of them on the background, and nothing else."""
    label = np.full((side, side), 255, np.uint8)
    label[100 : 100 + thickness, 50:450] = 0
    label[250:290, 100:200] = 1
    return label


def warned(labels: list[np.ndarray], **parameters: Any) -> list[str]:
    """Warnings that tell of strokes, once something is segmented by images of noise with these labels."""
    images = [np.random.default_rng(i).integers(0, 255, label.shape).astype(np.uint8) for i, label in enumerate(labels)]
    with warnings.catch_warnings(record=True, action="always") as caught:
        Segmenter(unknown=255, **parameters).fit(images, labels).predict(images[0])
    return [str(each.message) for each in caught if "strokes" in str(each.message)]


def test_strokes_that_are_lost_on_the_grid_are_told_once() -> None:
    (told,) = warned([strokes(20), strokes(3), strokes(3), strokes(12)])
    assert told.startswith("support_images[1] has strokes outside of 1 that are all lost on the network's grid")
    assert "expected strokes 12 pixels thick" in told
    assert told.endswith("So it is with 1 more.")
    assert "by tiling=128" in told
    assert not warned([strokes(3)], tiling=128)
    assert not warned([np.where(strokes(3) == 255, 0, strokes(3))])


@pytest.mark.parametrize("value", [0, 1])
def test_strokes_as_thick_as_is_told_are_kept_wherever_they_lie(value: int) -> None:
    for offset in range(5):
        for slope in (0, 1, 3):
            label = np.full((512, 512), 255, np.uint8)
            label[300:400, 300:400] = 1 - value
            for column in range(50, 250):
                row = 40 + offset + slope * (column - 50) // 4
                label[row : row + 12, column] = value
            assert (binary_to_square(label == 1, label == 255, 128) == value).any(), (offset, slope)


def test_a_run_tells_of_the_labelled_image_and_not_of_each_that_it_segments(tmp_path: Path) -> None:
    for part, count in (("support", 2), ("query", 3)):
        for index in range(count):
            image = np.random.default_rng(index).integers(0, 255, (512, 512)).astype(np.uint8)
            for folder, array in (("images", image), *([("labels", strokes(3))] if part == "support" else [])):
                (tmp_path / part / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(tmp_path / part / folder / f"{index}.png")
    segmenter = Segmenter(unknown=255)
    summary = segment_folder(segmenter, tmp_path / "support", tmp_path / "query", tmp_path / "out")
    (told,) = (each for each in summary.warnings if "strokes" in each)
    assert told.startswith("0.png has strokes outside of 1 that are all lost")
