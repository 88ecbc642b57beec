"""Pairs of a header and pixels: read as one image by either file, wherever files of images are looked for."""

import gzip
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.build import BuildOptions, build
from megamed.pairing import find_pairs
from megamed.pixels import read_image, read_label
from megamed.propose import propose, write_proposal
from megamed.readers.stored import MaskImage
from megamed.readers.volume import Volume
from megamed.standardise import Standard

nibabel = pytest.importorskip("nibabel")

AFFINE = np.array([[0, -2.0, 0, 3], [0, 0, 3.0, -4], [4.0, 0, 0, 5], [0, 0, 0, 1]])
PIXELS = np.random.default_rng(0).integers(-9, 900, (4, 5, 6)).astype(np.int16)
PAIRS = {"NIfTI-1": nibabel.Nifti1Pair, "NIfTI-2": nibabel.Nifti2Pair, "Analyze": nibabel.AnalyzeImage}


def save(kind: str, path: Path, array: np.ndarray = PIXELS) -> Path:
    nibabel.save(PAIRS[kind](array, None if kind == "Analyze" else AFFINE), path)
    return path


@pytest.mark.parametrize("given", ["a.hdr", "a.img"])
@pytest.mark.parametrize("kind", PAIRS)
def test_either_file_is_the_image(tmp_path: Path, kind: str, given: str) -> None:
    image = nibabel.load(save(kind, tmp_path / "a.hdr"))
    stored = formats.read(formats.source_at(tmp_path / given))
    assert (stored.axes, stored.array.dtype) == ("XYZ", np.int16)
    assert np.array_equal(stored.array, PIXELS)
    assert stored.geometry.affine == pytest.approx(image.affine)
    assert [note[:19] for note in stored.notes] == ["a header of Analyze"] * (kind == "Analyze")


@pytest.mark.parametrize("kind", PAIRS)
def test_a_mask_is_one_file_on_the_same_grid(tmp_path: Path, kind: str) -> None:
    image = nibabel.load(save(kind, tmp_path / "a.hdr"))
    stored, mask = formats.read(formats.source_at(tmp_path / "a.img")), (PIXELS > 99).astype(np.uint8)
    suffix = formats.like(tmp_path / "a.hdr", formats.mask_suffixes({"placed"}))
    (tmp_path / f"m{suffix}").write_bytes(formats.encode(MaskImage(mask, stored.geometry), suffix))
    written = nibabel.load(tmp_path / "m.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), mask)
    assert written.affine == pytest.approx(image.affine)


def test_compressed_pairs_are_read(tmp_path: Path) -> None:
    save("NIfTI-1", tmp_path / "a.hdr")
    for name in ("a.hdr", "a.img"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    assert np.array_equal(formats.read(formats.source_at(tmp_path / "a.img.gz")).array, PIXELS)


def test_what_is_missing_or_no_header_is_said(tmp_path: Path) -> None:
    save("NIfTI-1", tmp_path / "a.hdr")
    (tmp_path / "a.img").unlink()
    with pytest.raises(ValueError, match=r"a\.hdr cannot be read: expected its pixels beside it in a\.img"):
        formats.read(formats.source_at(tmp_path / "a.hdr"))
    (tmp_path / "b.hdr").write_text("ENVI\nsamples = 4\n" + 400 * " ")
    (tmp_path / "b.img").write_bytes(bytes(99))
    with pytest.raises(ValueError, match=r"b\.hdr cannot be read: expected a header of NIfTI or Analyze"):
        formats.read(formats.source_at(tmp_path / "b.img"))


def test_a_label_that_itk_placed_lies_on_an_analyze_image(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    save("Analyze", tmp_path / "a.hdr")
    sitk.ProcessObject.SetGlobalWarningDisplay(flag=False)
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.hdr")), str(tmp_path / "b.nii.gz"))
    stated = formats.read(formats.source_at(tmp_path / "b.nii.gz")).geometry.affine
    (other,) = formats.read(formats.source_at(tmp_path / "a.hdr")).geometry.other_affines
    assert other == pytest.approx(stated)


@pytest.mark.parametrize("form", ["hdr", "mhd"])
def test_pixels_beside_a_header_are_no_image_of_their_own(tmp_path: Path, form: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    for case in ("a", "b"):
        for kind, array in (("images", PIXELS), ("labels", (PIXELS > 400).astype(np.uint8))):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "data" / kind / f"{case}.{form}"
            save("NIfTI-1", path, array) if form == "hdr" else sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    assert [pair.name for pair in find_pairs(tmp_path / "data").labelled] == [f"a.{form}", f"b.{form}"]
    write_proposal(propose(tmp_path / "data"), tmp_path / "data")
    with ThreadPoolExecutor(1) as executor:
        report = build(
            tmp_path / "data", tmp_path / "out", BuildOptions(Standard(size_px=16)), executor, lambda *_: None
        )
    assert report.datasets["data"].status == "built"
    assert not report.datasets["data"].rejected


def test_missing_nibabel_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save("NIfTI-1", tmp_path / "a.hdr")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"incontext-seg\[medical\]"):
        formats.read(formats.source_at(tmp_path / "a.hdr"))


def test_both_files_lie_on_the_same_volume(tmp_path: Path) -> None:
    image, label = (formats.source_at(save("NIfTI-1", tmp_path / f"{name}.hdr")) for name in "ab")
    volume = read_image(image)
    assert isinstance(volume, Volume)
    assert np.array_equal(volume.array, read_label(label).array)  # type: ignore[union-attr]
