"""What people pass as one thing to segment, and its mask back on the same grid: read, mask, write, read."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from incontext.images import source_image
from incontext.images.case_planes import on_grid
from incontext.images.label_place import on_image
from incontext.images.orientation import PlaneLayout, orientation_of, viewed
from incontext.images.source_image import (
    mask_suffix,
    read_label_image,
    read_source_image,
    usual_axis,
    write_mask,
)
from megamed import formats
from megamed.label_values import LabelRules
from megamed.readers.source import Source
from megamed.readers.stored import AS_THEY_LIE, StoredImage
from megamed.standardise import display_plane
from tests.dicom_files import LPS_TO_RAS, OBLIQUE, series_affine, write_segmentation, write_series

nibabel = pytest.importorskip("nibabel")
nrrd = pytest.importorskip("nrrd")
tifffile = pytest.importorskip("tifffile")
pytest.importorskip("highdicom")

RAMP = np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8)
SHAPE = (4, 5, 6)
SPACING_MM = (2.0, 0.75, 0.5)
FLIPPED = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
VIEWS = [PlaneLayout(axes, steps) for axes in itertools.permutations(range(3)) for steps in [(1, 1, 1), (-1, 1, -1)]]
DIRECTIONS = {"straight": np.eye(3), "oblique": OBLIQUE, "flipped": FLIPPED}


def affine_of(directions: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * SPACING_MM, (10, -20, 30)
    return affine


def write_volume(path: Path, array: np.ndarray, directions: np.ndarray) -> Path:
    """A volume as NIfTI, NRRD, MetaImage or a folder of DICOM."""
    affine = affine_of(directions)
    if path.suffix == ".nrrd":
        header = {
            "space": "right-anterior-superior",
            "space directions": affine[:3, :3].T,
            "space origin": affine[:3, 3],
        }
        nrrd.write(str(path), array, header)
    elif path.suffix == ".mha":
        in_itk = LPS_TO_RAS @ affine
        lines = ["NDims = 3", "DimSize = {} {} {}".format(*array.shape), "ElementType = MET_SHORT", "BinaryData = True"]
        lines += ["TransformMatrix = " + " ".join(map(str, (in_itk[:3, :3] / SPACING_MM).T.ravel()))]
        lines += ["Offset = " + " ".join(map(str, in_itk[:3, 3])), "ElementSpacing = {} {} {}".format(*SPACING_MM)]
        path.write_bytes("\n".join([*lines, "ElementDataFile = LOCAL\n"]).encode() + array.tobytes(order="F"))
    elif not path.suffix:
        write_series(path, array, series_affine(directions, SPACING_MM, (10, -20, 30)))
    else:
        nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)


@pytest.mark.parametrize(
    "same",
    [
        RAMP,
        torch.from_numpy(RAMP),
        Image.fromarray(RAMP),
        Image.fromarray(RAMP).convert("LA"),
        RAMP.astype(np.float64),
        np.stack([RAMP] * 3, axis=-1),
        Image.fromarray(RAMP).convert("RGBA"),
        Image.fromarray(RAMP).convert("P"),
    ],
    ids=["array", "tensor", "picture", "LA", "float", "colour", "RGBA", "palette"],
)
def test_every_form_of_an_image_has_one_plane(same: object) -> None:
    case = read_source_image(same, "image")
    assert (case.kind, case.shape, case.planes.shape, case.grid) == ("image", (2, 3), (1, 2, 3), (1, 2, 3))
    assert case.planes[0] == pytest.approx(RAMP, abs=1e-4)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_image_file_and_its_mask(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(RAMP).save(path)
    case = read_source_image(str(path), "image")
    assert case.source == path
    assert case.dtype == np.uint8
    mask = (RAMP > 100) * np.uint8(255)
    written = write_mask(mask, case, tmp_path / f"mask{mask_suffix(case)}")
    assert written.suffix == path.suffix
    assert np.array_equal(np.asarray(Image.open(written)), mask)
    assert np.array_equal(read_label_image(written, "label", case).planes[0], mask)


def test_photograph_has_a_png_mask(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "image.jpg")
    assert mask_suffix(read_source_image(tmp_path / "image.jpg", "image")) == ".png"


def test_stack_of_pages_and_its_mask(tmp_path: Path, array: np.ndarray) -> None:
    first, *others = [Image.fromarray(page.astype(np.uint16)) for page in array + 1000]
    first.save(tmp_path / "stack.tiff", save_all=True, append_images=others)
    case = read_source_image(tmp_path / "stack.tiff", "stack")
    assert case.kind == "stack"
    assert np.array_equal(case.planes, array + 1000)
    mask = (array > 0).astype(np.uint8)
    written = write_mask(mask, case, tmp_path / f"mask{mask_suffix(case)}")
    assert np.array_equal(read_label_image(written, "label", case).planes, mask)
    assert np.array_equal(read_source_image(written, "mask").planes, mask)


def test_saved_array_is_an_array(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    case = read_source_image(tmp_path / "a.npy", "images[0]", 0)
    assert np.array_equal(case.planes, array)
    np.save(tmp_path / "label.npy", array > 0)
    assert np.array_equal(read_label_image(tmp_path / "label.npy", "label", case).planes, array > 0)
    np.save(tmp_path / "objects.npy", np.array([print]))
    with pytest.raises(OSError, match=r"images\[0\] is unreadable.*objects.npy"):
        read_source_image(tmp_path / "objects.npy", "images[0]")


@settings(deadline=None)
@given(st.sampled_from([0, 1, 2, -1]), arrays.array_shapes(min_dims=3, max_dims=3, max_side=7))
def test_any_axis_of_an_array_may_run_through_the_planes(axis: int, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    case = read_source_image(array, "stack", axis)
    assert case.axis == axis % 3
    assert np.array_equal(case.planes, np.moveaxis(array, axis, 0))
    assert np.array_equal(case.view.array(case.planes), array)
    label = (array % 5).astype(np.uint8)
    assert np.array_equal(read_label_image(label, "label", case).planes, np.moveaxis(label, axis, 0))


@settings(deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.bool_, np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float64]),
        arrays.array_shapes(min_dims=1, max_dims=5, max_side=6),
    )
)
def test_any_array_has_a_mask_of_its_size_or_is_refused(array: np.ndarray) -> None:
    try:
        case = read_source_image(array, "image")
    except ValueError:
        return
    assert case.shape in (array.shape, array.shape[:-1])
    assert case.view.array(case.planes).reshape(case.shape).shape == case.shape
    assert case.grid == case.view.array(case.planes).shape


@pytest.mark.parametrize("directions", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "series"])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, "sagittal"], ids=str)
def test_read_mask_write_read(
    tmp_path: Path, array: np.ndarray, name: str, directions: np.ndarray, axis: int | str | None
) -> None:
    case = read_source_image(write_volume(tmp_path / name, array, directions), "image", axis)
    assert case.kind == "volume"
    mask = (array > 0).astype(np.uint8) + (array > 500)
    written = write_mask(mask, case, tmp_path / f"mask{mask_suffix(case)}")
    assert "".join(written.suffixes) == ("".join(Path(name).suffixes) or ".dcm")
    assert np.array_equal(read_label_image(written, "label", case).planes, case.view.planes(mask))
    if written.suffix != ".dcm":
        again = read_source_image(written, "mask", axis)
        assert np.array_equal(again.view.array(again.planes), mask)
        assert again.geometry.affine == pytest.approx(case.geometry.affine, abs=1e-6)
        assert (again.view, again.cut, again.shape) == (case.view, case.cut, case.shape)
        assert again.spacing_mm == pytest.approx(case.spacing_mm)


@pytest.mark.parametrize("directions", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha", "series"])
def test_a_mask_in_another_format_lies_on_its_image(
    tmp_path: Path, array: np.ndarray, name: str, suffix: str, directions: np.ndarray
) -> None:
    case = read_source_image(write_volume(tmp_path / name, array, directions), "image")
    mask = (array > 0).astype(np.uint8)
    written = write_mask(mask, case, tmp_path / f"mask{suffix}")
    assert np.array_equal(read_label_image(written, "label", case).planes, case.view.planes(mask))


@pytest.mark.parametrize("cut", ["sagittal", "coronal", "axial"])
def test_planes_are_those_of_a_collection(tmp_path: Path, array: np.ndarray, cut: str) -> None:
    path = write_volume(tmp_path / "a.nii", array, FLIPPED)
    case = read_source_image(path, "image", cut)
    axis = ("sagittal", "coronal", "axial").index(cut)
    ras = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
    shown = [display_plane(ras, axis, index) for index in range(ras.shape[axis])]
    backwards = nibabel.load(path).affine[axis, case.axis] < 0
    assert np.array_equal(case.planes, shown[::-1] if backwards else shown)
    assert case.cut == cut


def test_planes_of_thick_slices_are_the_slices(tmp_path: Path, array: np.ndarray) -> None:
    case = read_source_image(write_volume(tmp_path / "series", array, np.eye(3)), "image")
    assert case.view == PlaneLayout((0, 2, 1), (1, -1, 1))
    assert case.spacing_mm == (2.0, 0.5, 0.75)
    assert case.cut == "sagittal"


def test_a_slice_is_an_image(tmp_path: Path, array: np.ndarray) -> None:
    folder = write_volume(tmp_path / "series", array, np.eye(3))
    case = read_source_image(folder / "5.dcm", "image")
    assert (case.kind, case.shape, case.grid) == ("image", SHAPE[1:], (1, *SHAPE[1:]))
    mask = (array[1] > 0).astype(np.uint8)
    for suffix in (".dcm", ".png", ".nii.gz"):
        written = write_mask(mask, case, tmp_path / f"mask{suffix}")
        assert np.array_equal(read_label_image(written, "label", case).planes[0], case.view.planes(mask[None])[0])


@pytest.mark.parametrize("tilt_degrees", [0, 25])
def test_a_voxel_of_sheared_planes_is_smaller_than_its_spacings_say(
    tmp_path: Path, array: np.ndarray, tilt_degrees: float
) -> None:
    cosine, sine = np.cos(np.deg2rad(tilt_degrees)), np.sin(np.deg2rad(tilt_degrees))
    affine = np.eye(4)
    affine[:3] = [
        [0, 0, 1.5, 0],
        [0, 2 * cosine, 0, 0],
        [5.0, -2 * sine, 0, 0],
    ]
    write_series(tmp_path / "scan", array, affine)
    case = read_source_image(tmp_path / "scan", "image")
    assert sorted(case.spacing_mm or ()) == pytest.approx([1.5, 2.0, 5.0])
    assert case.voxel_mm3 == pytest.approx(1.5 * 2 * 5 * cosine)


@pytest.mark.parametrize("upwards", [True, False])
def test_the_order_of_planes_without_a_place_is_told_where_numbers_have_another(
    tmp_path: Path, array: np.ndarray, upwards: bool
) -> None:
    affine = series_affine(np.eye(3), SPACING_MM, (0, 0, 0))
    affine[:3, 0] *= 1 if upwards else -1
    write_series(tmp_path / "scan", array, affine)
    image = read_source_image(tmp_path / "scan", "image")
    tifffile.imwrite(tmp_path / "label.tif", (array > 0).astype(np.uint8), photometric="minisblack")
    notes = read_label_image(tmp_path / "label.tif", "label", image).notes
    assert notes == (() if upwards else (f"label: {AS_THEY_LIE}",))


def test_a_radiograph_lies_nowhere(tmp_path: Path, array: np.ndarray) -> None:
    affine = series_affine(np.eye(3), SPACING_MM, (0, 0, 0))
    (path,) = write_series(tmp_path / "scan", array[:1], affine, "DX", ImagePositionPatient=None)
    case = read_source_image(path, "image")
    assert np.array_equal(case.planes, array[:1])
    assert (case.kind, case.cut, mask_suffix(case)) == ("image", None, ".png")
    assert case.spacing_mm == (1.0, *SPACING_MM[1:])


def test_segments_carry_names(tmp_path: Path, array: np.ndarray) -> None:
    case = read_source_image(write_volume(tmp_path / "series", array, np.eye(3)), "image")
    mask = np.where(array > 500, 7, np.where(array > 0, 3, 0)).astype(np.uint8)
    written = write_mask(mask, case, tmp_path / "mask.dcm", {3: "liver", 9: "absent"})
    label = read_label_image(written, "label", case)
    assert label.names == {1: "liver", 2: "class 7", 3: "absent"}
    assert np.array_equal(label.planes, case.view.planes(np.where(mask == 7, 2, mask // 3)))


@pytest.mark.parametrize("stored", [np.uint8, np.float32, bool])
def test_an_array_is_a_label_in_the_order_of_its_image_s_file(tmp_path: Path, array: np.ndarray, stored: type) -> None:
    case = read_source_image(write_volume(tmp_path / "a.nii", array, FLIPPED), "image", 2)
    label = read_label_image((array > 0).astype(stored), "label", case)
    assert np.array_equal(label.planes, case.planes > 0)


def test_a_fourth_axis_stays(tmp_path: Path, array: np.ndarray) -> None:
    case = read_source_image(write_volume(tmp_path / "a.nii", array[..., None], np.eye(3)), "image")
    mask = (array > 0).astype(np.uint8)[..., None]
    assert case.shape == mask.shape
    written = write_mask(mask, case, tmp_path / "mask.nii")
    assert nibabel.load(written).shape == mask.shape
    assert np.array_equal(read_label_image(written, "label", case).planes, case.view.planes(mask[..., 0]))


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (np.zeros((5, 3)), r"expected \(2, 3\), got \(5, 3\)"),
        (RAMP + 0.5, "Resize it by nearest"),
        (
            Image.fromarray(np.stack([RAMP, RAMP * 0, RAMP], -1)),
            r"is drawn in colours: .* Pass colours={.*--colours '#330033=1",
        ),
    ],
    ids=["shape", "values", "colours"],
)
def test_unfit_labels_are_named(bad: object, error: str) -> None:
    with pytest.raises(ValueError, match=rf"^support_labels\[1\] .*{error}"):
        read_label_image(bad, "support_labels[1]", read_source_image(RAMP, "image"))


def test_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"images\[0\] is unreadable: expected an image file, got none.png"):
        read_source_image("none.png", "images[0]")


@pytest.mark.parametrize("axis", [3, -4, "axial"])
def test_unknown_axis_is_refused(array: np.ndarray, axis: object) -> None:
    with pytest.raises(ValueError, match=r"image has no axis .*: expected 0, 1 or 2"):
        read_source_image(array, "image", axis)


def test_a_mask_of_a_file_in_two_parts_is_one_file(tmp_path: Path, array: np.ndarray) -> None:
    whole = write_volume(tmp_path / "whole.mha", array, OBLIQUE).read_bytes()
    header, data = whole.split(b"LOCAL\n", 1)
    (tmp_path / "a.mhd").write_bytes(header + b"a.raw\n")
    (tmp_path / "a.raw").write_bytes(data)
    in_space = {"space": "right-anterior-superior", "space directions": np.diag(SPACING_MM), "space origin": [0, 0, 0]}
    nrrd.write(str(tmp_path / "b.nhdr"), array, in_space)
    for name, suffix in {"a.mhd": ".mha", "b.nhdr": ".nrrd"}.items():
        case = read_source_image(tmp_path / name, "image")
        assert mask_suffix(case) == suffix
        mask = (array > 0).astype(np.uint8)
        written = write_mask(mask, case, tmp_path / f"mask{suffix}")
        assert np.array_equal(read_label_image(written, "label", case).planes, case.view.planes(mask))


def test_damaged_volume_is_named(tmp_path: Path, array: np.ndarray) -> None:
    path = write_volume(tmp_path / "a.nii", array, np.eye(3))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(OSError, match=r"images\[3\] is unreadable: expected an image file, got .*a.nii cannot be read"):
        read_source_image(path, "images[3]")


@pytest.mark.parametrize(
    ("source", "name"), [(RAMP, "mask.nii.gz"), (RAMP, "mask.jpg"), (RAMP, "mask"), (np.ones((5, 6, 7)), "mask.png")]
)
def test_unsuitable_formats_are_refused(tmp_path: Path, source: np.ndarray, name: str) -> None:
    case = read_source_image(source, "image")
    with pytest.raises(ValueError, match=r"mask.* cannot hold the mask of this (image|stack): expected .*\.tif"):
        write_mask(np.zeros(case.shape, np.uint8), case, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_masks_of_another_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mask does not fit its case: expected \(2, 3\), got \(3, 2\)"):
        write_mask(RAMP.T, read_source_image(RAMP, "image"), tmp_path / "mask.png")


def test_a_mask_appears_at_once_or_not_at_all(tmp_path: Path, array: np.ndarray) -> None:
    write_series(tmp_path / "scan", array, series_affine(np.eye(3), SPACING_MM, (0, 0, 0)), FrameOfReferenceUID=None)
    case = read_source_image(tmp_path / "scan", "image")
    (tmp_path / "mask.dcm").write_text("older")
    with pytest.raises(ValueError, match=r"cannot have a DICOM-SEG: .*Write a .nii.gz instead"):
        write_mask(np.ones(SHAPE, np.uint8), case, tmp_path / "mask.dcm")
    assert (tmp_path / "mask.dcm").read_text() == "older"


def test_real_volumes_keep_their_grid(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "sts_pet" / "volumes"
    image, label = (sorted(folder.glob(f"*_{part}.nii.gz"))[0] for part in ("image", "label"))
    case = read_source_image(image, "image")
    planes = read_label_image(label, "label", case).planes
    written = write_mask(np.ascontiguousarray(case.view.array(planes)), case, tmp_path / "mask.nii.gz")
    ours, theirs = nibabel.load(written), nibabel.load(label)
    assert np.array_equal(ours.dataobj, theirs.dataobj)
    assert np.array_equal(ours.affine, nibabel.load(image).affine)


def stored(path: Path, array: np.ndarray, affine: np.ndarray) -> StoredImage:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return formats.read(Source((path,)))


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_usual_axis_is_the_same_in_every_order_of_axes(view: PlaneLayout) -> None:
    affine = viewed(np.diag([1.0, 1.5, 2.5, 1.0]), SHAPE, view)
    assert orientation_of(affine) == view
    assert usual_axis(tuple(SHAPE[axis] for axis in view.axes), affine) == view.axes.index(2)


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
def test_usual_axis_is_across_thick_slices(shape: tuple[int, ...], spacing_mm: tuple[float, ...], axis: int) -> None:
    assert usual_axis(shape, np.diag([*spacing_mm, 1.0])) == axis


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_a_label_takes_the_order_of_its_image(tmp_path: Path, array: np.ndarray, view: PlaneLayout) -> None:
    affine = affine_of(OBLIQUE)
    image = stored(tmp_path / "image.nii", array, affine)
    label = stored(tmp_path / "label.nii", view.planes(array), viewed(affine, SHAPE, view))
    assert np.array_equal(on_image(label, image.geometry, image.shape, "label"), array)


@pytest.mark.parametrize(
    "affine",
    [np.eye(4), affine_of(np.eye(3)), affine_of(OBLIQUE) + 1.5 * np.eye(4, k=3)],
    ids=["none", "turned", "moved"],
)
def test_a_label_elsewhere_is_refused(tmp_path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    image = stored(tmp_path / "image.nii", array, affine_of(OBLIQUE))
    label = stored(tmp_path / "label.nii", array, affine)
    with pytest.raises(
        ValueError, match=r"label lies elsewhere than its image: expected .*Save it with its image's affine"
    ):
        on_image(label, image.geometry, image.shape, "label")


@pytest.mark.parametrize(("share", "is_told"), [(0.05, False), (0.17, True), (0.5, True), (0.6, None)])
def test_a_label_may_lie_a_part_of_a_voxel_beside_its_image(
    tmp_path: Path, array: np.ndarray, share: float, is_told: bool | None
) -> None:
    drawn, affine = (array > 20).astype(np.uint8), affine_of(OBLIQUE)
    moved = affine.copy()
    moved[:3, 3] += share * affine[:3, 1]
    for name, values, place in (("image", array, affine), ("label", drawn, moved)):
        stored(tmp_path / f"{name}.nii", values, place)
    image = read_source_image(tmp_path / "image.nii", "image")
    if is_told is None:
        with pytest.raises(ValueError, match="lies elsewhere"):
            read_label_image(tmp_path / "label.nii", "label", image)
        return
    label = read_label_image(tmp_path / "label.nii", "label", image)
    assert np.array_equal(on_grid(label.planes, image), drawn)
    assert [f"by {share:.2f} of a voxel" in note for note in label.notes] == [True] * is_told


@pytest.mark.parametrize("unplaced", ["label", "image"])
def test_a_label_has_its_images_order_where_a_header_states_no_place(
    tmp_path: Path, array: np.ndarray, unplaced: str
) -> None:
    drawn = (array > 20).astype(np.uint8)
    for name, values in (("image", array), ("label", drawn)):
        file = nibabel.Nifti1Image(values, affine_of(OBLIQUE))
        if name == unplaced:
            file.header["sform_code"] = file.header["qform_code"] = 0
            file = nibabel.Nifti1Image(values, None, file.header)
        nibabel.save(file, tmp_path / f"{name}.nii.gz")
    image = read_source_image(tmp_path / "image.nii.gz", "image")
    label = read_label_image(tmp_path / "label.nii.gz", "label", image)
    assert np.array_equal(label.planes, image.view.planes(drawn))
    assert any("states no place" in note for note in label.notes) == (unplaced == "label")


def test_a_label_may_lie_where_another_program_saw_its_image(tmp_path: Path, array: np.ndarray) -> None:
    image = nibabel.Nifti1Image(array, None)
    image.set_sform(affine_of(OBLIQUE), code=2)
    image.set_qform(affine_of(np.eye(3)), code=1)
    nibabel.save(image, tmp_path / "image.nii")
    label = write_volume(tmp_path / "label.nii", (array > 20).astype(np.uint8), np.eye(3))
    case = read_source_image(tmp_path / "image.nii", "image")
    assert np.array_equal(read_label_image(label, "label", case).planes > 0, case.planes > 20)


def test_of_overlapping_segments_the_later_stays(tmp_path: Path, array: np.ndarray) -> None:
    folder = write_volume(tmp_path / "series", array, OBLIQUE)
    case = read_source_image(folder, "image")
    assert case.geometry is not None
    liver, tumour = array > 500, array > 800
    write_segmentation(tmp_path / "seg.dcm", case.geometry.files, {"Liver": liver, "Tumour": tumour})
    label = read_label_image(tmp_path / "seg.dcm", "label", case)
    assert np.array_equal(case.view.array(label.planes), np.where(tumour, 2, np.where(liver, 1, 0)))
    assert label.names == {1: "Liver", 2: "Tumour"}


def test_palette_holds_classes_in_a_label_and_colours_in_an_image(tmp_path: Path) -> None:
    values = np.array([[0, 3], [128, 255]], dtype=np.uint8)
    palette = Image.fromarray(values).convert("P")
    palette.putdata(values.ravel().tolist())
    palette.putpalette([index for _ in range(256) for index in (9, 9, 9)])
    palette.save(tmp_path / "a.png")
    case = read_source_image(tmp_path / "a.png", "image")
    assert case.planes == pytest.approx(np.full((1, 2, 2), 9.0))
    for label in (tmp_path / "a.png", palette):
        assert np.array_equal(read_label_image(label, "label", case).planes[0], values)


def test_label_stored_with_loss_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "label.jpg")
    with pytest.raises(
        ValueError, match=r"^label was stored with loss: expected a mask of one class, or a PNG or TIFF label"
    ):
        read_label_image(tmp_path / "label.jpg", "label", read_source_image(RAMP, "image"))


@pytest.mark.parametrize("keep", [8, 2000])
def test_damaged_picture_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(OSError, match=r"images\[0\] is unreadable: expected an image file, got .*image.png"):
        read_source_image(path, "images[0]")


def test_a_label_that_was_not_turned_with_its_image_is_told_why(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(RAMP).save(tmp_path / "image.png", exif=exif)
    case = read_source_image(tmp_path / "image.png", "image")
    assert case.shape == RAMP.shape[::-1]
    assert read_label_image(tmp_path / "image.png", "label", case).planes.shape == case.planes.shape
    with pytest.raises(
        ValueError, match=r"expected \(3, 2\), got \(2, 3\)\. .*turned upright, as orientation tag 6 says"
    ):
        read_label_image(RAMP, "label", case)
    with pytest.raises(ValueError, match=r"got \(3, 2\).* It was turned upright, as orientation tag 6 says"):
        read_label_image(tmp_path / "image.png", "label", read_source_image(RAMP, "image"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_opened_picture_is_turned_as_its_file_is(tmp_path: Path, suffix: str, orientation: int) -> None:
    path, exif = tmp_path / f"a{suffix}", Image.Exif()
    exif[274] = orientation
    compressed = {"compression": "tiff_lzw"} if suffix == ".tif" else {}  # Pillow mixes up pixels of others
    Image.fromarray(RAMP.repeat(8, 0).repeat(8, 1)).save(path, exif=exif, **compressed)
    with Image.open(path) as opened:
        by_file, by_picture = read_source_image(path, "image"), read_source_image(opened, "image")
        assert np.array_equal(by_file.planes, by_picture.planes)
        if suffix in (".png", ".tif"):
            assert np.array_equal(read_label_image(opened, "label", by_file).planes, by_file.planes)


def nan_outside(folder: Path, suffix: str) -> Path:
    """Write a volume, or a plane, whose first row is NaN but for one infinity, in a format that can hold these."""
    path, array = folder / f"a{suffix}", np.arange(100, 160, dtype=np.float32).reshape(5, 4, 3)
    array[0] = np.nan
    array[0, 0, 0] = -np.inf
    if suffix == ".npy":
        np.save(path, array[:, 0])
    elif suffix == ".tif":
        tifffile.imwrite(path, array[:, 0])
    elif suffix == ".nrrd":
        nrrd.write(str(path), array)
    else:
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".npy", ".nrrd"])
def test_what_a_file_did_not_measure_is_its_smallest_value(tmp_path: Path, suffix: str) -> None:
    case = read_source_image(path := nan_outside(tmp_path, suffix), "image")
    on_file = np.ascontiguousarray(case.view.array(case.planes)).reshape(case.shape)
    smallest = on_file[1].min()
    assert (on_file[0] == smallest).all()
    assert (on_file[1:].ravel() == np.sort(on_file[1:].ravel())).all()
    assert [note for note in case.notes if "20.00% of its pixels" in note]
    with pytest.raises(ValueError, match="label is no label map: expected whole numbers, got NaN or infinity"):
        read_label_image(path, "label", case)


def test_an_array_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="image is not finite: expected numbers only, got 1 NaN"):
        read_source_image(np.array([[0, np.nan], [1, 2]]), "image")


def test_a_file_without_a_number_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((4, 5), np.nan))
    with pytest.raises(OSError, match=r"a\.npy \(expected numbers, got NaN or infinity in all pixels"):
        read_source_image(tmp_path / "a.npy", "image")


@pytest.mark.parametrize(
    "save", [np.asarray, Image.fromarray, "a.png", "a.webp", "a.tif"], ids=["array", "picture", "png", "webp", "tif"]
)
@pytest.mark.parametrize("grey", [0, 90, 255])
@pytest.mark.parametrize("opacity", [255, 120])
def test_a_label_may_be_drawn_on_a_transparent_layer(save: object, grey: int, opacity: int, tmp_path: Path) -> None:
    drawn = RAMP > 60
    layer = np.dstack([np.full_like(RAMP, grey)] * 3 + [drawn * np.uint8(opacity)])
    if isinstance(save, str):
        Image.fromarray(layer).save(tmp_path / save, lossless=True)
    label = read_label_image(
        tmp_path / save if isinstance(save, str) else save(layer), "label", read_source_image(RAMP, "image")
    )
    assert np.array_equal(label.planes[0], drawn * 255)
    assert "transparent layer" in label.notes[0]


def test_nothing_is_drawn_on_an_empty_layer() -> None:
    layer = Image.fromarray(np.dstack([np.full_like(RAMP, 255)] * 3 + [np.zeros_like(RAMP)]))
    assert not read_label_image(layer, "label", read_source_image(RAMP, "image")).planes.any()


def test_a_mask_may_be_a_photograph(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    drawn = (y - 30) ** 2 + (x - 35) ** 2 < 300
    Image.fromarray(drawn).convert("L").save(tmp_path / "mask.jpg", quality=80)
    label = read_label_image(tmp_path / "mask.jpg", "label", read_source_image(drawn * 1.0, "image"))
    assert set(np.unique(label.planes)) == {0, 255}
    assert (label.planes[0] > 0)[drawn].mean() > 0.99
    assert (label.planes[0] > 0)[~drawn].mean() < 0.01


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".webp", ".gif"])
def test_colours_of_labels_have_the_values_of_a_table(tmp_path: Path, suffix: str) -> None:
    value = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 255]], np.uint8)[value]
    path, rules = tmp_path / f"label{suffix}", LabelRules(colours={"#ff0000": 3, "#0080ff": 1})
    np.save(path, colours) if suffix == ".npy" else Image.fromarray(colours).save(path, lossless=True)
    image = read_source_image(np.zeros((2, 3), np.uint8), "image")
    assert np.array_equal(read_label_image(path, "label", image, rules).planes[0], np.array([0, 3, 1])[value])


def test_a_channel_is_that_of_every_form(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", channels[None].transpose(0, 3, 1, 2), imagej=True, metadata={"axes": "ZCYX"})
    Image.fromarray(channels).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", channels)
    nibabel.save(
        nibabel.Nifti1Image(channels.transpose(1, 0, 2)[:, :, None], np.diag([-1, -1, 1, 1])), tmp_path / "a.nii"
    )
    forms = [channels, channels.transpose(2, 0, 1), Image.fromarray(channels), tmp_path / "a.png", tmp_path / "a.npy"]
    for form in (*forms, tmp_path / "a.tif", tmp_path / "a.nii"):
        case = read_source_image(form, "image", channel=2)
        assert np.array_equal(case.planes, channels[None, ..., 2]), form
        assert case.shape == ((30, 20, 1) if case.kind == "volume" else (20, 30))
    assert np.array_equal(read_source_image(channels, "image", channel="green").planes[0], channels[..., 1])
    with pytest.raises(ValueError, match="image has no channel 7: expected 0 to 2"):
        read_source_image(channels, "image", channel=7)
    with pytest.raises(ValueError, match="image has no channel 'DAPI': expected 0 to 2, or red, green, blue"):
        read_source_image(channels, "image", channel="DAPI")


def test_a_channel_is_known_by_its_name_in_the_file(tmp_path: Path) -> None:
    stains = np.random.default_rng(0).integers(0, 255, (2, 20, 30), np.uint8)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, stains, photometric="minisblack", metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    )
    assert np.array_equal(read_source_image(path, "image", channel="GFP").planes, stains[1:])
    with pytest.raises(OSError, match=r"has no channel 'CD8': expected 0 'DAPI', 1 'GFP'"):
        read_source_image(path, "image", channel="CD8")


def test_the_mask_of_an_enhanced_file_is_no_segmentation(tmp_path: Path) -> None:
    """Its frames lie in any order, and the references of a DICOM-SEG to them would be those of slices."""
    pytest.importorskip("pydicom")
    from tests.dicom_files import series_affine, write_enhanced, write_series

    slices = write_series(
        tmp_path / "one", np.ones((3, 4, 5), np.int16), series_affine(np.eye(3), (1, 1, 2), (0, 0, 0))
    )
    enhanced = read_source_image(write_enhanced(tmp_path / "many", slices), "image")
    assert enhanced.shape == (3, 4, 5)
    assert mask_suffix(read_source_image(tmp_path / "one", "image")) == ".dcm"
    assert mask_suffix(enhanced) == ".nii.gz"
    with pytest.raises(ValueError, match=r"expected \.nii\.gz, .*, got \.dcm"):
        write_mask(np.ones((3, 4, 5), np.uint8), enhanced, tmp_path / "mask.dcm")


def test_an_image_that_is_too_large_to_work_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fit into memory, but not with all that is made of it on the way to its mask."""
    monkeypatch.setattr(source_image, "free_bytes", lambda: 20.0 * 100)
    for side in (10, 11):
        Image.fromarray(np.zeros((side, side), np.uint8)).save(tmp_path / f"{side}.png")
    assert read_source_image(tmp_path / "10.png", "a").shape == (10, 10)
    with pytest.raises(OSError, match=r"11\.png cannot be read: expected at most 100 pixels, got 1 × 11 × 11"):
        read_source_image(tmp_path / "11.png", "a")


def test_a_label_that_was_cut_out_returns_to_its_place(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    label = np.zeros((12, 14, 6), np.uint8)
    label[3:8, 4:9, 2:5] = 1
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(label, affine), tmp_path / "image.nii.gz")
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ [2, 3, 1]
    nibabel.save(nibabel.Nifti1Image(label[2:10, 3:12, 1:5], moved), tmp_path / "label.nii.gz")
    image = read_source_image(tmp_path / "image.nii.gz", "image")
    assert np.array_equal(image.view.array(read_label_image(tmp_path / "label.nii.gz", "label", image).planes), label)


def test_a_mask_of_lossy_webp_is_one_class(tmp_path: Path) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[9:30, 11:37] = 255
    Image.fromarray(np.dstack([mask] * 3)).save(tmp_path / "a.webp", quality=60)
    label = read_label_image(tmp_path / "a.webp", "label", read_source_image(mask, "image"))
    assert np.array_equal(label.planes[0], mask)


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".nrrd"])
def test_a_label_of_the_other_order_of_axes_is_told_by_its_size(tmp_path: Path, suffix: str) -> None:
    drawn = np.zeros((8, 7, 5), np.uint8)
    drawn[2:4, 1:6, 3:] = 1
    volume = read_source_image(write_volume(tmp_path / "image.nii", np.ones((8, 7, 5)), np.eye(3)), "image")
    label = tmp_path / f"label{suffix}"
    if suffix == ".nrrd":
        nrrd.write(str(label), drawn)
    elif suffix == ".tif":
        tifffile.imwrite(label, drawn.transpose())
    else:
        np.save(label, drawn.transpose())
    read = read_label_image(label, "label", volume)
    assert np.array_equal(read.planes, volume.view.planes(drawn))
    assert len(read.notes) == 1
    tifffile.imwrite(tmp_path / "stack.tif", np.ones((5, 7, 8), np.uint8))
    stack = read_source_image(tmp_path / "stack.tif", "image")
    mask = write_volume(tmp_path / "label.nii", drawn, np.eye(3))
    assert np.array_equal(read_label_image(mask, "label", stack).planes, drawn.transpose())


def test_a_stack_that_fits_a_volume_both_ways_is_refused(tmp_path: Path) -> None:
    volume = read_source_image(write_volume(tmp_path / "image.nii", np.ones((8, 7, 8)), np.eye(3)), "image")
    tifffile.imwrite(tmp_path / "label.tif", np.eye(8, 7, dtype=np.uint8)[..., None] * np.ones(8, np.uint8))
    with pytest.raises(ValueError, match=r"label has two readings on its image: .* Save it in its image's format"):
        read_label_image(tmp_path / "label.tif", "label", volume)
