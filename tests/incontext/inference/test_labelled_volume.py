"""Volumes of which a few planes are labelled: grids, what was drawn, and how labels travel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from incontext import Segmenter
from incontext.images.source_image import read_source_image
from incontext.inference.labelled_volume import FILM, _by_plane, read_labelled, suitable
from incontext.inference.propagation import Propagation
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.squares import letterbox

SIZE_PX = 32


class Thresholder(nn.Module):
    """Finds what is bright in the query, whatever the support shows."""

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return 20 * (query_images - 0.5)


def ball(count: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball in a stack (count, 40, 56), and its label."""
    planes, rows, columns = np.mgrid[:count, :40, :56]
    label = ((planes - count // 2) ** 2 * 9 + (rows - 18) ** 2 + (columns - 30) ** 2 < 150).astype(np.uint8)
    return (50 + 150 * label).astype(np.uint8), label


def segmenter(network: nn.Module | None = None) -> Segmenter:
    torch.manual_seed(0)
    config = SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)
    return Segmenter(network or SupportOnceNet(config), size_px=SIZE_PX, device="cpu")


def test_labelled_planes_stay_as_drawn_and_the_others_are_found() -> None:
    volume, label = ball()
    result = segmenter(Thresholder()).propagate(volume, {4: label[4], 0: label[0]})
    assert result[0].shape == volume.shape
    np.testing.assert_array_equal(result[0][4], label[4])
    overlap = (result[0] & label).sum() / label.sum()
    assert overlap > 0.8
    assert result.report.label_budget == 2
    assert "2 labelled planes" in result.report.support
    assert result.cases[0].shape == volume.shape


def test_pixels_that_nobody_judged_are_found_on_labelled_planes_too() -> None:
    volume, label = ball()
    drawn = label[4] * np.uint8(1)
    drawn[:, 28:] = 255
    drawn[:10, 40:] = 0
    torch.manual_seed(0)
    net = segmenter(Thresholder())
    net.unknown = 255
    found = net.propagate(volume, {4: drawn})[0][4]
    judged = drawn != 255
    np.testing.assert_array_equal(found[judged], drawn[judged])
    assert (found & label[4])[~judged].sum() > 0.9 * label[4][~judged].sum() > 0


@pytest.mark.parametrize("count", [3, 4])
def test_an_array_of_as_few_planes_as_colours_is_a_volume_here(count: int) -> None:
    volume, label = ball(count)
    result = segmenter().propagate(volume, {count // 2: label[count // 2]})
    assert result[0].shape == volume.shape


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis_finds_the_same(axis: int) -> None:
    volume, label = ball()
    along_first = segmenter().propagate(volume, {2: label[2], 6: label[6]})
    turned = segmenter().propagate(
        np.moveaxis(volume, 0, axis), {2: label[2], 6: label[6]}, axis=axis, classes={1: "ball"}
    )
    assert turned.classes == {1: "ball"}
    np.testing.assert_array_equal(np.moveaxis(turned[0], axis, 0), along_first[0])


def test_a_label_of_the_whole_is_that_of_its_planes_that_show_something() -> None:
    volume, label = ball()
    sparse = np.zeros_like(label)
    sparse[3] = 7 * label[3]
    whole, planes = segmenter().propagate(volume, sparse), segmenter().propagate(volume, {3: sparse[3]})
    np.testing.assert_array_equal(whole[0], planes[0])
    assert set(np.unique(whole[0])) <= {0, 7}


def test_frames_one_by_one_are_segmented_as_a_stack_of_them_is(tmp_path: Path) -> None:
    film, label = ball()
    for index, frame in enumerate(film):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
        Image.fromarray(label[index]).save(tmp_path / f"label{index}.png")
    frames = [tmp_path / f"{index}.png" for index in range(len(film))]
    of_stack = segmenter().propagate(film, {0: label[0], 4: label[4]})
    drawn = {index: tmp_path / f"label{index}.png" for index in (0, 4)}
    named = segmenter().propagate(frames, {"ball": drawn})
    assert named.classes == {1: "ball"}
    for result in (segmenter().propagate(list(film), {0: label[0], 4: label[4]}), named):
        assert result[0].shape == film.shape
        np.testing.assert_array_equal(result[0], of_stack[0])


def test_a_frame_in_which_nothing_was_drawn_is_labelled_too() -> None:
    film, label = ball()
    result = segmenter(Thresholder()).propagate(list(film), {4: label[4], 3: np.zeros_like(label[3])})
    assert not result[0][3].any()
    assert result.report.label_budget == 2


def test_classes_are_found_side_by_side() -> None:
    volume, label = ball()
    halves = label * np.where(np.arange(56) < 30, 3, 5).astype(np.uint8)
    result = segmenter().propagate(volume, {4: halves[4]}, classes={3: "left"})
    assert result.classes == {3: "left", 5: "5"}
    assert result.probabilities[0].shape == (2, *volume.shape)
    np.testing.assert_array_equal(result[0][4], halves[4])
    np.testing.assert_allclose(result.probabilities[0][0, 4], halves[4] == 3, atol=1e-6)


def test_tiles_are_gone_through_one_by_one() -> None:
    volume, label = ball()
    one = segmenter(Thresholder()).set_params(tiling=20)
    result = one.propagate(volume, {4: label[4]})
    assert result.report.tiling == "tiles of 20 px, as asked"
    assert (result[0] & label).sum() / label.sum() > 0.8


def test_other_volumes_teach_too() -> None:
    volume, label = ball()
    one = segmenter().fit(volume, {"ball": label})
    alone = one.propagate(volume)
    assert alone.classes == {1: "ball"}
    budget = int(label.any(axis=(1, 2)).sum())
    assert alone.report.label_budget == budget
    both = one.propagate(volume, {4: label[4]})
    assert both.report.label_budget == budget + 1
    np.testing.assert_array_equal(both[0][4], label[4])


def test_a_class_that_only_others_know_is_sought_in_labelled_planes_too() -> None:
    volume, label = ball()
    one = segmenter(Thresholder()).fit(volume, {"one": label, "two": label})
    result = one.set_params(overlap=True).propagate(volume, {1: label[4]})
    assert result.classes == {1: "one", 2: "two"}
    assert (result.layer(0, 2) & (label > 0)).sum() / label.sum() > 0.8


def test_the_planes_of_a_scan_are_labelled_as_its_file_has_them(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume, label = ball()
    affine = np.diag([-2.0, 1.5, 1.0, 1.0])
    affine[0, 3] = 80
    array, known = volume.transpose(2, 1, 0).astype(np.int16), label.transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "scan.nii")
    case = read_source_image(tmp_path / "scan.nii", "scan", axis=2)
    labelled = read_labelled(case, {3: known[:, :, 3]})
    np.testing.assert_array_equal(labelled.labels[3], case.view.planes(known)[3])
    result = segmenter().propagate(tmp_path / "scan.nii", {3: known[:, :, 3], 5: known[:, :, 5]}, axis=2)
    np.testing.assert_array_equal(result[0][:, :, 5], known[:, :, 5])
    path = result.write(0, tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(nibabel.load(path).affine, affine)


class Sizes(Thresholder):
    """Notes how much of each query is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.shares: list[float] = []

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        self.shares += [float(image.gt(0.5).float().mean()) for image in query_images]
        return super().forward(query_images, support_images, support_labels)


def scan(volume: np.ndarray, folder: Path) -> Path:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(volume, 0, 2), np.diag([1.0, 1, 4, 1])), folder / "scan.nii")
    return folder / "scan.nii"


@pytest.mark.parametrize("beside", [False, True])
def test_volumes_are_seen_by_a_window_around_what_was_drawn_and_films_whole(tmp_path: Path, beside: bool) -> None:
    """What reaches beyond the window makes it give way to whole planes: nothing that is there is cut off."""
    volume, label = np.zeros((9, 96, 96), np.uint8), np.zeros((9, 96, 96), np.uint8)
    label[2:7, 40:52, 30:42] = 1
    label[6, 40:52, 30:90] |= beside
    volume[label > 0] = 200
    shares = {}
    for margin in (Propagation().margin, 0.0):
        network = Sizes()
        config = Propagation(margin=margin, continuity=0.0)
        found = segmenter(network).propagate(scan(volume, tmp_path), {4: label[4]}, axis=2, config=config)
        shares[margin] = max(network.shares[:2])
        assert found[0].shape == (96, 96, 9)
        assert np.moveaxis(found[0], 2, 0)[label == 0].mean() < 0.01
        assert np.moveaxis(found[0], 2, 0)[label > 0].mean() > 0.9
    assert shares[0.5] > 10 * shares[0.0]
    film = Sizes()
    segmenter(film).propagate(volume, {4: label[4]})
    assert max(film.shares[:2]) < 2 * shares[0.0]


def test_shapes_are_interpolated_in_volumes_as_far_as_planes_are_apart() -> None:
    stack = read_source_image(np.zeros((5, 20, 40)), "stack")
    box = letterbox((20, 40))
    assert suitable(stack, box) == FILM
    assert FILM.continuity == 0
    volume = replace(stack, kind="volume", spacing_mm=(5.0, 0.5, 0.5))
    assert suitable(volume, box).step == pytest.approx(5 / 20)
    assert suitable(volume, box).continuity == Propagation().continuity
    assert suitable(replace(volume, spacing_mm=None), box) == Propagation()


@pytest.mark.parametrize(
    ("volume", "labels", "fault"),
    [
        (ball()[0][0], {0: ball()[1][0]}, "volume has no planes: expected a stack or volume"),
        (ball()[0], {9: ball()[1][0]}, r"labels name no plane: expected indices from 0 to 8, got \[9\]"),
        (ball()[0], {0: ball()[1][0, 1:]}, r"labels\[0\] does not match its image: expected \(40, 56\)"),
        (ball()[0], {0: np.zeros((40, 56))}, "labels show nothing"),
        (ball()[0], None, "labels show nothing"),
        ([*ball()[0]], {9: ball()[1][0]}, r"labels name no plane: expected indices from 0 to 8, got \[9\]"),
        ([*ball()[0]], {}, "labels show nothing"),
    ],
    ids=["image", "no such plane", "other size", "empty", "none", "no such frame", "none of frames"],
)
def test_what_does_not_fit_is_refused(volume: np.ndarray | list, labels: dict | None, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        segmenter(Thresholder()).propagate(volume, labels)


def test_masks_by_name_are_those_of_planes_of_a_volume_too() -> None:
    volume, label = ball()
    net = segmenter(Thresholder())
    by_name = net.propagate(volume.swapaxes(0, 1), {"ball": {4: label[4] > 0}}, axis=1)
    assert by_name.classes == {1: "ball"}
    by_value = net.propagate(volume.swapaxes(0, 1), {4: label[4]}, axis=1)
    np.testing.assert_array_equal(by_name[0], by_value[0])


def test_indices_of_planes_may_be_the_keys_of_a_json_object() -> None:
    label = ball()[1][4]
    assert _by_plane({"4": label}, 9)[1:] == ({4: label}, [4])
    assert _by_plane({"ball": {"4": label}}, 9)[::2] == ({"ball": {4: label}}, [4])


def test_a_label_that_was_drawn_along_another_axis_is_told(tmp_path: Path) -> None:
    volume, label = ball(15)
    drawn = np.zeros_like(label)
    drawn[:, :, 30] = label[:, :, 30]
    (note,) = read_labelled(volume, drawn).notes
    assert "labels seems to be drawn on slices along axis 2: expected areas on slices along axis 0" in note
    assert not read_labelled(volume, drawn, axis=2).notes
    assert not read_labelled(volume, label).notes
    by_planes = np.where(np.arange(15)[:, None, None] % 3 == 0, label, 0)
    assert not read_labelled(volume, by_planes).notes
