"""Volumes: axes become right, anterior, superior; damage is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers.nifti import read, write
from megamed.readers.source import Source
from megamed.readers.stored import MaskImage
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


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2, 2), (2, 2, 2, 2, 3)])
def test_other_than_three_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected three axes|holds [26] volumes: expected one"):
        read_volume(save(tmp_path / "a.nii.gz", np.zeros(shape, np.uint8), np.eye(4)))


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


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 3, 2, 1), (4, 3, 2, 1, 1)])
def test_axes_of_length_one_say_nothing(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    stored = read(Source((save(tmp_path / "a.nii", array, np.eye(4)),)), MAX_VOXELS)
    assert np.array_equal(stored.space, array.reshape((*shape, 1)[:3]))
    assert len(stored.axes) == stored.array.ndim


@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
@pytest.mark.parametrize(("written", "named"), [("a.nii", "b.nii.gz"), ("a.nii.gz", "b.nii")])
def test_content_tells_version_and_compression(tmp_path: Path, kind: str, written: str, named: str) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(getattr(nibabel, kind)(array, np.eye(4)), tmp_path / written)
    path = (tmp_path / written).rename(tmp_path / named)
    stored = read(Source((path,)), MAX_VOXELS)
    assert np.array_equal(stored.array, array)
    mask = MaskImage((array > 9).astype(np.uint8), stored.geometry)
    (tmp_path / "mask.nii.gz").write_bytes(write(mask, ".nii.gz"))
    again = nibabel.load(tmp_path / "mask.nii.gz")
    assert isinstance(again, getattr(nibabel, kind))
    assert np.array_equal(again.dataobj, array > 9)


def test_a_header_may_state_two_places(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.eye(4))
    image.set_sform(np.diag([1.0, 1, 2, 1]), code=2)
    image.set_qform(np.eye(4), code=1)
    nibabel.save(image, tmp_path / "a.nii")
    stored = read(Source((tmp_path / "a.nii",)), MAX_VOXELS)
    geometry = stored.geometry
    assert "two places that differ" in stored.notes[0]
    assert geometry.affine is not None
    assert geometry.affine[2, 2] == 2
    (other,) = geometry.other_affines
    assert np.allclose(other, np.eye(4))


def test_sizes_of_voxels_are_those_of_the_place_that_is_taken(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.diag([0.5, 0.75, 2, 1]))
    image.set_qform(None, code=0)
    image.header["pixdim"][1:4] = 1
    nibabel.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").spacing_mm == pytest.approx((0.5, 0.75, 2))


@pytest.mark.parametrize(
    ("unit", "size", "mm"),
    [("micron", 40.0, 0.04), ("mm", 2.0, 2.0), ("unknown", 2.0, 2.0), ("meter", 0.002, 2.0), ("meter", 2.0, 2.0)],
)
def test_lengths_are_in_millimetres_and_the_header_keeps_its_unit(
    tmp_path: Path, unit: str, size: float, mm: float
) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.diag([size, size, size, 1]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    stored = read(Source((tmp_path / "a.nii",)), MAX_VOXELS)
    assert np.allclose(stored.geometry.affine, np.diag([mm, mm, mm, 1]))
    assert stored.to_ras().spacing_mm == pytest.approx((mm, mm, mm))
    assert bool(stored.notes) == (unit == "meter" and size == 2)
    (tmp_path / "mask.nii").write_bytes(write(MaskImage(np.zeros((2, 3, 4), np.uint8), stored.geometry), ".nii"))
    mask = nibabel.load(tmp_path / "mask.nii")
    assert mask.header.get_xyzt_units()[0] == unit
    assert np.allclose(mask.affine, image.affine)


@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("um", 1e-3), ("microns", 1e-3), ("cm", 10.0), ("", 1.0)])
def test_other_formats_may_state_a_unit_too(tmp_path: Path, unit: str, mm: float) -> None:
    nrrd = pytest.importorskip("nrrd")
    facts = {"space": "RAS", "space directions": np.eye(3) * 5, "space origin": [1, 2, 3]}
    nrrd.write(
        str(tmp_path / "a.nrrd"), np.zeros((2, 3, 4), np.uint8), facts | ({"space units": [unit] * 3} if unit else {})
    )
    lines = {"ObjectType": "Image", "NDims": "3", "DimSize": "2 3 4", "ElementType": "MET_UCHAR"}
    lines |= {"ElementSpacing": "5 5 5"} | ({"DistanceUnits": unit} if unit else {}) | {"ElementDataFile": "LOCAL"}
    text = "".join(f"{key} = {value}\n" for key, value in lines.items())
    (tmp_path / "a.mha").write_bytes(text.encode() + bytes(24))
    for name in ("a.nrrd", "a.mha"):
        affine = formats.read(Source((tmp_path / name,))).geometry.affine
        assert np.allclose(np.abs(np.linalg.det(affine)), (5 * mm) ** 3), name
