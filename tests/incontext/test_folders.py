"""Folders of images of every kind: masks in their formats, a preview, a summary."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext import Segmenter
from incontext.folders import read_folder, segment_folder
from incontext.support_once import SupportOnceConfig, SupportOnceNet


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)), size_px=32)


def volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright block in the middle planes, and its label, 2."""
    label = np.zeros((20, 24, 6), dtype=np.uint8)
    label[5:12, 6 + seed : 14 + seed, 2:5] = 2
    return (np.random.default_rng(seed).normal(100, 10, label.shape) + 60 * label).astype(np.float32), label


def write_volumes(folder: Path, names: list[str]) -> Path:
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for seed, name in enumerate(names):
        for part, array in zip(("images", "labels"), volume(seed), strict=True):
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / part / name)
    return folder


def test_a_folder_of_volumes_gives_volumes(tmp_path: Path, segmenter: Segmenter) -> None:
    nibabel = pytest.importorskip("nibabel")
    support = write_volumes(tmp_path / "support", ["a.nii.gz", "b.nii.gz"])
    query = write_volumes(tmp_path / "query", ["c.nii.gz"])
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert not summary.failures
    written = nibabel.load(tmp_path / "out" / "masks" / "c.nii.gz")
    original = nibabel.load(query / "images" / "c.nii.gz")
    mask = np.asanyarray(written.dataobj)
    np.testing.assert_array_equal(written.affine, original.affine)
    assert mask.shape == original.shape
    assert summary.images[0].area_px == {2: np.count_nonzero(mask == 2)}
    label = volume(0)[1] == 2
    both = np.count_nonzero((mask == 2) & label)
    expected = 2 * both / (np.count_nonzero(mask) + np.count_nonzero(label))
    assert summary.mean_dice == {2: pytest.approx(expected)}


def test_the_summary_tells_how_images_were_prepared(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_volumes(tmp_path / "support", ["a.nii"])
    segment_folder(segmenter, support, support, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert content["normalisation"] == str(segmenter.fitted.preparation.normalisation)
    assert content["tiling"].startswith("the whole image: structures are ")
    assert content["classes"] == {"2": "2"}


def test_what_looks_wrong_is_told_once(tmp_path: Path, segmenter: Segmenter) -> None:
    support, query = tmp_path / "support", tmp_path / "query"
    for part in (support / "images", support / "labels", query):
        part.mkdir(parents=True)
    image, label = (plane[..., 3] for plane in volume(0))
    grey = np.clip(image, 0, 255).astype(np.uint8)
    Image.fromarray(grey).save(support / "images" / "a.png")
    Image.fromarray(label).save(support / "labels" / "a.png")
    for name in "bc":
        Image.fromarray(255 - grey // 4).save(query / f"{name}.png")
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert len(summary.images) == 2
    assert len(summary.warnings) == len(set(summary.warnings)) > 0


def test_a_name_ends_where_its_suffix_begins(tmp_path: Path) -> None:
    for name in ("one.two.png", "three.nii.gz", "four.NII.GZ", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [pair.image.name for pair in read_folder(tmp_path)] == ["four.NII.GZ", "one.two.png", "three.nii.gz"]
    (tmp_path / "three.nrrd").touch()
    with pytest.raises(ValueError, match=r"holds two images of one name: expected one, got three\.nii\.gz"):
        read_folder(tmp_path)
