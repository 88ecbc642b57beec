"""Appearances of drawings of a few labels."""

import numpy as np
import pytest

from incontext.synthesis.anatomies import Anatomy
from incontext.synthesis.appearance import Scene, draw_appearance, optics, render, scaled

SIZE_PX = 64


def scene(labels: int = 4, **more: object) -> Scene:
    """Label 1 is the foreground."""
    anatomy = Anatomy(lambda rng: stripes(), ((1,),), **more)
    return Scene(np.arange(labels), (1,), anatomy)


def stripes() -> np.ndarray:
    """Four vertical stripes of labels 0 to 3."""
    return np.tile(np.repeat(np.arange(4, dtype=np.uint8), 2 * SIZE_PX // 4), (2 * SIZE_PX, 1))


def test_twins_look_the_same():
    for seed in range(10):
        appearance = draw_appearance(scene(twins=((2, 1),)), SIZE_PX, np.random.default_rng(seed))
        assert appearance.means[2] == appearance.means[1]
        assert np.array_equal(appearance.strengths[:, 2], appearance.strengths[:, 1])


def test_means_are_apart_and_the_foreground_is_mostly_at_an_end():
    at_the_end = 0
    for seed in range(60):
        means = draw_appearance(scene(), SIZE_PX, np.random.default_rng(seed)).means[:4]
        assert np.diff(np.sort(means)).min() > 0
        at_the_end += means.argsort().argsort()[1] in (0, 3)
    assert 45 <= at_the_end <= 60


def test_a_structure_may_lack_one_of_its_labels():
    anatomy = Anatomy(lambda rng: stripes(), ((9, 1),))
    for seed in range(10):
        appearance = draw_appearance(Scene(np.arange(4), (9, 1), anatomy), SIZE_PX, np.random.default_rng(seed))
        assert np.unique(appearance.means[:4]).size == 4


def test_backgrounds_are_drawn_together():
    apart = [
        np.ptp(draw_appearance(scene(backgrounds=g), SIZE_PX, np.random.default_rng(3)).means[[0, 2]]) for g in (0, 3)
    ]
    assert apart[1] < apart[0]


def test_labels_told_apart_by_texture_have_one_mean():
    appearance = draw_appearance(scene(3, by_texture=True), SIZE_PX, np.random.default_rng(0))
    assert set(appearance.means) == {0.5}
    assert len({tuple(column) for column in appearance.strengths[:, :3].T}) == 3


@pytest.mark.parametrize("resolved_px", [64, 40, 29])
def test_optics_keep_what_is_constant_and_nearly_what_is_straight(resolved_px):
    shrink, grow = optics(64, resolved_px, 0.8)
    assert shrink.shape == grow.shape[::-1] == (resolved_px, 64)
    np.testing.assert_allclose(grow @ shrink @ np.ones(64), 1, atol=1e-5)
    np.testing.assert_allclose((grow @ shrink @ np.arange(64))[6:-6], np.arange(64)[6:-6], atol=0.05)


def test_fine_optics_change_nothing():
    shrink, grow = optics(16, 16, 0.05)
    np.testing.assert_allclose(grow @ shrink, np.eye(16), atol=1e-4)


def test_scaling_fills_the_range_and_keeps_a_constant_dark():
    assert scaled(np.float32([[-1, 0], [0, 1]])).tolist() == [[0, 128], [128, 255]]
    assert scaled(np.full((2, 2), 7, np.float32)).tolist() == [[0, 0], [0, 0]]


def test_a_render_orders_labels_as_their_means():
    orders = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        appearance = draw_appearance(scene(), SIZE_PX, rng)
        image = render(stripes(), appearance, rng)
        assert image.shape == (SIZE_PX, SIZE_PX)
        assert image.dtype == np.uint8
        seen = image.reshape(SIZE_PX, 4, -1).mean(axis=(0, 2))
        orders.append(np.corrcoef(seen, appearance.means[:4])[0, 1])
    assert np.median(orders) > 0.9
