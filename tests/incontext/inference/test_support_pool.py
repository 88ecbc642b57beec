"""Labelled pictures as squares: which are cut, what they hold and where they come from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from incontext.images.examples import Examples
from incontext.images.normalisation import Normalisation
from incontext.images.resampling import label_to_square
from incontext.images.source_image import read_source_image
from incontext.images.tiling import Tiling
from incontext.inference import support_pool as pool_module
from incontext.inference.support_pool import Preparation, build_pool, fit_examples, structures
from megamed.label_values import LabelRules

WHOLE = Preparation(Normalisation("min-max"), Tiling(None, ""), 16)
TILES = replace(WHOLE, tiling=Tiling(16, ""))


def picture(side: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8)


def corner(side: int, rows: slice, columns: slice, value: int = 1) -> np.ndarray:
    label = np.zeros((side, side), dtype=np.uint8)
    label[rows, columns] = value
    return label


def test_a_square_image_is_its_own_square() -> None:
    label = corner(16, slice(3, 9), slice(2, 5), 7)
    pool, values = build_pool(Examples([picture()], [label]), WHOLE)
    expected = (picture() - picture().min()) / np.ptp(picture()).astype(float)
    np.testing.assert_allclose(pool.images[0, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(pool.labels[0, 0], label > 0)
    assert values == [7]
    assert pool.annotated.tolist() == [[True]]


def test_label_maps_look_for_every_class_in_every_image() -> None:
    labels = [corner(16, slice(2), slice(2), 5), corner(16, slice(4), slice(4), 2), 0 * picture()]
    pool, values = build_pool(Examples([picture()] * 3, labels), WHOLE)
    assert values == [2, 5]
    assert pool.annotated.all()
    assert pool.labels.flatten(2).any(-1).tolist() == [[False, True], [True, False], [False, False]]


def test_masks_by_name_may_be_missing_and_overlap() -> None:
    inner, outer = corner(16, slice(4), slice(4)), corner(16, slice(8), slice(8))
    examples = Examples([picture(), picture(seed=1)], {"inner": [inner, None], "outer": [255 * outer, outer]})
    pool, values = build_pool(examples, WHOLE)
    assert values == [1, 2]
    assert examples.names == {1: "inner", 2: "outer"}
    assert pool.annotated.tolist() == [[True, True], [False, True]]
    assert pool.labels.sum(dim=(-2, -1)).tolist() == [[16, 64], [0, 64]]


def test_an_image_of_which_nobody_judged_a_pixel_was_not_annotated() -> None:
    judged, unknown = corner(16, slice(8), slice(8)), np.full((16, 16), 9, np.uint8)
    partly = np.where(np.arange(16) < 8, unknown, 0)
    examples = Examples([picture()] * 3, [judged, unknown, partly], LabelRules(unknown=(9,)))
    pool, _ = build_pool(examples, WHOLE)
    assert pool.annotated.tolist() == [[True], [False], [True]]


def test_of_a_stack_the_labelled_planes_are_kept() -> None:
    stack = np.stack([picture(seed=seed) for seed in range(5)])
    label = np.zeros_like(stack)
    label[[1, 3], 2:5, 2:5] = 1
    pool, _ = build_pool(Examples([stack], [label]), WHOLE)
    assert pool.label_budget == len(pool.images) == 2
    np.testing.assert_array_equal(pool.labels[:, 0], label[[1, 3]])


def test_tiles_of_an_image_are_one_label_s_worth() -> None:
    label = corner(48, slice(0, 48), slice(0, 48))
    pool, _ = build_pool(Examples([picture(48)], [label]), TILES)
    assert len(pool.images) == 25
    assert pool.label_budget == 1


def test_tiles_show_the_label_and_some_background() -> None:
    label = corner(64, slice(0, 40), slice(0, 10))
    pool, _ = build_pool(Examples([picture(64)], [label]), TILES)
    showing = (pool.labels.flatten(1) > 0).any(1)
    assert showing.sum() == 2 * 5
    assert (~showing).sum() == 10 // pool_module.EMPTY_TILES


def test_tiles_show_an_image_that_shows_nothing_too() -> None:
    label = corner(64, slice(0, 40), slice(0, 10))
    pool, _ = build_pool(Examples([picture(64)] * 3, [label, 0 * label, 0 * label]), TILES)
    shows = (pool.labels.flatten(1) > 0).any(1)
    assert not shows[pool.units > 0].any()
    assert torch.bincount(pool.units)[1:].tolist() == [pool_module.TILES_OF_NOTHING] * 2
    assert pool.annotated.all()


def test_tiles_are_no_more_than_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MOST_TILES", 8)
    label = corner(64, slice(0, 64), slice(0, 64))
    label[60:, 60:] = 2
    pool, values = build_pool(Examples([picture(64)] * 2, [label] * 2), TILES)
    assert len(pool.images) == 8
    assert values == [1, 2]
    assert pool.labels[:, 1].flatten(1).any(1).sum() == 2
    assert pool.origins.unique().tolist() == [0, 1]


def test_a_tile_holds_what_its_window_shows() -> None:
    label = corner(32, slice(0, 9), slice(0, 9))
    pool, _ = build_pool(Examples([picture(32)], [label]), replace(TILES, size_px=8))
    boxes = TILES.boxes(read_source_image(picture(32), "image"))
    squares = [label_to_square(label > 0, 8, box) for box in boxes]
    assert any(np.array_equal(pool.labels[0, 0], square) for square in squares)
    assert torch.equal(pool.labels[0, 0] > 0, torch.tensor(squares[0]) > 0)


def test_no_foreground_is_refused() -> None:
    with pytest.raises(ValueError, match="support_labels have no foreground: expected a non-zero value"):
        build_pool(Examples([picture()], [0 * picture()]), WHOLE)


def test_structures_are_measured_where_they_are_shown() -> None:
    labels = [corner(32, slice(4), slice(4)), corner(32, slice(8), slice(8)), 0 * picture(32)]
    found = structures(list(Examples([picture(32)] * 3, labels)))
    assert [(each.width_px, each.image_px) for each in found] == [(4, 32), (8, 32)]


def test_pixels_of_two_sizes_become_a_square_in_millimetres() -> None:
    case = replace(read_source_image(np.ones((10, 40)), "image"), spacing_mm=(1.0, 4.0, 1.0))
    assert [(box.height, box.width, box.top, box.left) for box in WHOLE.boxes(case)] == [(10, 40, 0, 0)]


@pytest.mark.parametrize("size_px", [0, -32])
def test_a_size_of_squares_that_is_none_is_refused(size_px: int) -> None:
    with pytest.raises(ValueError, match="size_px is unusable: expected a whole number of pixels"):
        Preparation.chosen([], "auto", "auto", size_px)


def test_a_class_of_which_no_mask_shows_anything_is_told() -> None:
    image, mask = np.arange(1024, dtype=np.uint8).reshape(32, 32), np.eye(32, dtype=np.uint8)
    examples = Examples([image, image], {"liver": [mask, mask], "spleen": [None, 0 * mask]})
    prepared = Preparation(Normalisation("min-max"), Tiling(None, ""), 32)
    (told,) = fit_examples(examples, examples.sample(2), prepared, {}).told_of_lost()
    assert told.startswith("support_labels show nothing of spleen: expected a mask that is not empty")
