"""Propagation from file to file."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext import Segmenter
from incontext.folders.propagate_file import picture_of, propagate_file
from incontext.networks import checkpoint
from incontext.networks.quality import QualityModel
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.label_colours import rgb


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
    found = propagate_file(segmenter, volume, tmp_path / "mask.tif", write_stack(tmp_path / "label.tif", label))
    assert any("look wrong" in each or "constant" in each or "show nothing" in each for each in found.warnings)


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
    found = propagate_file(segmenter, **given)
    assert ["was made of the same files and options before" in each for each in found.warnings] == [True]
    assert found.picture is None


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


def test_a_picture_of_somebody_elses_is_not_replaced(given: dict[str, Path], segmenter: Segmenter) -> None:
    picture = picture_of(given["out"])
    picture.parent.mkdir()
    picture.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"mask_overlay\.png is somebody's own"):
        propagate_file(segmenter, **given)
    assert picture.read_bytes() == b"mine"
    assert not given["out"].exists()


def test_progress_predicted_dice_the_next_slice_and_a_picture_are_told(
    tmp_path: Path, given: dict[str, Path], segmenter: Segmenter
) -> None:
    steps = list[tuple[int, int]]()
    weights = tmp_path / "judging.safetensors"
    checkpoint.save(weights, segmenter.weights, {})
    quality = QualityModel(bias=-1.0, confidence=1.0, coverage=0.5, flag_below=0.6)
    checkpoint.write_calibration(weights, {"temperature": 1.0, "quality": quality.model_dump()})
    judge = Segmenter(weights, size_px=32, device="cpu")
    found = propagate_file(judge, **given, classes={1: "nodule"}, told=lambda *step: steps.append(step))
    assert steps[-1] == (3, 3)
    result = judge.propagate(given["volume"], given["labels"], {1: "nodule"})
    assert found.predicted_dice == {"nodule": pytest.approx(float(result.predicted_dice[0, 0]))}
    assert found.next_slice == (0, result.next_plane())
    assert found.picture == given["out"].with_name("mask_overlay.png")
    with Image.open(found.picture) as picture:
        colours = {tuple(each) for each in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}
    assert tuple(rgb(result.colours[1])) in colours
    unjudged = propagate_file(segmenter, given["volume"], given["out"].with_name("b.tif"), given["labels"])
    assert unjudged.predicted_dice == {}


def test_slices_are_numbered_as_the_file_counts_them(tmp_path: Path, segmenter: Segmenter) -> None:
    nibabel = pytest.importorskip("nibabel")
    label = np.zeros((30, 40, 4), np.uint8)
    label[8:20, 10:24, 0] = 1
    noise = np.random.default_rng(0).integers(0, 99, label.shape).astype(np.uint8)
    found = {}
    for name, sign in (("up", 1), ("down", -1)):
        for kind, array in (("scan", noise + 50 * label), ("label", label)):
            image = nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 3.0 * sign, 1.0]))
            nibabel.save(image, tmp_path / f"{name}_{kind}.nii.gz")
        given = (tmp_path / f"{name}_{kind}.nii.gz" for kind in ("scan", "mask", "label"))
        found[name] = propagate_file(segmenter, *given)
    assert found["up"].next_slice == found["down"].next_slice
    assert found["up"].next_slice is not None
