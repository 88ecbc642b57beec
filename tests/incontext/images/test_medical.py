"""Medical files in their own order of axes: any orientation of a file shows the same patient."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from incontext.images.medical import is_medical, on_image, read_drawn, read_scan
from incontext.images.orientation import PlaneLayout, viewed
from tests.dicom_files import LPS_TO_RAS, OBLIQUE, series_affine, write_segmentation, write_series

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("nrrd")
pytest.importorskip("highdicom")

SHAPE = (4, 5, 6)
SPACING_MM = (1.0, 1.5, 2.5)
ORIGIN_MM = (10.0, -20.0, 30.0)
STRAIGHT = np.eye(3)
VIEWS = [PlaneLayout(axes, steps) for axes in itertools.permutations(range(3)) for steps in [(1, 1, 1), (-1, 1, -1)]]


def affine_of(directions: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * SPACING_MM, ORIGIN_MM
    return affine


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


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_usual_axis_is_the_same_in_every_order_of_axes(tmp_path: Path, array: np.ndarray, view: PlaneLayout) -> None:
    affine = viewed(affine_of(STRAIGHT), SHAPE, view)
    scan = read_scan(save_nifti(tmp_path / "a.nii", view.planes(array), affine))
    assert scan.usual_axis == view.axes.index(2)
    assert scan.orientation == view


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "axis"),
    [
        ((9, 9, 9), (1, 1, 1), 2),
        ((9, 9, 9), (3, 1, 1), 0),
        ((9, 9, 9), (1, 1.5, 1), 1),
        ((9, 9, 9), (5, 5, 3), 2),
        ((9, 2, 9), (1, 1, 1), 1),
        ((9, 9, 9), (1.001, 1, 1), 2),
    ],
)
def test_usual_axis_is_across_thick_slices(
    tmp_path: Path, shape: tuple[int, ...], spacing_mm: tuple[float, ...], axis: int
) -> None:
    affine = np.diag([*spacing_mm, 1])
    assert read_scan(save_nifti(tmp_path / "a.nii", np.ones(shape, np.uint8), affine)).usual_axis == axis


def test_nrrd_without_directions_lies_along_the_axes(tmp_path: Path, array: np.ndarray) -> None:
    import nrrd

    nrrd.write(str(tmp_path / "a.nrrd"), array, {"spacings": list(SPACING_MM)})
    scan = read_scan(tmp_path / "a.nrrd")
    assert np.array_equal(scan.array, array)
    assert scan.geometry.affine == pytest.approx(np.diag([*SPACING_MM, 1]))


def test_a_fourth_axis_of_length_one_is_none(tmp_path: Path, array: np.ndarray) -> None:
    scan = read_scan(save_nifti(tmp_path / "a.nii", array[..., None], affine_of(STRAIGHT)))
    assert np.array_equal(scan.array, array)
    assert scan.shape == (*SHAPE, 1)


def test_several_volumes_in_a_file_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    path = save_nifti(tmp_path / "a.nii", np.stack([array] * 2, axis=-1), affine_of(STRAIGHT))
    with pytest.raises(ValueError, match=r"a.nii holds 2 volumes: expected one.*slicer\[..., 0\]"):
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
    assert np.array_equal(scan.array, pixels if colours == 3 else pixels[..., 0])
    assert scan.geometry.affine is None
    assert scan.dtype == np.uint8


def test_enhanced_files_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    tags = {"NumberOfFrames": 2, "SharedFunctionalGroupsSequence": []}
    (path,) = write_series(tmp_path / "scan", array[:1], series_affine(STRAIGHT, SPACING_MM, ORIGIN_MM), **tags)
    with pytest.raises(
        ValueError, match=r"is an enhanced DICOM file: expected a file per slice, got 2 frames.*dcm2niix"
    ):
        read_scan(path)


def test_drawn_segments_have_names(tmp_path: Path, array: np.ndarray) -> None:
    files = write_series(tmp_path / "scan", array, series_affine(OBLIQUE, SPACING_MM, ORIGIN_MM))
    liver, tumour = array > 500, array > 800
    write_segmentation(tmp_path / "seg.dcm", files, {"Liver": liver, "Tumour": tumour})
    label, names = read_drawn(tmp_path / "seg.dcm", read_scan(tmp_path / "scan").geometry)
    assert np.array_equal(label, np.where(tumour, 2, np.where(liver, 1, 0)))
    assert names == {1: "Liver", 2: "Tumour"}


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_a_label_takes_the_order_of_its_image(tmp_path: Path, array: np.ndarray, view: PlaneLayout) -> None:
    affine = affine_of(OBLIQUE)
    image = read_scan(save_nifti(tmp_path / "image.nii", array, affine))
    label = read_scan(save_nifti(tmp_path / "label.nii", view.planes(array), viewed(affine, SHAPE, view)))
    assert np.array_equal(on_image(label, image.geometry, "label"), array)


@pytest.mark.parametrize(
    "affine",
    [np.eye(4), affine_of(STRAIGHT), affine_of(OBLIQUE) + 0.5 * np.eye(4, k=3)],
    ids=["none", "turned", "moved"],
)
def test_a_label_elsewhere_is_refused(tmp_path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    image = read_scan(save_nifti(tmp_path / "image.nii", array, affine_of(OBLIQUE)))
    label = read_scan(save_nifti(tmp_path / "label.nii", array, affine))
    with pytest.raises(
        ValueError, match=r"label lies elsewhere than its image: expected .*Save it with its image's affine"
    ):
        on_image(label, image.geometry, "label")


def test_medical_files_are_known_by_name_or_mark(tmp_path: Path, array: np.ndarray) -> None:
    (path,) = write_series(tmp_path / "scan", array[:1], series_affine(STRAIGHT, SPACING_MM, ORIGIN_MM))
    nameless = path.rename(tmp_path / "IM0001")
    (tmp_path / "README").write_text("text")
    assert all(map(is_medical, [tmp_path, nameless, Path("a.NII.GZ"), Path("a.dcm")]))
    assert not any(map(is_medical, [tmp_path / "README", Path("a.png"), Path("a.tif")]))


def test_a_missing_library_is_named(tmp_path: Path, array: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_nifti(tmp_path / "a.nii", array, np.eye(4))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"pip install \"incontext-seg\[medical\]\""):
        read_scan(path)
