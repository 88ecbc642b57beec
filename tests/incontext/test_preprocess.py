"""What a user has → the network's grid and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext.preprocess import label_to_square, read_image, read_label, to_square, to_user_grid
from megamed.standardise import Standard, pad_to_square, resize, standard_mask

RAMP = np.array([[0, 51, 102], [153, 204, 255]], dtype=np.uint8)


@pytest.mark.parametrize(
    "same",
    [
        RAMP,
        RAMP.astype(np.uint16) * 257,
        RAMP.astype(np.int32) - 1000,
        RAMP / 255,
        (RAMP / 255).astype(np.float16),
        np.stack([RAMP] * 3, axis=-1),
        np.stack([RAMP] * 4, axis=-1),
        torch.from_numpy(RAMP),
        torch.from_numpy(RAMP).float().requires_grad_(),
        torch.from_numpy(RAMP / 255).to(torch.float32),
        Image.fromarray(RAMP),
        Image.fromarray(RAMP).convert("RGB"),
        Image.fromarray(RAMP).convert("RGBA"),
        Image.fromarray(RAMP).convert("LA"),
        Image.fromarray(RAMP).convert("P"),
    ],
)
def test_every_form_of_an_image_is_the_same_image(same: object) -> None:
    np.testing.assert_allclose(read_image(same, "image"), RAMP / 255, atol=2e-3)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_image_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(RAMP).save(path)
    np.testing.assert_allclose(read_image(path, "image"), RAMP / 255, atol=1e-6)
    np.testing.assert_allclose(read_image(str(path), "image"), RAMP / 255, atol=1e-6)


def test_sixteen_bit_file(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "image.png")
    np.testing.assert_allclose(read_image(tmp_path / "image.png", "image"), RAMP / 255, atol=1e-6)


def test_colour_becomes_luminance() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    np.testing.assert_allclose(read_image(colours, "image"), [[0.299, 0.587, 0, 1]], atol=1e-6)


def test_extreme_integers_do_not_overflow() -> None:
    np.testing.assert_array_equal(read_image(np.array([[-(2**15), 2**15 - 1]], dtype=np.int16), "image"), [[0, 1]])


def test_constant_image_is_black() -> None:
    np.testing.assert_array_equal(read_image(np.full((2, 2), 7), "image"), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("bad", "fix"),
    [
        (np.zeros((5, 8, 8)), r"got \(5, 8, 8\).*list\(volume\)"),
        (np.zeros((3, 8, 8)), "channels last"),
        (np.zeros((1, 8, 8)), r"image\[0\]"),
        (np.zeros((8, 8, 1)), r"image\[..., 0\]"),
        (np.zeros((4, 1, 8, 8)), r"list\(images\[:, 0\]\)"),
        (np.zeros(8), "Pass a list of images"),
        (np.zeros((0, 8)), "Leave empty images out"),
        (np.array([[0, np.nan]]), "got 1 NaN or infinite"),
        (np.array([[0, np.inf]]), "nan_to_num"),
        (np.array([["a", "b"]]), "Cast it"),
    ],
)
def test_bad_image_names_argument_and_fix(bad: np.ndarray, fix: str) -> None:
    with pytest.raises(ValueError, match=rf"^images\[2\] .*expected .*{fix}"):
        read_image(bad, "images[2]")


def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(OSError, match=r"support_images\[0\] is unreadable.*text.png"):
        read_image(tmp_path / "text.png", "support_images[0]")
    with pytest.raises(OSError, match=r"is unreadable.*none.png"):
        read_image(tmp_path / "none.png", "images[0]")


def test_truncated_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    with pytest.raises(OSError, match="is unreadable"):
        read_image(tmp_path / "half.png", "images[0]")


def test_file_of_many_frames(tmp_path: Path) -> None:
    frame = Image.fromarray(RAMP)
    frame.save(tmp_path / "stack.tif", save_all=True, append_images=[frame])
    with pytest.raises(ValueError, match=r"is a stack.*got 2"):
        read_image(tmp_path / "stack.tif", "images[0]")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_label_of_any_dtype(dtype: type) -> None:
    np.testing.assert_array_equal(read_label(np.array([[0, 1]], dtype=dtype), "label"), [[0, 1]])


def test_label_keeps_its_values(tmp_path: Path) -> None:
    values = np.array([[0, 3], [128, 255]], dtype=np.uint8)
    palette = Image.fromarray(values).convert("P")
    palette.putdata(values.ravel().tolist())
    palette.save(tmp_path / "palette.png")
    for same in (values, torch.from_numpy(values), np.stack([values] * 3, -1), tmp_path / "palette.png"):
        np.testing.assert_array_equal(read_label(same, "label"), values)


@pytest.mark.parametrize("bad", [[[0.5, 1]], [[0, 256]], [[-1, 0]]])
def test_label_of_other_numbers(bad: list) -> None:
    with pytest.raises(ValueError, match=r"support_labels\[1\] is no label map: expected whole numbers in 0–255"):
        read_label(np.array(bad), "support_labels[1]")


def test_colourful_label_is_no_label_map() -> None:
    colours = np.zeros((4, 4, 3), dtype=np.uint8)
    colours[0, 0] = (255, 0, 0)
    with pytest.raises(ValueError, match="label is not one image"):
        read_label(colours, "label")


def test_label_stored_with_loss(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "label.jpg")
    with pytest.raises(ValueError, match="stored with loss"):
        read_label(tmp_path / "label.jpg", "label")


@pytest.mark.parametrize("shape", [(70, 41), (31, 64), (32, 32), (9, 12), (1, 3)])
def test_grid_is_the_collection_s(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    np.testing.assert_array_equal(to_square(image, 32), resize(pad_to_square(image), 32))
    mask = image > 0.4
    np.testing.assert_array_equal(label_to_square(mask, 32), standard_mask(mask, Standard(size_px=32)))


def test_thin_structure_does_not_vanish() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[20] = True
    square = label_to_square(mask, 8)
    assert np.flatnonzero(square.any(axis=1)).tolist() == [2]


def test_absent_class_stays_absent() -> None:
    assert not label_to_square(np.zeros((4, 6), dtype=bool), 8).any()


@pytest.mark.parametrize("shape", [(100, 60), (61, 99), (16, 16), (7, 30)])
def test_there_and_back_is_in_place(shape: tuple[int, int]) -> None:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = (rows / max(shape) + columns / max(shape)).astype(np.float32) / 2
    back = to_user_grid(torch.tensor(to_square(image, 128))[None], *shape)[0].numpy()
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(back[inner], image[inner], atol=0.02)
