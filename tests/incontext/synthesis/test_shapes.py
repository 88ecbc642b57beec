"""Laws of noise and grids; blobs and tubes of known area."""

import numpy as np
import pytest

from incontext.synthesis.shapes import (
    Blobs,
    Tubes,
    bent_grid,
    doubled,
    drawable,
    sample,
    separable,
    smooth_noise,
    spline_weights,
    unit_grid,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def paper(side: int = 200) -> np.ndarray:
    return np.zeros((side, side), np.uint8)


@pytest.mark.parametrize("cells", [1, 4, 40])
def test_spline_weights_of_a_place_add_up_to_one(cells):
    weights = spline_weights(64, cells)
    assert weights.shape == (64, cells + 3)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert weights.min() >= 0


def test_a_spline_through_a_ramp_is_a_ramp():
    ramp = spline_weights(64, 8) @ np.arange(11, dtype=np.float32)
    np.testing.assert_allclose(np.diff(ramp), 8 / 64, atol=1e-5)


def test_separable_works_on_rows_then_columns():
    rows, maps, columns = np.float32([[1, 2]]), np.float32([[1, 10], [100, 1000]]), np.float32([[1, 0], [0, 3]])
    assert separable(rows, maps, columns).tolist() == [[201, 6030]]


@pytest.mark.parametrize("cells", [3, 12])
def test_noise_is_smooth_and_of_variance_one(rng, cells):
    noise = smooth_noise(200, 64, cells, rng)
    assert noise.shape == (200, 64, 64)
    assert noise.std() == pytest.approx(1, abs=0.1)
    assert np.abs(np.diff(noise)).max() < 6 * cells / 64


def test_unit_grid_holds_pixel_centres():
    x, y = unit_grid(4)
    assert x[0].tolist() == y[:, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_a_grid_bent_by_nothing_is_straight_and_reads_an_image_as_it_is(rng):
    grid = bent_grid(32, 0.0, rng)
    np.testing.assert_allclose(grid, unit_grid(32), atol=1e-6)
    image = rng.integers(0, 256, (32, 32), np.uint8)
    assert np.array_equal(sample(image, grid, "nearest"), image)
    assert np.array_equal(sample(image, grid, "bilinear"), image)


def test_nearest_reading_invents_no_label(rng):
    labels = rng.choice(np.array([0, 7, 200], np.uint8), (32, 32))
    assert set(np.unique(sample(labels, bent_grid(32, 1.0, rng), "nearest"))) == {0, 7, 200}


def test_doubling_lies_between_neighbours():
    assert doubled(np.float32([[0, 4], [0, 4]]))[0].tolist() == [0, 1, 3, 4]


def test_a_round_blob_has_the_area_of_a_disc(rng):
    areas = []
    for _ in range(50):
        image, canvas = drawable(paper())
        Blobs(label=3, number=1, radius=0.2, wobble=0.0, stretch=0.0).put(canvas, np.array([0.5, 0.5]), rng)
        areas.append(np.count_nonzero(np.asarray(image) == 3))
    # the radius varies from 0.75 to 1.3 times 40 pixels, uniformly: the mean square is 1.075
    assert np.mean(areas) == pytest.approx(np.pi * 40**2 * 1.075, rel=0.15)


def test_a_core_lies_inside_its_blob(rng):
    image, canvas = drawable(paper())
    Blobs(label=1, number=1, radius=0.2, wobble=0.0, stretch=0.0, core=2).put(canvas, np.array([0.5, 0.5]), rng)
    core = np.asarray(image) == 2
    around = np.asarray(image)[np.roll(core, 1, 0) | np.roll(core, -1, 0) | np.roll(core, 1, 1) | np.roll(core, -1, 1)]
    assert core.any()
    assert set(around) == {1, 2}


def test_scattering_leaves_at_least_one(rng):
    for _ in range(20):
        image, canvas = drawable(paper())
        Blobs(label=1, number=1, radius=0.05, wobble=0.1, stretch=0.3).scatter(canvas, rng)
        assert np.asarray(image).any()


def ink(width_px: float, branches: float = 0.0) -> int:
    """Pixels that short, straight tubes of a width cover."""
    tubes = Tubes(1, width_px / 200, roots=3, length=0.5, branches=branches, bend=0.0, jag=0.0, origin="anywhere")
    image, canvas = drawable(paper())
    tubes.grow(canvas, np.random.default_rng(1))
    return np.count_nonzero(np.asarray(image))


def test_a_tube_of_twice_the_width_covers_twice_as_much():
    assert ink(12) / ink(6) == pytest.approx(2, rel=0.1)


def test_no_tube_is_thinner_than_a_pixel_of_the_image():
    assert ink(0.1) == ink(2) > 0


def test_branches_add_to_a_tube():
    assert ink(2, branches=3.0) > ink(2)


@pytest.mark.parametrize("kind", ["blobs", "tubes"])
def test_the_same_generator_draws_the_same(kind):
    drawn = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        image, canvas = drawable(paper())
        if kind == "blobs":
            Blobs.invent(1, 5, (0.05, 0.1), rng).scatter(canvas, rng)
        else:
            Tubes.invent(1, (1.0, 4.0), rng).grow(canvas, rng)
        drawn.append(np.asarray(image))
    assert np.array_equal(*drawn)
