"""Files in their own order of axes, whatever their format: the table tells formats apart, and reads each once."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers.source import SERIES, Source
from megamed.readers.stored import StoredImage
from tests.dicom_files import LPS_TO_RAS, OBLIQUE, series_affine, write_enhanced, write_segmentation, write_series

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("nrrd")
pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

SHAPE = (4, 5, 6)
SPACING_MM = (1.0, 1.5, 2.5)
ORIGIN_MM = (10.0, -20.0, 30.0)
STRAIGHT = np.eye(3)


def affine_of(directions: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * SPACING_MM, ORIGIN_MM
    return affine


def read_scan(path: Path) -> StoredImage:
    return formats.read(formats.source_at(path))


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def save_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    """Write with SimpleITK, whose space runs to the left and the back."""
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    in_itk = LPS_TO_RAS @ affine
    spacing_mm = np.linalg.norm(in_itk[:3, :3], axis=0)
    image.SetSpacing(spacing_mm.tolist())
    image.SetOrigin(in_itk[:3, 3].tolist())
    image.SetDirection((in_itk[:3, :3] / spacing_mm).ravel().tolist())
    sitk.WriteImage(image, str(path), True)
    return path


@pytest.mark.parametrize("directions", [STRAIGHT, OBLIQUE, -OBLIQUE], ids=["straight", "oblique", "flipped"])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd"])
def test_array_and_affine_are_the_file_s_own(
    tmp_path: Path, array: np.ndarray, suffix: str, directions: np.ndarray
) -> None:
    affine = affine_of(directions)
    save = save_nifti if suffix.startswith("nii") else save_itk
    scan = read_scan(save(tmp_path / f"a.{suffix}", array, affine))
    assert np.array_equal(scan.array, array)
    assert scan.geometry.affine == pytest.approx(affine, abs=1e-5)
    assert scan.shape == SHAPE
    assert scan.dtype == np.int16


def test_nrrd_without_directions_lies_along_the_axes(tmp_path: Path, array: np.ndarray) -> None:
    import nrrd

    nrrd.write(str(tmp_path / "a.nrrd"), array, {"spacings": list(SPACING_MM)})
    scan = read_scan(tmp_path / "a.nrrd")
    assert np.array_equal(scan.array, array)
    assert scan.geometry.affine == pytest.approx(np.diag([*SPACING_MM, 1]))


def test_a_fourth_axis_of_length_one_is_none(tmp_path: Path, array: np.ndarray) -> None:
    scan = read_scan(save_nifti(tmp_path / "a.nii", array[..., None], affine_of(STRAIGHT)))
    assert np.array_equal(scan.space, array)
    assert scan.shape == scan.array.shape == (*SHAPE, 1)


def test_several_volumes_in_a_file_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    path = save_nifti(tmp_path / "a.nii", np.stack([array] * 2, axis=-1), affine_of(STRAIGHT))
    with pytest.raises(ValueError, match=r"a.nii cannot be read: it holds 2 volumes: expected one.*slicer\[..., 0\]"):
        read_scan(path)


@pytest.mark.parametrize("directions", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def test_a_series_is_slices_rows_columns(tmp_path: Path, array: np.ndarray, directions: np.ndarray) -> None:
    affine = series_affine(directions, SPACING_MM, ORIGIN_MM)
    files = write_series(tmp_path / "scan", array, affine, "MR")
    for scan in (read_scan(tmp_path / "scan"), read_scan(tmp_path)):
        assert np.array_equal(scan.array, array)
        assert scan.geometry.affine == pytest.approx(LPS_TO_RAS @ affine)
        assert scan.geometry.files == tuple(files)
        assert scan.geometry.modality == "MR"


def test_labels_beside_a_series_are_no_series(tmp_path: Path, array: np.ndarray) -> None:
    files = write_series(tmp_path / "scan", array, series_affine(STRAIGHT, SPACING_MM, ORIGIN_MM))
    write_segmentation(tmp_path / "scan" / "seg.dcm", files, {"liver": array > 0})
    (tmp_path / "scan" / "notes.txt").write_text("of the study")
    assert np.array_equal(read_scan(tmp_path / "scan").array, array)


@pytest.mark.parametrize("count", [0, 2])
def test_a_folder_of_no_or_several_series_is_refused(tmp_path: Path, array: np.ndarray, count: int) -> None:
    for number in range(count):
        write_series(tmp_path / f"{number}", array, series_affine(STRAIGHT, SPACING_MM, ORIGIN_MM))
    with pytest.raises(ValueError, match=rf"is not one series: expected a folder of one DICOM series, got {count}"):
        read_scan(tmp_path)


@pytest.mark.parametrize(("frames", "colours"), [(1, 3), (3, 1), (4, 3)])
def test_films_have_frames_and_colours(tmp_path: Path, frames: int, colours: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (frames, 4, 6, colours)).astype(np.uint8)
    tags = {"SamplesPerPixel": colours, "NumberOfFrames": frames, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    tags |= {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0} if colours == 3 else {}
    tags |= {"PixelData": pixels.tobytes(), "ImagePositionPatient": None}
    (path,) = write_series(
        tmp_path / "scan", np.zeros((1, 4, 6), int), series_affine(STRAIGHT, SPACING_MM, ORIGIN_MM), "US", **tags
    )
    scan = read_scan(path)
    assert np.array_equal(scan.array, pixels if colours == 3 else pixels[..., 0] - 1024.0)
    assert scan.geometry.affine is None
    assert scan.dtype == np.uint8


def test_frames_of_an_enhanced_file_are_slices_with_a_scale_each(tmp_path: Path, array: np.ndarray) -> None:
    affine = series_affine(STRAIGHT, SPACING_MM, ORIGIN_MM)
    files = write_series(tmp_path / "single", array, affine)
    expected = formats.read(Source(tuple(files), SERIES))
    stored = np.stack([pydicom.dcmread(file).pixel_array for file in files])
    path = write_enhanced(tmp_path / "many", files)
    scan = read_scan(path)
    numbers = np.arange(len(files))[:, None, None]
    assert np.array_equal(scan.array, stored * (1.0 + numbers) + 10 * numbers)
    assert scan.geometry.affine == pytest.approx(expected.geometry.affine)


def test_files_are_known_by_name_or_mark(tmp_path: Path, array: np.ndarray) -> None:
    (path,) = write_series(tmp_path / "scan", array[:1], series_affine(STRAIGHT, SPACING_MM, ORIGIN_MM))
    nameless = path.rename(tmp_path / "IM0001")
    (tmp_path / "README").write_text("text")
    others = [Path(shutil.copy(nameless, tmp_path / name)) for name in ("1.2.840.10008.7", "a.dic", "IM1.dcm30")]
    names = {
        **dict.fromkeys([nameless, *others], "DICOM"),
        Path("a.NII.GZ"): "NIfTI",
        Path("a.dcm"): "DICOM",
        Path("a.PNG"): "picture",
    }
    for known, name in names.items():
        found = formats.format_of(known)
        assert found is not None
        assert found.name == name
    assert formats.format_of(tmp_path / "README") is None
    assert all(map(formats.is_image, [tmp_path, nameless, Path("a.tif")]))
    assert not any(map(formats.is_image, [tmp_path / "README", Path("a.npz")]))


def test_a_missing_library_is_named(tmp_path: Path, array: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_nifti(tmp_path / "a.nii", array, np.eye(4))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"pip install \"incontext-seg\[medical\]\""):
        read_scan(path)
