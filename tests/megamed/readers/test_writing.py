"""What is in the files of masks besides the mask, as other libraries read them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers import dicom_seg
from megamed.readers.stored import Geometry, MaskImage
from tests.dicom_files import LPS_TO_RAS, OBLIQUE, series_affine, write_series

nibabel = pytest.importorskip("nibabel")
nrrd = pytest.importorskip("nrrd")
highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

MASK = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
SPACING_MM = (1.0, 1.5, 2.5)
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = OBLIQUE * SPACING_MM, (10, -20, 30)


@pytest.fixture
def series(tmp_path: Path) -> Geometry:
    write_series(tmp_path / "scan", MASK.astype(int), series_affine(OBLIQUE, SPACING_MM, (10, -20, 30)))
    return geometry_of(tmp_path / "scan")


def geometry_of(path: Path) -> Geometry:
    return formats.read(formats.source_at(path)).geometry


def encode(mask: np.ndarray, geometry: Geometry, suffix: str, names: dict[int, str] | None = None) -> bytes:
    return formats.encode(MaskImage(mask, geometry, names or {}, software=("drawn", "1")), suffix)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_nifti_header_is_kept_but_for_what_tells_of_values(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(MASK.astype(np.float32), AFFINE)
    image.set_sform(AFFINE, code=4)
    image.set_qform(AFFINE, code=1)
    image.header["descrip"], image.header["cal_max"] = b"scanner", 900
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(2.5, -7)
    nibabel.save(image, tmp_path / "image.nii")
    geometry = geometry_of(tmp_path / "image.nii")
    written = nibabel.load(write(tmp_path / "mask.nii", encode(MASK, geometry, ".nii")))
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(written.dataobj), MASK)
    changed = {key for key in image.header if not np.array_equal(written.header[key], geometry.header[key])}
    assert changed <= {"datatype", "bitpix", "cal_max", "scl_slope", "scl_inter"}
    assert (written.header["descrip"], written.header["sform_code"], written.header["qform_code"]) == (b"scanner", 4, 1)
    assert np.array_equal(written.affine, nibabel.load(tmp_path / "image.nii").affine)


def test_nifti_of_a_series_is_as_converters_write_it(tmp_path: Path, series: Geometry) -> None:
    written = nibabel.load(write(tmp_path / "mask.nii.gz", encode(MASK, series, ".nii.gz")))
    assert np.array_equal(written.dataobj, MASK.transpose())
    first = pydicom.dcmread(series.files[0])
    assert written.affine[:3, 3] * (-1, -1, 1) == pytest.approx(np.array(first.ImagePositionPatient, float))
    assert written.header.get_zooms() == pytest.approx((2.5, 1.5, 1.0))


def test_same_mask_has_the_same_bytes(series: Geometry) -> None:
    assert encode(MASK, series, ".nii.gz") == encode(MASK, series, ".nii.gz")


def test_segments_have_names_in_any_script(tmp_path: Path, series: Geometry) -> None:
    mask = MaskImage(MASK, series, {1: "肝臓 печень"})
    write_to = tmp_path / "mask.dcm"
    write_to.write_bytes(formats.encode(mask, ".dcm"))
    assert pydicom.dcmread(write_to).SegmentSequence[0].SegmentLabel == "肝臓 печень"


@pytest.mark.parametrize("form", ["nrrd", "mha"])
def test_other_formats_agree_with_simpleitk(tmp_path: Path, form: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(write(tmp_path / f"mask.{form}", encode(MASK, Geometry(AFFINE), f".{form}"))))
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), MASK)
    place = image.TransformIndexToPhysicalPoint((1, 2, 3))
    assert place == pytest.approx((LPS_TO_RAS @ AFFINE @ (1, 2, 3, 1))[:3])


@pytest.mark.parametrize("form", ["nii", "nrrd", "mha"])
def test_values_beyond_bytes_are_kept(tmp_path: Path, form: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    mask = MASK.astype(np.uint16) * 150
    image = sitk.ReadImage(str(write(tmp_path / f"mask.{form}", encode(mask, Geometry(AFFINE), f".{form}"))))
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), mask)


def test_nrrd_header_is_kept_but_for_what_tells_of_values(tmp_path: Path) -> None:
    header = {"space": "left-anterior-superior", "space directions": AFFINE[:3, :3].T, "space origin": AFFINE[:3, 3]}
    header |= {"space units": ["mm"] * 3, "kinds": ["domain"] * 3, "patient": "of the study", "max": 9.0}
    nrrd.write(str(tmp_path / "image.nrrd"), MASK.astype(np.int16), header.copy())
    geometry = geometry_of(tmp_path / "image.nrrd")
    array, written = nrrd.read(str(write(tmp_path / "mask.nrrd", encode(MASK, geometry, ".nrrd"))))
    assert np.array_equal(array, MASK)
    assert array.dtype == np.uint8
    assert "max" not in written
    for key in header.keys() - {"max"}:
        assert np.array_equal(written[key], header[key])


def test_segmentation_tells_what_it_is(tmp_path: Path, series: Geometry) -> None:
    path = write(tmp_path / "mask.dcm", encode(MASK, series, ".dcm", {1: "liver", 2: "tumour"}))
    read = highdicom.seg.segread(path)
    assert [read.get_segment_description(number).segment_label for number in (1, 2)] == ["liver", "tumour"]
    source = pydicom.dcmread(series.files[0])
    assert read.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert (read.PatientID, read.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    uids = [str(pydicom.dcmread(file).SOPInstanceUID) for file in series.files]
    for number in (1, 2):
        frames = read.get_pixels_by_source_instance(uids, segment_numbers=[number])
        assert np.array_equal(frames[..., 0].astype(bool), number == MASK)


@pytest.mark.parametrize("names", [{}, {1: "liver"}], ids=["nameless", "named"])
def test_empty_segmentation_is_one(tmp_path: Path, series: Geometry, names: dict[int, str]) -> None:
    path = write(tmp_path / "mask.dcm", encode(MASK * 0, series, ".dcm", names))
    read = highdicom.seg.segread(path)
    assert read.get_segment_description(1).segment_label == names.get(1, "class 1")
    assert not read.pixel_array.any()


@pytest.mark.parametrize("tag", [*dicom_seg.EMPTIED_TAGS, "SliceThickness"])
def test_what_anonymisers_remove_is_not_missed(tmp_path: Path, tag: str) -> None:
    affine = series_affine(OBLIQUE, SPACING_MM, (0, 0, 0))
    write_series(tmp_path / "anonymous", MASK.astype(int), affine, **{tag: None})
    geometry = geometry_of(tmp_path / "anonymous")
    content = encode(MASK, geometry, ".dcm", {})
    assert highdicom.seg.segread(write(tmp_path / "mask.dcm", content)).number_of_segments == 2


def test_an_unusual_name_of_a_patient_is_not_repeated_in_a_warning(tmp_path: Path) -> None:
    affine = series_affine(OBLIQUE, SPACING_MM, (0, 0, 0))
    write_series(tmp_path / "series", MASK.astype(int), affine, PatientName="Jane")
    assert encode(MASK, geometry_of(tmp_path / "series"), ".dcm", {})  # warnings are errors here


@pytest.mark.parametrize("library", ["nibabel", "nrrd", "highdicom"])
def test_a_missing_library_is_named(series: Geometry, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    write = {
        "nibabel": lambda: encode(MASK, series, ".nii"),
        "nrrd": lambda: encode(MASK, series, ".nrrd"),
        "highdicom": lambda: encode(MASK, series, ".dcm", {}),
    }[library]
    with pytest.raises(ImportError, match=r"Writing .* needs .*pip install \"incontext-seg\[medical\]\""):
        write()
