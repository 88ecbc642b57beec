"""A folder of a series as archives deliver it: what belongs together is read, what does not is named."""

from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers.stored import StoredImage
from tests.dicom_files import series_affine, write_series

pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")

AFFINE = series_affine(np.eye(3), (3.0, 1.0, 1.0), (-10.0, 5.0, 20.0))
PIXELS = np.random.default_rng(0).integers(-500, 1000, (6, 8, 10))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_series(tmp_path / "scan", PIXELS, AFFINE)


def save_changed(path: Path, to: Path, **tags: object) -> None:
    """Save another instance of a file, with other tags."""
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    for tag, value in tags.items():
        if value is None:
            del dataset[tag]
        else:
            setattr(dataset, tag, value)
    dataset.save_as(to)


def read(folder: Path) -> StoredImage:
    return formats.read(formats.source_at(folder))


@pytest.mark.parametrize(
    ("tags", "note"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImagePositionPatient": [0, 0, 7]}, "localisers: x.dcm"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "images that lie otherwise: x.dcm"),
        ({"PixelSpacing": [2, 2]}, "images that lie otherwise: x.dcm"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "images that lie otherwise: x.dcm"),
        ({"SeriesInstanceUID": ""}, "files that state no series: x.dcm"),
        ({"ImagePositionPatient": None, "ImageOrientationPatient": None}, "images without a place in the patient"),
        ({"InstanceNumber": 99}, "copies of other slices: x.dcm"),
        ({"Modality": "SR", "PixelData": None, "SeriesInstanceUID": "1.2.3"}, "files without images: x.dcm"),
        ({"SeriesInstanceUID": "1.2.3", "ImageType": ["DERIVED", "SECONDARY"]}, "other series: x.dcm"),
    ],
)
def test_what_does_not_belong_to_a_series_is_left_out(
    tmp_path: Path, files: list[Path], tags: dict[str, object], note: str
) -> None:
    save_changed(files[2], tmp_path / "scan" / "x.dcm", **tags)
    stored = read(tmp_path / "scan")
    assert np.array_equal(stored.array, PIXELS)
    assert stored.geometry.files == tuple(files)
    assert len(stored.notes) == 1
    assert note in stored.notes[0]


def test_a_file_is_read_once_if_it_lies_there_twice(tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "scan" / "IM (1).dcm").write_bytes(files[3].read_bytes())
    stored = read(tmp_path / "scan")
    assert np.array_equal(stored.array, PIXELS)
    assert "copies of other files" in stored.notes[0]


@pytest.mark.parametrize("uid", ["1.2.3", ""])
def test_slices_that_share_their_uid_are_no_copies(tmp_path: Path, uid: str) -> None:
    write_series(tmp_path / "scan", PIXELS, AFFINE, SOPInstanceUID=uid)
    stored = read(tmp_path / "scan")
    assert np.array_equal(stored.array, PIXELS)
    assert not stored.notes


@pytest.mark.parametrize("uid", ["", None])
def test_slices_that_state_no_series_are_one(tmp_path: Path, uid: str | None) -> None:
    write_series(tmp_path / "scan", PIXELS, AFFINE, SeriesInstanceUID=uid)
    assert np.array_equal(read(tmp_path / "scan").array, PIXELS)


def test_an_empty_slice_is_left_out_and_that_is_said(tmp_path: Path, files: list[Path]) -> None:
    files[-1].write_bytes(b"")
    (tmp_path / "scan" / "._0.dcm").write_bytes(b"attributes")
    stored = read(tmp_path / "scan")
    assert np.array_equal(stored.array, PIXELS[:-1])
    assert stored.notes == (f"left out files that are empty or not of DICOM: {files[-1].name}",)


def test_the_slice_that_is_damaged_is_named(tmp_path: Path, files: list[Path]) -> None:
    files[3].write_bytes(files[3].read_bytes()[:-40])
    with pytest.raises(ValueError, match=rf"^{files[3].name} cannot be read: (?!.*cannot be read)"):
        read(tmp_path / "scan")


def test_uneven_slices_are_read_with_a_note(tmp_path: Path, files: list[Path]) -> None:
    files[2].unlink()
    stored = read(tmp_path / "scan")
    assert np.array_equal(stored.array, np.delete(PIXELS, 2, axis=0))
    assert stored.notes == ("slices lie unevenly, 3 to 6 mm apart: each counts for 3.75 mm",)


def test_several_volumes_of_one_series_are_told_apart_by_a_tag(tmp_path: Path, files: list[Path]) -> None:
    for number, file in enumerate(files):
        save_changed(file, tmp_path / "scan" / f"late{number}.dcm", EchoTime=80, PixelData=bytes(160))
    with pytest.raises(ValueError, match="differ by EchoTime; keep each volume in its own folder"):
        read(tmp_path / "scan")


def test_as_many_images_across_as_along_have_no_single_reading(tmp_path: Path, files: list[Path]) -> None:
    for number, file in enumerate(files):
        save_changed(file, tmp_path / "scan" / f"across{number}.dcm", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    with pytest.raises(ValueError, match="differ by ImageOrientationPatient; keep each in its own folder"):
        read(tmp_path / "scan")


def test_slices_without_preamble_are_found_in_a_folder(tmp_path: Path, files: list[Path]) -> None:
    for file in files:
        dataset = pydicom.dcmread(file)
        buffer = pydicom.filebase.DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, True
        del dataset.file_meta
        pydicom.filewriter.write_dataset(buffer, dataset)
        file.write_bytes(buffer.getvalue())
    (tmp_path / "scan" / "notes.txt").write_text("of the study " * 20)
    assert np.array_equal(read(tmp_path / "scan").array, PIXELS)


def test_slices_that_begin_with_their_meta_information_are_found_in_a_folder(tmp_path: Path, files: list[Path]) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[132:])  # without preamble and mark
    assert np.array_equal(read(tmp_path / "scan").array, PIXELS)
