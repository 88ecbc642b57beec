"""Volumes that other libraries wrote: arrays, geometry and damage."""

from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.pixels import read_image, read_label
from megamed.readers.source import Source
from megamed.readers.stored import MaskImage
from megamed.readers.volume import Volume

nibabel = pytest.importorskip("nibabel")

SHAPE = (4, 5, 6)
OBLIQUE = np.array([[0, 0.8, -0.6], [0, 0.6, 0.8], [1.0, 0, 0]])
SPACING_MM = (2.0, 3.0, 4.0)
ORIGIN_MM = (10.0, -20.0, 30.0)


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)


def position_of(volume: Volume, value: int) -> np.ndarray:
    """Where in the patient the voxel with a value lies."""
    index = np.argwhere(volume.array == value)[0]
    return volume.affine[:3, :3] @ index + volume.affine[:3, 3]


@pytest.mark.parametrize("suffix", ["nrrd", "nhdr", "mha", "mhd", "nii.gz"])
def test_formats_written_by_simpleitk_agree(tmp_path: Path, array: np.ndarray, suffix: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    if suffix in ("nrrd", "nhdr"):
        pytest.importorskip("nrrd")
    array[1, 2, 3] = 5000
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(ORIGIN_MM)
    image.SetDirection(OBLIQUE.ravel())
    sitk.WriteImage(image, str(tmp_path / f"a.{suffix}"), True)
    volume = read_image(Source((tmp_path / f"a.{suffix}",)))
    assert isinstance(volume, Volume)
    assert np.argmax(np.abs(volume.affine[:3, :3]), axis=0).tolist() == [0, 1, 2]
    assert np.all(np.diag(volume.affine) > 0)
    left_back_head = image.TransformIndexToPhysicalPoint((1, 2, 3))
    assert position_of(volume, 5000) == pytest.approx(np.multiply(left_back_head, (-1, -1, 1)), abs=1e-4)
    assert sorted(volume.spacing_mm) == pytest.approx(sorted(SPACING_MM))
    assert np.array_equal(np.sort(volume.array, axis=None), np.sort(array, axis=None))


@pytest.mark.parametrize("space", ["right-anterior-superior", "LAS", "left-posterior-superior", "scanner-xyz", None])
def test_nrrd_spaces(tmp_path: Path, array: np.ndarray, space: str | None) -> None:
    nrrd = pytest.importorskip("nrrd")
    array[1, 2, 3] = 5000
    header = {"space": space, "space directions": np.diag(SPACING_MM), "space origin": ORIGIN_MM}
    nrrd.write(str(tmp_path / "a.nrrd"), array, header if space else {"spacings": list(SPACING_MM)})
    volume = read_image(Source((tmp_path / "a.nrrd",)))
    position = np.multiply((1, 2, 3), SPACING_MM) + np.array(ORIGIN_MM if space else (0, 0, 0))
    lps = (-1, -1, 1)
    signs = {"left-posterior-superior": lps, "scanner-xyz": lps, "LAS": (-1, 1, 1)}.get(space or "", (1, 1, 1))
    assert position_of(volume, 5000) == pytest.approx(position * signs)


@pytest.mark.parametrize(("centering", "spacing_mm"), [("cell", (2.0, 3.0, 4.0)), ("node", (8 / 3, 15 / 4, 24 / 5))])
def test_ends_of_axes_tell_the_size_of_voxels(
    tmp_path: Path, array: np.ndarray, centering: str, spacing_mm: tuple[float, ...]
) -> None:
    nrrd = pytest.importorskip("nrrd")
    ends = {"axis mins": [1.0, 0.0, -24.0], "axis maxs": [9.0, 15.0, 0.0], "centerings": [centering] * 3}
    nrrd.write(str(tmp_path / "a.nrrd"), array, ends)
    volume = read_image(Source((tmp_path / "a.nrrd",)))
    assert isinstance(volume, Volume)
    assert volume.spacing_mm == pytest.approx(spacing_mm)


@pytest.mark.parametrize("skipped", [-1, 100])
def test_metaimage_may_have_more_before_its_data(tmp_path: Path, array: np.ndarray, skipped: int) -> None:
    lines = ("NDims = 3", "DimSize = 4 5 6", "BinaryData = true", f"HeaderSize = {skipped}", "ElementType = MET_SHORT")
    (tmp_path / "a.mhd").write_text("\n".join((*lines, "ElementDataFile = a.raw", "")))
    (tmp_path / "a.raw").write_bytes(bytes(100) + array.tobytes(order="F"))
    assert np.array_equal(formats.read(Source((tmp_path / "a.mhd",))).array, array)


@pytest.mark.parametrize("line", ["data file: ../a.raw", "data file: /etc/passwd", "data file: LIST"])
def test_nrrd_reads_no_other_folder(tmp_path: Path, line: str) -> None:
    pytest.importorskip("nrrd")
    header = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nendian: little\nencoding: raw\n{line}\n\n"
    (tmp_path / "a.nhdr").write_text(header)
    with pytest.raises(ValueError, match=r"a\.nhdr cannot be read"):
        read_image(Source((tmp_path / "a.nhdr",)))


@pytest.mark.parametrize("files", ["LIST\n{0}\n{1}", "LIST 2\n{0}\n{1}", "s%03d.raw 8 12 4"])
def test_metaimage_may_have_a_file_for_each_plane(tmp_path: Path, array: np.ndarray, files: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    names = ("s008.raw", "s012.raw")
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(array[..., number].tobytes(order="F"))
    header = "NDims = 3\nDimSize = 4 5 2\nElementSpacing = 1 1 2\nElementType = MET_SHORT\n"
    (tmp_path / "a.mhd").write_text(f"{header}ElementDataFile = {files.format(*names)}\n")
    read = formats.read(Source((tmp_path / "a.mhd",))).array
    assert np.array_equal(read, array[..., :2])
    assert np.array_equal(read, sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.mhd"))).T)


@pytest.mark.parametrize("suffix", ["mhd", "nhdr"])
def test_data_may_be_called_in_other_capitals_than_its_header_says(
    tmp_path: Path, array: np.ndarray, suffix: str
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    pytest.importorskip("nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(array.T), str(tmp_path / f"a.{suffix}"))
    for file in list(tmp_path.iterdir()):
        file.rename(file.with_name(file.name.upper()))
    assert np.array_equal(formats.read(Source((tmp_path / f"A.{suffix.upper()}",))).array, array)


@pytest.mark.parametrize("name", ["../a.raw", "/etc/passwd", "LIST\n../a.raw", "../slice%03d.raw 1 9 1"])
def test_metaimage_reads_no_other_folder(tmp_path: Path, name: str) -> None:
    pytest.importorskip("SimpleITK")
    (tmp_path / "a.mhd").write_text(f"NDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = {name}\n")
    with pytest.raises(ValueError, match="expected its data in the same folder"):
        read_image(Source((tmp_path / "a.mhd",)))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ("LIST", "expected 1 to 10000 files with its data, got 0"),
        ("s%d.raw 1 3 1", "expected files with equal parts of 16 bytes, got 3"),
        ("s%d.raw 1 99999999 1", "got 10001"),
        ("LIST\na.mhd\ns.raw", "No such file"),
    ],
)
def test_a_list_of_files_that_do_not_make_a_volume_is_refused(tmp_path: Path, files: str, reason: str) -> None:
    (tmp_path / "a.mhd").write_text(f"NDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = {files}\n")
    with pytest.raises(ValueError, match=reason):
        read_image(Source((tmp_path / "a.mhd",)))


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
@pytest.mark.parametrize("keep", [0, 40, 300])
def test_truncated_file_is_refused(tmp_path: Path, array: np.ndarray, suffix: str, keep: int) -> None:
    sitk = pytest.importorskip("SimpleITK")
    pytest.importorskip("nrrd")
    path = tmp_path / f"a.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="cannot be read"):
        read_image(Source((path,)))


def test_declared_size_is_checked_first(tmp_path: Path) -> None:
    pytest.importorskip("nrrd")
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 99999 99999 99999\nencoding: raw\nendian: little\n\n"
    (tmp_path / "a.nrrd").write_text(header)
    with pytest.raises(ValueError, match="at most"):
        read_image(Source((tmp_path / "a.nrrd",)))


def test_pages_are_axial_slices_as_they_are(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pages = np.random.default_rng(0).integers(0, 4000, (3, 4, 5)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    volume = read_label(Source((tmp_path / "a.tif",)))
    assert isinstance(volume, Volume)
    assert volume.array.shape == (5, 4, 3)
    assert np.array_equal(volume.array[:, :, 1].T[::-1, ::-1], pages[1])


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "mhd"])
@pytest.mark.parametrize("label_suffix", [".nrrd", ".mha"])
def test_a_plane_is_a_volume_of_one_slice_and_its_mask_a_plane(
    tmp_path: Path, array: np.ndarray, suffix: str, label_suffix: str
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    pytest.importorskip("nrrd")
    plane = sitk.GetImageFromArray(array[0])
    plane.SetSpacing(SPACING_MM[:2])
    plane.SetOrigin(ORIGIN_MM[:2])
    sitk.WriteImage(plane, str(tmp_path / f"a.{suffix}"))
    stored = formats.read(Source((tmp_path / f"a.{suffix}",)))
    assert (stored.axes, stored.notes) == ("XYZ", ())
    assert np.array_equal(stored.array[..., 0], array[0].T)
    left_back = stored.geometry.affine @ [1, 2, 0, 1]
    assert left_back[:2] == pytest.approx(-np.array(plane.TransformIndexToPhysicalPoint((1, 2))))
    mask = (stored.array > 0).astype(np.uint8)
    if label_suffix == f".{suffix}":
        (tmp_path / f"m{label_suffix}").write_bytes(formats.encode(MaskImage(mask, stored.geometry), label_suffix))
        written = sitk.ReadImage(str(tmp_path / f"m{label_suffix}"))
        assert (written.GetSpacing(), written.GetOrigin()) == (plane.GetSpacing(), plane.GetOrigin())
    else:
        written = sitk.GetImageFromArray(mask[..., 0].T)
        written.CopyInformation(plane)
        sitk.WriteImage(written, str(tmp_path / f"m{label_suffix}"))
    label = formats.read(Source((tmp_path / f"m{label_suffix}",)))
    assert np.array_equal(label.array, mask)
    assert label.geometry.affine == pytest.approx(stored.geometry.affine)
