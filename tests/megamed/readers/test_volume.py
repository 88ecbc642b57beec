"""Where a label lies: on its image but for rounding, or cut out of it; anything else is refused."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from megamed import formats
from megamed.readers.source import Source
from megamed.readers.volume import Volume, canonical, check_place, laid_on, on_grid, place_note

SHAPE = (9, 8, 7)
AFFINE = np.array([[0.8, 0, 0, -197.1123], [0, 0.8, 0, -27.1123], [0, 0, 2.5, -1114.1], [0, 0, 0, 1.0]])


def volume(array: np.ndarray, affine: np.ndarray) -> Volume:
    return canonical(array, affine)


@pytest.fixture
def image() -> Volume:
    return volume(np.random.default_rng(0).integers(0, 99, SHAPE), AFFINE)


def moved(by: tuple[float, float, float]) -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3, 3] += by
    return affine


@pytest.mark.parametrize("by_mm", [3e-4, 2e-3, 0.01, 0.05])
def test_rounding_of_a_header_is_no_displacement(image: Volume, by_mm: float) -> None:
    label = volume(image.array, moved((by_mm, -by_mm, 0)))
    assert np.array_equal(on_grid(label, image), image.array)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_tolerance_is_a_share_of_the_voxel(scale: float) -> None:
    fine = Volume(np.zeros(SHAPE), (scale, scale, scale), np.diag([scale, scale, scale, 1.0]))
    for share, is_refused in ((0.09, False), (0.11, True)):
        other = fine.affine.copy()
        other[1, 3] += share * scale
        if is_refused:
            with pytest.raises(ValueError, match="label lies elsewhere than its image: expected affine"):
                check_place(fine, Volume(fine.array, fine.spacing_mm, other), "label")
        else:
            check_place(fine, Volume(fine.array, fine.spacing_mm, other), "label")


@pytest.mark.parametrize(("share", "is_told"), [(0.05, False), (0.17, True), (0.5, True), (0.6, None)])
def test_a_label_may_lie_a_part_of_a_voxel_beside_its_image(image: Volume, share: float, is_told: bool | None) -> None:
    label = volume(image.array, image.affine.copy())
    label.affine[:3, 3] += share * image.affine[:3, 2]
    if is_told is None:
        with pytest.raises(ValueError, match="label lies elsewhere than its image"):
            on_grid(label, image)
        return
    assert np.array_equal(on_grid(label, image), image.array)
    assert (f"by {share:.2f} of a voxel" in place_note(label, image)) == is_told


def test_a_part_that_was_cut_out_returns_to_its_place(image: Volume) -> None:
    label = (image.array > 50).astype(np.uint8)
    label[:2], label[:, 6:], label[:, :, :1] = 0, 0, 0
    part = volume(label[2:8, 1:6, 1:6], moved((1.6, 0.8, 2.5)))
    label[8:], label[:, :1], label[:, :, 6:] = 0, 0, 0
    assert label.any()
    assert np.array_equal(on_grid(part, image), label)


@pytest.mark.parametrize(
    ("shape", "by"),
    [((6, 8, 7), (0, 0, 0)), ((6, 5, 7), (-0.8, 0.8, 0)), ((6, 5, 5), (0.4, 0.8, 2.5)), ((9, 8, 9), (0, 0, -2.5))],
    ids=["corner", "beyond", "between", "larger"],
)
def test_what_is_no_part_of_the_image_is_refused(
    image: Volume, shape: tuple[int, int, int], by: tuple[float, float, float]
) -> None:
    with pytest.raises(ValueError, match=r"label does not match its image: expected \(9, 8, 7\), got .*Save it"):
        on_grid(volume(np.ones(shape), moved(by)), image)


def test_a_grid_shows_what_was_turned_and_reaches_beyond() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    affine = np.array([[0, 0, -1, 3], [1, 0, 0, -1], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    inside, part = laid_on(array, affine, (3, 2, 3), np.eye(4))
    grid = np.full((3, 2, 3), -1)
    grid[inside] = part
    for index in np.ndindex(array.shape):
        spot = tuple((affine[:3, :3] @ index + affine[:3, 3]).astype(int))
        if all(0 <= each < size for each, size in zip(spot, grid.shape, strict=True)):
            assert grid[spot] == array[index]
    assert (grid >= 0).sum() == 9


def test_one_place_that_two_headers_share_is_enough() -> None:
    """Of two places in the header of an image, one program's label has the first and another's the second."""
    array = np.zeros((4, 5, 6), np.uint8)
    first, second = np.eye(4), np.eye(4)
    second[:3, 3] = 7, 0, 0
    image = canonical(array, first, None, (second,))
    for affine in (first, second):
        assert on_grid(canonical(array, affine), image).shape == array.shape
    with pytest.raises(ValueError, match="label lies elsewhere than its image"):
        on_grid(canonical(array, second), canonical(array, first))


@pytest.mark.parametrize("unplaced", ["label", "image"])
def test_a_label_has_its_images_order_where_a_header_states_no_place(tmp_path: Path, unplaced: str) -> None:
    array = np.arange(60).reshape(3, 4, 5)
    affine = np.array([[0, 2, 0, 9], [0, 0, 3, -7], [-1, 0, 0, 4], [0, 0, 0, 1.0]])
    for name in ("image", "label"):
        file = nibabel.Nifti1Image(array.astype(np.uint8), affine)
        if name == unplaced:
            file.header["sform_code"] = file.header["qform_code"] = 0
            file = nibabel.Nifti1Image(array.astype(np.uint8), None, file.header)
        nibabel.save(file, tmp_path / f"{name}.nii")
    image, label = (formats.read(Source((tmp_path / f"{name}.nii",))).to_ras() for name in ("image", "label"))
    assert np.array_equal(on_grid(label, image), image.array)
    assert np.array_equal(label.as_stored, array)
    small = replace(label, array=label.array[1:, 1:, 1:])
    with pytest.raises(ValueError, match="label does not match its image"):
        on_grid(small, image)
