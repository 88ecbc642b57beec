"""Prompts as values."""

import numpy as np
import pytest

from incontext.images.prompts import DrawnMask, Prompts


def test_equal_words_are_equal_values() -> None:
    drawn = np.zeros((5, 7), bool)
    drawn[2, 1:4] = True

    def said() -> Prompts:
        return (
            Prompts()
            .click(1.9, 2)
            .scribble(drawn, inside=False, label=3)
            .box(9.2, 8, 1.5, 2, plane=4)
            .start_from(drawn)
        )

    assert said() == said()
    assert hash(said()) == hash(said())
    assert len(said()) == 4
    assert said().labels == [3]
    click, scribble, box, start = said().strokes
    assert click.where == (1, 2)
    assert (box.where, box.plane) == ((1, 2, 10, 8), 4)
    assert (scribble.inside, start.kind) == (False, "mask")


@pytest.mark.parametrize("value", [False, True])
def test_runs_are_the_mask(value: bool) -> None:
    mask = np.random.default_rng(0).random((6, 9)) > 0.5
    mask[0, 0] = value
    np.testing.assert_array_equal(DrawnMask.of(mask).pixels(), mask)
    assert DrawnMask.of(np.zeros((2, 3), bool)).counts == (6,)
