"""Propagation from file to file."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext import Segmenter
from incontext.folders.propagate_file import propagate_file
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)), size_px=32)


def write_stack(path: Path, planes: np.ndarray) -> Path:
    first, *others = map(Image.fromarray, planes)
    first.save(path, save_all=True, append_images=others)
    return path


def test_drawn_planes_stay_and_the_axis_may_be_a_number(tmp_path: Path, segmenter: Segmenter) -> None:
    label = np.zeros((4, 30, 40), np.uint8)
    label[1, 8:20, 10:24] = 3
    noise = np.random.default_rng(0).integers(0, 99, label.shape, np.uint8)
    volume = write_stack(tmp_path / "volume.tif", noise + 50 * label)
    drawn = write_stack(tmp_path / "label.tif", label)
    for name, axis in (("a.tif", None), ("b.tif", "0")):
        propagate_file(segmenter, volume, tmp_path / name, drawn, classes={3: "square"}, axis=axis)
        with Image.open(tmp_path / name) as mask:
            assert mask.n_frames == 4
            mask.seek(1)
            np.testing.assert_array_equal(np.asarray(mask), label[1])


@pytest.mark.parametrize("name", ["mask.bogus", "mask", "mask.png", "mask.nii.gz"])
def test_a_mask_that_cannot_be_written_is_told_before_work(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    volume = write_stack(tmp_path / "volume.tif", np.zeros((3, 30, 40), np.uint8))
    monkeypatch.setattr(segmenter, "propagate", None)
    with pytest.raises(ValueError, match=r"mask format is unknown|volume.tif cannot have a mask in"):
        propagate_file(segmenter, volume, tmp_path / "out" / name, volume)
    assert not (tmp_path / "out").exists()


def test_what_looks_wrong_is_returned(tmp_path: Path, segmenter: Segmenter) -> None:
    label = np.zeros((3, 30, 40), np.uint8)
    label[0, 8:20, 10:24] = 1
    volume = write_stack(tmp_path / "volume.tif", np.full(label.shape, 7, np.uint8))
    warned = propagate_file(segmenter, volume, tmp_path / "mask.tif", write_stack(tmp_path / "label.tif", label))
    assert warned
    assert all(isinstance(each, str) for each in warned)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Path]:
    """A volume, its label and the mask that was made of them."""
    label = np.zeros((3, 30, 40), np.uint8)
    label[0, 8:20, 10:24] = 1
    noise = np.random.default_rng(0).integers(0, 99, label.shape, np.uint8)
    return {
        "volume": write_stack(tmp_path / "volume.tif", noise + 50 * label),
        "labels": write_stack(tmp_path / "label.tif", label),
        "out": tmp_path / "masks" / "mask.tif",
    }


def test_a_mask_that_is_made_is_not_made_again(
    given: dict[str, Path], segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    propagate_file(segmenter, **given)
    whole = given["out"].read_bytes()
    for content in (b"", None):  # emptied, or deleted
        given["out"].unlink() if content is None else given["out"].write_bytes(content)
        propagate_file(segmenter, **given)
        assert given["out"].read_bytes() == whole
    monkeypatch.setattr(segmenter, "propagate", None)
    (told,) = propagate_file(segmenter, **given)
    assert "was made of the same files and options before" in told


def test_a_label_of_the_same_size_and_time_is_another_label(given: dict[str, Path], segmenter: Segmenter) -> None:
    propagate_file(segmenter, **given)
    first, times = given["out"].read_bytes(), given["labels"].stat()
    label = np.zeros((3, 30, 40), np.uint8)
    label[2, 5:9, 20:34] = 1
    write_stack(given["labels"], label)
    os.utime(given["labels"], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert given["labels"].stat().st_size == times.st_size
    propagate_file(segmenter, **given)
    assert given["out"].read_bytes() != first


@pytest.mark.parametrize("made", [False, True], ids=["another file", "an edited mask"])
def test_what_is_somebody_elses_is_not_replaced(
    given: dict[str, Path], segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    if made:
        propagate_file(segmenter, **given)
    given["out"].parent.mkdir(exist_ok=True)
    given["out"].write_bytes(b"mine")
    monkeypatch.setattr(segmenter, "propagate", None)
    with pytest.raises(ValueError, match=r"mask\.tif is somebody's own: .* Move it away, or write elsewhere\."):
        propagate_file(segmenter, **given)
    assert given["out"].read_bytes() == b"mine"
