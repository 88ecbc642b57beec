"""The window around what was drawn: square, inside, as wide as asked, and left where something reaches its edge."""

import numpy as np
import pytest
import torch

from incontext.inference.drawn_window import reaches_edge, window_around
from megamed.squares import Box, letterbox


def drawn(rows: slice, columns: slice, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    label[rows, columns] = 3
    return label


def test_by_hand() -> None:
    assert window_around([drawn(slice(20, 30), slice(40, 44))], 0.5) == Box(15, 32, 20, 20)
    both = [drawn(slice(20, 22), slice(40, 42)), drawn(slice(24, 30), slice(40, 44))]
    assert window_around(both, 0.5) == Box(15, 32, 20, 20)


def test_it_is_moved_into_the_planes_where_it_fits() -> None:
    assert window_around([drawn(slice(0, 10), slice(76, 80))], 1.0) == Box(0, 50, 30, 30)
    assert window_around([drawn(slice(10, 40), slice(20, 24))], 0.6) == Box(-3, 0, 66, 66)


def test_it_is_square_in_millimetres_and_never_more_than_the_whole() -> None:
    assert window_around([drawn(slice(20, 30), slice(40, 44))], 0.5, (1.0, 2.0)) == Box(15, 37, 20, 10)
    assert window_around([drawn(slice(0, 60), slice(0, 80))], 0.5) == letterbox((60, 80))


@pytest.mark.parametrize(
    ("pixel", "box", "reaches"),
    [
        ((0, 3), Box(5, 5, 8, 8), True),
        ((7, 3), Box(5, 5, 8, 8), True),
        ((3, 0), Box(5, 5, 8, 8), True),
        ((3, 7), Box(5, 5, 8, 8), True),
        ((3, 3), Box(5, 5, 8, 8), False),
        ((0, 3), Box(0, 5, 8, 8), False),
        ((7, 3), Box(12, 5, 8, 8), False),
        ((3, 0), Box(5, 0, 8, 8), False),
        ((3, 7), Box(5, 12, 8, 8), False),
    ],
)
def test_an_edge_is_reached_where_planes_go_on_beyond_it(pixel: tuple[int, int], box: Box, reaches: bool) -> None:
    logits = torch.full((3, 2, 8, 8), -1.0)
    logits[2, 1, pixel[0], pixel[1]] = 1.0
    assert reaches_edge(logits, box, (20, 20)) == reaches
