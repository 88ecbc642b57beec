"""Outlines are told from areas, vessels, borders and rings."""

import numpy as np
import pytest

from incontext.images.drawn_outlines import is_outline
from tests.incontext.images.test_input_checks import QUERIES, examples_of, warn_about

ROWS, COLUMNS = np.mgrid[:60, :80]
DISTANCE = np.hypot(ROWS - 30, COLUMNS - 40)
CIRCLE = np.abs(DISTANCE - 20) < 0.8
OTHERS = {
    "area": DISTANCE < 12,
    "nothing": DISTANCE < 0,
    "ring of some thickness": np.abs(DISTANCE - 6) < 3,
    "open line": CIRCLE & (ROWS > 20),
    "net": ((ROWS % 29 == 0) | (COLUMNS % 39 == 0)) & (COLUMNS < 79),
    "small circle": np.abs(DISTANCE - 3) < 0.8,
}


def test_closed_lines_are_outlines() -> None:
    assert is_outline(CIRCLE)
    assert is_outline(CIRCLE | np.roll(np.abs(DISTANCE - 9) < 0.8, (-1, 1), (0, 1)))
    assert any("are closed thin lines" in each for each in warn_about(examples_of(3, CIRCLE), QUERIES))


@pytest.mark.parametrize("name", OTHERS)
def test_other_thin_things_are_none(name: str) -> None:
    assert not is_outline(OTHERS[name])
