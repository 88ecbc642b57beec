"""Volumes: axes become right, anterior, superior; damage is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest

from megamed.readers.nifti import read
from megamed.readers.source import Source
from megamed.readers.volume import MAX_VOXELS, Volume

nibabel = pytest.importorskip("nibabel")


def read_volume(path: Path) -> Volume:
    return read(Source((path,)), MAX_VOXELS).to_ras()


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def test_axes_become_right_anterior_superior(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    to_ras = np.array([[0, -2, 0, 0], [0, 0, 3, 0], [4, 0, 0, 0], [0, 0, 0, 1.0]])  # axes: S, L, A
    volume = read_volume(save(tmp_path / "a.nii.gz", array, to_ras))
    assert np.array_equal(volume.array, array.transpose(1, 2, 0)[::-1])
    assert volume.spacing_mm == (2.0, 3.0, 4.0)
    assert np.all(np.diag(volume.affine) > 0)


@pytest.mark.parametrize("shape", [(4, 4), (2, 2, 2, 2)])
def test_other_than_three_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected three axes|holds 2 volumes: expected one"):
        read_volume(save(tmp_path / "a.nii.gz", np.zeros(shape, np.uint8), np.eye(4)))


def test_colour_volume_is_refused(tmp_path: Path) -> None:
    colour = np.zeros((2, 2, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    with pytest.raises(ValueError, match="expected real numbers"):
        read_volume(save(tmp_path / "a.nii.gz", colour, np.eye(4)))


@pytest.mark.parametrize("keep", [0, 10, 300])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, keep: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 8), np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise, np.eye(4))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="cannot be read"):
        read_volume(path)


def test_missing_nibabel_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"incontext-seg\[medical\]"):
        read_volume(tmp_path / "a.nii.gz")
