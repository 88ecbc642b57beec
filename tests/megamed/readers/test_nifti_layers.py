"""NIfTI labels that hold one mask for each class, as nibabel writes them."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from incontext.images.source_image import read_label_image, read_source_image
from megamed import formats
from megamed.readers import nifti_layers
from megamed.readers.source import Source
from megamed.readers.stored import Canvas

AFFINE = np.array([[0, 2, 0, 9], [0, 0, 3, -7], [-1, 0, 0, 4], [0, 0, 0, 1.0]])
SHAPE = (6, 7, 8)


@pytest.fixture
def label() -> np.ndarray:
    values = np.zeros(SHAPE, np.uint8)
    values[1:3, 2:6, 1:4], values[3:5, 1:4, 5:] = 1, 2
    return values


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def canvas_of(path: Path) -> Canvas:
    stored = formats.read(Source((path,)))
    return Canvas(path, stored.shape, stored.geometry)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_one_hot_labels_are_classes_without_the_background(tmp_path: Path, label: np.ndarray, dtype: type) -> None:
    image = save(tmp_path / "image.nii.gz", np.random.default_rng(0).normal(size=SHAPE))
    path = save(tmp_path / "label.nii.gz", (label[..., None] == np.arange(3)).astype(dtype))
    assert nifti_layers.names_in(path) == {1: "Segment_1", 2: "Segment_2"}
    drawn = nifti_layers.read_drawn(path, canvas_of(image))
    assert [np.array_equal(each.draw(), label == each.number) for each in drawn.segments] == [True, True]
    assert drawn.notes == [f"label.nii.gz: {nifti_layers.FIRST_IS_BACKGROUND}"]
    case = read_source_image(image, "image")
    assert np.array_equal(read_label_image(path, "label", case).planes, case.view.planes(label))


def test_classes_that_overlap_stay_whole_and_lie_as_their_affine_says(tmp_path: Path, label: np.ndarray) -> None:
    layers = np.stack([label > 0, label == 2], axis=-1)
    flipped = AFFINE.copy()
    flipped[:3, 1], flipped[:3, 3] = -AFFINE[:3, 1], AFFINE[:3, 3] + 6 * AFFINE[:3, 1]
    path = save(tmp_path / "label.nii", layers[:, ::-1].astype(np.uint8) * 255, flipped)
    drawn = nifti_layers.read_drawn(path, canvas_of(save(tmp_path / "image.nii", np.ones(SHAPE))))
    assert np.array_equal(np.stack([each.draw() for each in drawn.segments], axis=-1), layers)
    assert drawn.notes == []
    picture = replace(canvas_of(tmp_path / "image.nii"), shape=SHAPE)
    assert nifti_layers.recognises(path)
    assert not nifti_layers.recognises(tmp_path / "image.nii")
    assert formats.drawn_format(path, picture) is not None


def test_what_has_several_readings_is_refused(tmp_path: Path, label: np.ndarray) -> None:
    layers = (label[..., None] == np.arange(3)).astype(np.uint8)
    film = canvas_of(save(tmp_path / "plain.nii", np.ones(SHAPE)))
    path = save(tmp_path / "label.nii", layers)
    moved = replace(film, path=save(tmp_path / "film.nii", np.ones((*SHAPE, 3))))
    with pytest.raises(ValueError, match="as many volumes as its image"):
        nifti_layers.read_drawn(path, moved)
    with pytest.raises(ValueError, match="label lies elsewhere than its image"):
        nifti_layers.read_drawn(save(path, layers, AFFINE + 5 * np.eye(4, k=3)), film).segments[0].draw()
    with pytest.raises(ValueError, match=r"expected a label map, or a mask of 0 and 1 .*argmax"):
        nifti_layers.names_in(save(tmp_path / "odd.nii", layers * np.float32(0.4)))
