"""Pixels that a collection takes from files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed import formats
from megamed.pixels import read_colours, read_image, read_label, read_mask
from megamed.readers.source import Source


def test_what_was_not_measured_is_dark_in_an_image_and_no_part_of_a_mask(tmp_path: Path) -> None:
    array = np.full((4, 5), 7.0, np.float32)
    array[0] = np.nan, np.inf, -np.inf, 3, 9
    np.save(tmp_path / "a.npy", array)
    source = Source((tmp_path / "a.npy",))
    assert read_image(source)[0].tolist() == [3, 3, 3, 3, 9]
    assert ((read_mask(source) > 2) == (array > 2)).all()


def test_an_image_without_a_number_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((4, 5), np.nan))
    with pytest.raises(ValueError, match=r"a\.npy cannot be read: expected numbers, got NaN or infinity in all"):
        read_image(Source((tmp_path / "a.npy",)))


def test_what_is_transparent_has_no_colour(tmp_path: Path) -> None:
    layer = np.full((4, 5, 4), (200, 100, 50, 255), np.uint8)
    layer[0, :, 3] = 0
    Image.fromarray(layer).save(tmp_path / "a.png")
    colours = read_colours(Source((tmp_path / "a.png",)))
    assert not colours[0].any()
    assert (colours[1:] == (200, 100, 50)).all()


@pytest.mark.parametrize("ink", [(0, 0, 0), (255, 255, 255), (200, 100, 50)], ids=["black", "white", "coloured"])
def test_what_is_drawn_on_a_transparent_layer_is_a_mask(tmp_path: Path, ink: tuple[int, int, int]) -> None:
    """Whatever colour it has, and whatever colour hides under what is transparent."""
    layer = np.full((4, 5, 4), (*ink, 0), np.uint8)
    layer[1:3, :2, 3] = 255
    Image.fromarray(layer).save(tmp_path / "a.png")
    Image.fromarray(layer[..., [0, 3]]).save(tmp_path / "b.png")
    names = ["a.png", "b.png"] if ink[0] in (0, 255) else ["a.png"]
    for source in (Source((tmp_path / name,)) for name in names):
        for read in (read_mask(source), read_label(source)):
            assert np.array_equal(read, np.where(layer[..., 3] > 0, 255, 0))


def test_values_on_a_transparent_layer_stay(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    opacity = np.where(values % 2, np.uint8(255), np.uint8(0))
    Image.fromarray(np.dstack([values, opacity])).save(tmp_path / "a.png")
    assert np.array_equal(read_label(Source((tmp_path / "a.png",))), np.where(values % 2, values, 0))


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_grey_label_that_was_stored_in_colours_with_loss_has_one_channel(tmp_path: Path, suffix: str) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[9:30, 11:37] = 255
    Image.fromarray(np.dstack([mask] * 3)).save(tmp_path / f"a.{suffix}", quality=70)
    source = Source((tmp_path / f"a.{suffix}",))
    assert np.array_equal(read_label(source) > 127, mask > 0)
    assert formats.read(source).is_lossy
    Image.fromarray(mask).save(tmp_path / "a.webp", lossless=True)
    assert not formats.read(Source((tmp_path / "a.webp",))).is_lossy


def test_a_palette_that_counts_colours_is_no_label_map(tmp_path: Path) -> None:
    label = Image.fromarray(np.array([[2, 2, 0, 1], [2, 2, 0, 1]], np.uint8))
    label.putpalette([0, 255, 0, 255, 0, 0, 0, 0, 0])
    label.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="not a label map"):
        read_label(Source((tmp_path / "a.png",)))
