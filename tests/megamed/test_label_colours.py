"""Colours of label values: all different, none black but the background's, and stated ones where they can be seen."""

import numpy as np
import pytest

from megamed.label_colours import DARK, Palettes, colour_of, colours_of, palette_of, rgb, stated_colours

VALUES = range(1, 256)


def test_all_values_have_colours_of_their_own_that_stand_out_from_black() -> None:
    colours = [colour_of(value) for value in VALUES]
    assert len(set(colours)) == len(colours)
    assert all(max(rgb(colour)) > DARK for colour in colours)


def test_a_palette_has_the_fixed_colours_but_for_stated_ones() -> None:
    palette = palette_of({2: "#ff0010", 3: "#000001"})
    assert palette[0].tolist() == [0, 0, 0]
    assert palette[2].tolist() == [255, 0, 16]
    assert palette[3].tolist() == rgb(colour_of(3))
    assert palette[255].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, {1: colour_of(1), 2: colour_of(2)}),
        ({2: "#FF0000"}, {1: colour_of(1), 2: "#ff0000"}),
        ({1: "#ff0000", 2: "#ff0000"}, {1: "#ff0000", 2: colour_of(2)}),
        ({2: colour_of(1)}, {1: colour_of(2), 2: colour_of(1)}),
        ({1: "#000000", 9: "#00ff00"}, {1: colour_of(1), 2: colour_of(2)}),
    ],
    ids=["fixed", "stated", "twice", "taken", "black"],
)
def test_classes_have_different_colours(stated: dict[int, str], expected: dict[int, str]) -> None:
    assert colours_of([1, 2], stated) == expected


def test_a_ramp_of_greys_states_no_colours() -> None:
    ramp = np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=-1)
    assert stated_colours(ramp, [0, 1, 2]) == {}
    ramp[2] = (1, 2, 3)
    assert stated_colours(ramp, [0, 2]) == {2: "#010203"}
    assert stated_colours(ramp, [0, 300]) == {}


def test_palettes_that_differ_are_told() -> None:
    palettes = Palettes()
    assert not palettes.compare({1: "#ff0000", 2: "#00ff00"}, "a.png")
    assert not palettes.compare({2: "#00ff00"}, "b.png")
    assert not palettes.compare({1: "#000000"}, "black.png")
    note = palettes.compare({1: "#0000ff"}, "c.png")
    assert note == "c.png has another palette than a.png, where 1 is #ff0000: its values count, not its colours."


def test_palettes_in_which_a_colour_changes_its_value_are_refused() -> None:
    palettes = Palettes()
    palettes.compare({1: "#ff0000", 2: "#00ff00"}, "a.png")
    table = r"got #ff0000 in a.png, #00ff00 in b.png. If colours .* --colours '#00ff00=1,#ff0000=2'"
    with pytest.raises(ValueError, match=table):
        palettes.compare({1: "#00ff00", 2: "#ff0000"}, "b.png")
