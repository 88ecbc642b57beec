"""Strokes on planes and squares: no pixel is lost, wherever the file's axes run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from incontext.images.marks import BOX, INSIDE, OUTSIDE, Mark
from incontext.images.orientation import PlaneLayout
from incontext.images.prompts import Prompts, Stroke
from incontext.images.source_image import PLAIN, SourceImage
from megamed.squares import Box, letterbox


def image(shape: tuple[int, int], view: PlaneLayout = PLAIN) -> SourceImage:
    planes = np.ascontiguousarray(view.planes(np.zeros((1, *shape), np.float32)))
    return SourceImage(planes, "image", shape, planes.dtype, view)


def stroke(prompts: Prompts) -> Stroke:
    return prompts.strokes[0]


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from([8, 16, 32]),
    st.floats(0, 0.999),
    st.floats(0, 0.999),
)
def test_a_click_is_in_the_pixel_of_the_square_under_it(
    shape: tuple[int, int], size_px: int, down: float, across: float
) -> None:
    row, column = int(down * shape[0]), int(across * shape[1])
    box = letterbox(shape)
    maps = Mark.of(stroke(Prompts().click(row, column)), image(shape)).on_square(box, size_px)
    assert maps is not None
    assert maps.sum() == 1
    (place,) = np.argwhere(maps[INSIDE])
    exact = (np.array([row - box.top, column - box.left]) + 0.5) * size_px / (box.height, box.width)
    assert ((place <= exact) & (exact <= place + 1)).all()


@pytest.mark.parametrize("shape", [(64, 64), (5, 9), (30, 70)])
def test_scribbles_are_max_pooled_and_filled(shape: tuple[int, int]) -> None:
    drawn = np.zeros(shape, bool)
    drawn[1, 1:-1] = drawn[1:-1, 2] = True
    box = letterbox(shape)
    maps = Mark.of(stroke(Prompts().scribble(drawn, inside=False)), image(shape)).on_square(box, 16)
    assert maps is not None
    for row, column in np.argwhere(drawn):
        alone = Mark.of(stroke(Prompts().click(row, column, inside=False)), image(shape)).on_square(box, 16)
        assert alone is not None
        assert (maps >= alone).all()
    if max(shape) < 16:
        scale = 16 / max(shape)
        assert maps[OUTSIDE].sum() == pytest.approx(drawn.sum() * scale**2, rel=0.3)


def test_a_line_joins_points() -> None:
    mark = Mark.of(stroke(Prompts().scribble([(0, 0), (3, 6), (3, -5)])), image((9, 9)))
    assert {(0, 0), (3, 6), (3, 0), (1, 2)} <= set(zip(mark.rows.tolist(), mark.columns.tolist(), strict=True))
    assert mark.columns.min() == 0


def test_a_box_is_filled_and_one_beyond_the_window_is_not_seen() -> None:
    mark = Mark.of(stroke(Prompts().box(4, 8, 12, 99)), image((32, 32)))
    maps = mark.on_square(Box(0, 0, 32, 32), 16)
    assert maps is not None
    expected = np.zeros((16, 16))
    expected[2:6, 4:] = 1
    np.testing.assert_array_equal(maps[BOX], expected)
    assert mark.on_square(Box(12, 0, 16, 16), 16) is None
    assert mark.on_square(Box(0, -16, 16, 16), 16) is None
    assert not mark.is_said


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1)])
@pytest.mark.parametrize("steps", [(1, 1, 1), (1, -1, 1), (1, 1, -1), (1, -1, -1)])
def test_strokes_follow_the_axes_of_the_file(axes: tuple[int, int, int], steps: tuple[int, int, int]) -> None:
    shape, view = (6, 9), PlaneLayout(axes, steps)
    for prompts, rows, columns in (
        (Prompts().click(2, 7), slice(2, 3), slice(7, 8)),
        (Prompts().box(1, 3, 4, 8), slice(1, 4), slice(3, 8)),
    ):
        drawn = np.zeros(shape, bool)
        drawn[rows, columns] = True
        mark = Mark.of(stroke(prompts), image(shape, view))
        on_plane = view.planes(drawn[None])[0]
        window = Box(0, 0, *on_plane.shape)
        same = Mark.of(stroke(Prompts().scribble(drawn)), image(shape, view))
        np.testing.assert_array_equal(np.argwhere(on_plane), np.stack([same.rows, same.columns], 1))
        if mark.is_said:
            np.testing.assert_array_equal(np.argwhere(on_plane), np.stack([mark.rows, mark.columns], 1))
        else:
            assert (mark.rows.tolist(), mark.columns.tolist()) == (
                [on_plane.any(1).argmax(), on_plane.any(1).argmax() + on_plane.any(1).sum()],
                [on_plane.any(0).argmax(), on_plane.any(0).argmax() + on_plane.any(0).sum()],
            )
        assert mark.on_square(window, 8) is not None


@pytest.mark.parametrize(
    "points", [[(2, 3), (2**30, 2**30 + 1)], [(-(2**30), 4), (2**30, 4)], [(5, -7), (5, 2**31 - 1)]]
)
def test_a_line_may_end_far_away(points: list[tuple[int, int]]) -> None:
    mark = Mark.of(stroke(Prompts().scribble(points)), image((9, 9)))
    exact = [
        (row, column)
        for row in range(max(0, points[0][0]), 9)
        for column in range(9)
        if (row - points[0][0]) * (points[1][1] - points[0][1])
        == (column - points[0][1]) * (points[1][0] - points[0][0])
    ]
    assert {*exact} <= {*zip(mark.rows.tolist(), mark.columns.tolist(), strict=True)}
    assert len(mark.rows) <= 9
