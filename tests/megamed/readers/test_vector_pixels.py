"""Volumes whose pixels hold several values, as other libraries write them: colours, or channels to choose from."""

from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.pixels import read_coloured_label, read_image, read_label
from megamed.readers.source import Source
from megamed.readers.stored import MaskImage
from megamed.readers.volume import Volume

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("nrrd")
sitk = pytest.importorskip("SimpleITK")

COLOURS = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3), np.uint8)
SPACING_MM = (1.0, 2.0, 3.0)
FORMS = ("rgb.nii.gz", "nii.gz", "nrrd", "nhdr", "mha", "mhd")


def save(folder: Path, form: str, pixels: np.ndarray = COLOURS) -> Source:
    """Save pixels of several values; a NIfTI file of the type RGB through nibabel."""
    path = folder / f"a.{form}"
    if form == "rgb.nii.gz":
        packed = np.ascontiguousarray(pixels).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
        nibabel.save(nibabel.Nifti1Image(packed, np.diag([-1.0, -2.0, 3.0, 1.0])), path)
    else:
        image = sitk.GetImageFromArray(
            np.moveaxis(pixels, range(pixels.ndim - 1), range(pixels.ndim - 2, -1, -1)), True
        )
        image.SetSpacing(SPACING_MM[: pixels.ndim - 1])
        sitk.WriteImage(image, str(path))
    return Source((path,))


@pytest.mark.parametrize("form", FORMS)
def test_colours_stay_together_and_become_luminance(tmp_path: Path, form: str) -> None:
    source = save(tmp_path, form)
    stored = formats.read(source)
    assert (stored.axes, stored.shape) == ("XYZC", (4, 5, 6))
    assert np.array_equal(stored.array, COLOURS)
    grey, blue = read_image(source), read_image(Source(source.files, "blue"))
    assert isinstance(grey, Volume)
    assert isinstance(blue, Volume)
    assert np.abs(grey.array[::-1, ::-1] - COLOURS @ [0.299, 0.587, 0.114]).max() <= 1
    assert grey.spacing_mm == SPACING_MM
    assert np.array_equal(blue.array[::-1, ::-1], COLOURS[..., 2])


@pytest.mark.parametrize("form", FORMS)
def test_a_mask_has_one_value_a_pixel(tmp_path: Path, form: str) -> None:
    source = save(tmp_path, form)
    stored, mask = formats.read(source), (COLOURS[..., 0] > 99).astype(np.uint8)
    suffix = formats.like(source.files[0], formats.mask_suffixes({"placed"}))
    path = tmp_path / f"m{suffix}"
    path.write_bytes(formats.encode(MaskImage(mask, stored.geometry), suffix))
    written = sitk.ReadImage(str(path))
    assert (written.GetNumberOfComponentsPerPixel(), written.GetSpacing()) == (1, SPACING_MM)
    assert np.array_equal(sitk.GetArrayFromImage(written).T, mask)
    read = formats.read(Source((path,)))
    assert np.array_equal(read.array, mask)
    assert read.geometry.affine == pytest.approx(stored.geometry.affine)


@pytest.mark.parametrize("form", ["nrrd", "mha"])
def test_planes_have_colours_too(tmp_path: Path, form: str) -> None:
    stored = formats.read(save(tmp_path, form, COLOURS[:, :, 0]))
    assert (stored.axes, stored.shape) == ("XYZC", (4, 5, 1))
    assert np.array_equal(stored.array[:, :, 0], COLOURS[:, :, 0])


@pytest.mark.parametrize("form", ["nii.gz", "nrrd", "mha"])
def test_of_other_channels_one_is_chosen(tmp_path: Path, form: str) -> None:
    source = save(tmp_path, form, COLOURS.astype(np.float32))
    with pytest.raises(ValueError, match=r"holds 3 channels: expected one, or the choice of 0 to 2"):
        formats.read(source)
    stored = formats.read(Source(source.files, "1"))
    assert (stored.axes, stored.has_part) == ("XYZ", True)
    assert np.array_equal(stored.array, COLOURS[..., 1])


@pytest.mark.parametrize("form", FORMS)
def test_labels_in_colours_need_a_table(tmp_path: Path, form: str) -> None:
    drawn = COLOURS[..., :1] > 99
    source = save(tmp_path, form, (drawn * np.array([255, 0, 0])).astype(np.uint8))
    with pytest.raises(ValueError, match="is not a label map: expected one integer channel"):
        read_label(source)
    label = read_coloured_label(source, {"#ff0000": 2})
    assert isinstance(label, Volume)
    assert np.array_equal(label.array[::-1, ::-1], 2 * drawn[..., 0])
