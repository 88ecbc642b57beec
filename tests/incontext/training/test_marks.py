"""Clicks and scribbles of a connected part: never outside it, where their names say, and on every shape of part."""

import numpy as np
import pytest

from incontext.training.marks import REACH_PX, SCRIBBLES, WAYS, Hand, Parts

HAND = Hand(scale=0.5, band_px=2, width_px=3, warp_px=2.0)


def region(rows: str) -> np.ndarray:
    """A region from a drawing, `#` marking what belongs to it."""
    return np.array([[pixel == "#" for pixel in row] for row in rows.split()])


def disc(side: int = 40, radius: float = 12) -> np.ndarray:
    rows, columns = np.ogrid[:side, :side]
    return (rows - 18) ** 2 + (columns - 22) ** 2 <= radius**2


SHAPES = {
    "disc": disc(),
    "around": ~disc(),
    "line": np.eye(24, dtype=bool),
    "pixel": region("... .#. ..."),
    "full": np.ones((20, 30), bool),
    "corner": np.pad(np.ones((9, 9), bool), ((0, 20), (0, 11))),
}


def test_regions_that_touch_stay_apart_and_corners_join() -> None:
    left, right = region("##... ##... ....# ...#."), region("..#.. ..#.. ##... .....")
    parts = Parts(left, right)
    assert parts.numbers.tolist() == [[1, 1, 3, 0, 0], [1, 1, 3, 0, 0], [3, 3, 0, 0, 2], [0, 0, 0, 2, 0]]
    assert parts.areas.tolist() == [4, 2, 4]
    assert parts.largest() is parts[1]
    assert parts[2].corner == (2, 3)
    assert parts[2].pixels.tolist() == [[False, True], [True, False]]


def test_parts_are_drawn_as_often_as_their_area_says() -> None:
    parts, rng = Parts(region("#.###.")), np.random.default_rng(0)
    drawn = [parts.around(rng).corner[1] for _ in range(400)]
    assert set(drawn) == {0, 2}
    assert 0.68 < np.mean(np.equal(drawn, 2)) < 0.82


@pytest.mark.parametrize(
    ("rows", "centre"),
    [
        ("..... .###. .###. .###. .....", (2, 2)),
        ("####### ####### #######", (1, 3)),
        ("###.. ###.. ###..", (1, 1)),
        ("##... .##.. ..##.", (1, 1)),
    ],
)
def test_the_centre_is_deepest_inside(rows: str, centre: tuple[int, int]) -> None:
    """What is beyond the image counts as outside, and of a plateau the middle is taken."""
    assert Parts(region(rows)).largest().centre() == centre


@pytest.mark.parametrize("shape", SHAPES)
def test_marks_stay_inside(shape: str) -> None:
    pixels, rng = SHAPES[shape], np.random.default_rng(0)
    part = Parts(pixels).largest()
    for way in 6 * WAYS:
        assert pixels[part.click(way, HAND, rng)]
    for kind in 6 * SCRIBBLES:
        rows, columns = part.scribble(kind, HAND, rng)
        assert len(rows) > 0
        assert pixels[rows, columns].all()


@pytest.mark.parametrize("shape", ["disc", "around", "corner"])
def test_clicks_and_contours_at_the_border_keep_to_it_and_off_the_frame(shape: str) -> None:
    pixels, rng = SHAPES[shape], np.random.default_rng(0)
    part = Parts(pixels).largest()
    for _ in range(50):
        row, column = part.click("border", HAND, rng)
        near = pixels[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
        assert not near.all()
    steady = Hand(scale=0.5, band_px=2, width_px=1, warp_px=0.0)
    for _ in range(20):
        rows, columns = part.scribble("contour", steady, rng)
        depth = part.depth[rows - part.corner[0], columns - part.corner[1]]
        assert depth.max() - depth.min() < 1
        frame = part.frame[rows - part.corner[0], columns - part.corner[1]]
        assert (depth < frame).all()


def test_a_ridge_runs_along_the_middle_and_a_line_is_straight() -> None:
    bar = np.pad(np.ones((9, 40), bool), 5)
    part, rng = Parts(bar).largest(), np.random.default_rng(0)
    steady = Hand(scale=0.5, band_px=2, width_px=1, warp_px=0.0)
    for _ in range(10):
        rows, _ = part.scribble("ridge", steady, rng)
        assert np.mean(rows == 9) > 0.5
        rows, columns = part.scribble("line", steady, rng)
        along, across = (columns, rows) if np.ptp(columns) > np.ptp(rows) else (rows, columns)
        if len(rows) > 2:
            slope, start = np.polyfit(along, across, 1)
            assert abs(slope * along + start - across).max() < 1.5


def test_scribbles_reach_no_further_than_an_arm() -> None:
    part = Parts(np.ones((128, 128), bool)).largest()
    steady, rng = Hand(scale=0.25, band_px=1, width_px=1, warp_px=0.0), np.random.default_rng(0)
    for kind in 5 * SCRIBBLES:
        rows, columns = part.scribble(kind, steady, rng)
        assert max(np.ptp(rows), np.ptp(columns)) <= 2 * 0.25 * REACH_PX[1]


def test_scribbles_are_broken_and_bent_and_widened() -> None:
    full = Parts(np.pad(np.ones((30, 44), bool), 10)).largest()

    def drawn(hand: Hand) -> list[np.ndarray]:
        marks = []
        for seed in range(30):
            canvas = np.zeros((64, 64), bool)
            canvas[full.scribble("ridge", hand, np.random.default_rng(seed))] = True
            marks.append(canvas)
        return marks

    thin = drawn(Hand(scale=0.5, band_px=2, width_px=1, warp_px=0.0))
    bent = drawn(Hand(scale=0.5, band_px=2, width_px=1, warp_px=3.0))
    wide = drawn(Hand(scale=0.5, band_px=2, width_px=4, warp_px=0.0))
    assert sum(Parts(mark).count > 1 for mark in thin) >= 5
    assert sum((a != b).any() for a, b in zip(thin, bent, strict=True)) >= 25
    assert sum(mark.sum() for mark in wide) > 1.5 * sum(mark.sum() for mark in thin)
