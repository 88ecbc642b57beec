"""A volume that is spoken of plane by plane: words are obeyed, spread as the segmenter spreads them, and are undone."""

from typing import Any

import numpy as np
import pytest

from incontext import Segmenter
from incontext.page.volume_editor import VolumeEditor
from tests.incontext.inference.test_editor import segmenter, taught

SHAPE = (6, 32, 28)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # networks that learned nothing find all unlikely


def volume(channels: int = 1) -> np.ndarray:
    """A bright cuboid on noise."""
    image = np.random.default_rng(0).integers(0, 60, (channels, *SHAPE)).astype(np.float32)
    image[:, 1:5, 8:20, 10:22] += 150
    return image


def editor(made: Segmenter | None = None, spacing_mm: Any = (4.0, 1.0, 1.0), image: Any = None) -> VolumeEditor:
    return VolumeEditor(made or segmenter(), volume() if image is None else image, spacing_mm, 1)


def voxels(*places: tuple[int, int, int]) -> np.ndarray:
    return np.array(places, np.int64).reshape(-1, 3)


@pytest.mark.parametrize("made", [segmenter, lambda: taught()[0]], ids=["no-examples", "examples"])
def test_a_click_is_obeyed_and_spread_as_the_segmenter_spreads_its_plane(made: Any) -> None:
    made = made()
    told = editor(made)
    told.say("click", voxels((2, 12, 14)), True)
    plane = told.mask[2].copy()
    assert told.mask[2, 12, 14]
    assert not told.mask[[0, 1, 3, 4, 5]].any()
    assert told.find()
    assert np.array_equal(told.mask[2], plane)
    case = told._case(0)
    found = made.propagate(case, {2: plane.astype(np.uint8)})
    assert np.array_equal(told.mask, found.layer(0, 1))
    assert case.spacing_mm == (4.0, 1.0, 1.0)


def test_of_the_first_plane_the_examples_tell_before_anything_is_said() -> None:
    made, _ = taught()
    told = editor(made)
    told.say("click", voxels((2, 12, 14)), True)
    assert np.array_equal(told.mask[2], made.edit(told._case(0), 1, plane=2).click(12, 14) == 1)


def test_what_was_said_last_is_taken_back_step_by_step() -> None:
    told = editor()
    states = [told.mask.copy()]
    for number, (place, inside) in enumerate([((2, 12, 14), True), ((2, 3, 3), False), ((4, 20, 20), True)]):
        told.say("click", voxels(place), inside)
        if number != 1:
            told.find()
        states.append(told.mask.copy())
    other = editor()
    for state in reversed(states[:-1]):
        assert told.undo()
        assert np.array_equal(told.mask, state)
    assert not told.undo()
    for each in (told, other):  # as if nothing had been said
        each.say("click", voxels((2, 20, 8)), True)
        each.find()
    assert np.array_equal(told.mask, other.mask)


@pytest.mark.parametrize("axis", [0, 2])
def test_a_scribble_says_its_plane_itself(axis: int) -> None:
    told = editor()
    drawn = np.zeros(SHAPE, bool)
    np.moveaxis(drawn, axis, 0)[3, 2:5, 9:12] = True
    told.say("pixels", np.argwhere(drawn), True)
    changed = np.flatnonzero(np.moveaxis(told.mask, axis, 0).any(axis=(1, 2)))
    assert changed.tolist() == [3]
    told.find()
    assert told.mask[drawn].all()
    other = [each for each in range(3) if each != axis]
    crossing = np.zeros(SHAPE, bool)
    np.moveaxis(crossing, other[0], 0)[4, 0:3, 10:13] = True
    told.say("pixels", np.argwhere(crossing), False)
    told.find()
    assert not told.mask[crossing].any()


def test_a_box_is_that_of_an_editor_of_its_plane() -> None:
    told, made = editor(), segmenter()
    told.say("box", voxels((3, 8, 10), (3, 19, 21)), True)
    assert np.array_equal(told.mask[3], made.edit(told._case(0), plane=3).box(8, 10, 20, 22) == 1)


def test_thick_words_are_told_to_each_plane() -> None:
    told = editor(spacing_mm=(1.0, 4.0, 1.0))
    told.say("pixels", np.argwhere(np.ones((3, 2, 4), bool)) + np.array((1, 10, 12)), True)
    assert np.flatnonzero(told.mask.any(axis=(0, 2))).tolist() == [10, 11]
    assert told.mask[1:4, 10:12, 12:16].all()


def test_a_mask_to_begin_with_stays_where_it_shows_and_is_corrected() -> None:
    told, mask = editor(), np.zeros(SHAPE, bool)
    mask[[1, 4], 8:20, 10:22] = True
    told.begin_with(mask)
    assert np.array_equal(told.mask, mask)
    told.say("click", voxels((4, 9, 11)), False)
    told.find()
    assert np.array_equal(told.mask[1], mask[1])
    assert not told.mask[4, 9, 11]
    erased = told.mask.copy()
    erased[5] = ~erased[5]
    told.begin_with(erased)
    told.find()
    assert np.array_equal(told.mask[[1, 4, 5]], erased[[1, 4, 5]])
    told.begin_anew()
    assert not told.mask.any()
    assert not told.find()


def test_a_structure_of_which_nothing_is_seen_is_nowhere() -> None:
    told, mask = editor(), np.zeros(SHAPE, bool)
    mask[2, 12, 14] = True
    told.begin_with(mask)
    told.begin_with(np.zeros(SHAPE, bool))
    assert told.find()
    assert not told.mask.any()


@pytest.mark.parametrize("shape", [(1, 1, 32, 28), (3, 6, 32, 28), (1, 32, 28, 5)])
def test_single_images_colours_and_any_order_of_axes_are_taken(shape: tuple[int, ...]) -> None:
    told = editor(image=np.random.default_rng(0).integers(0, 255, shape, np.uint8), spacing_mm=None)
    told.say("click", voxels((0, 4, 4)), True)
    told.find()
    assert told.mask.shape == shape[1:]
    assert told.mask[0, 4, 4]


def test_what_is_not_on_the_volume_is_refused_and_was_never_said() -> None:
    told = editor()
    for place in [(6, 0, 0), (0, -1, 0)]:
        with pytest.raises(ValueError, match=r"prompt is not on the image: expected voxels within \(6, 32, 28\)"):
            told.say("click", voxels(place), True)
    with pytest.raises(ValueError, match="got none"):
        told.say("pixels", voxels(), True)
    with pytest.raises(ValueError, match="mask does not fit"):
        told.begin_with(np.zeros((2, 2, 2), bool))
    with pytest.raises(ValueError, match="image is not one image"):
        editor(image=volume(2))
    assert not told.undo()
