"""Laws of the invented anatomies."""

import numpy as np
import pytest

from incontext.synthesis.anatomies import FAMILIES, _nearest_cell
from incontext.synthesis.shapes import unit_grid

SIDE = 128


def test_chances_add_up_to_one():
    assert sum(chance for chance, _ in FAMILIES.values()) == pytest.approx(1)


def test_a_third_of_the_tasks_are_thin():
    assert 0.3 <= FAMILIES["tubes"][0] + FAMILIES["membranes"][0] <= 0.4


@pytest.mark.parametrize("family", list(FAMILIES))
def test_subjects_share_labels_and_differ_in_place(family):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        anatomy = FAMILIES[family][1](SIDE, rng)
        first, second = anatomy.draw(rng), anatomy.draw(rng)
        assert first.shape == second.shape == (SIDE, SIDE)
        assert first.dtype == second.dtype == np.uint8
        assert not np.array_equal(first, second)
        assert any(np.isin(first, structure).any() for structure in anatomy.structures)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_same_generator_draws_the_same_subjects(family):
    drawn = []
    for _ in range(2):
        rng = np.random.default_rng(7)
        anatomy = FAMILIES[family][1](SIDE, rng)
        drawn.append((anatomy.draw(rng), anatomy.draw(rng), anatomy.structures, anatomy.twins))
    assert np.array_equal(drawn[0][0], drawn[1][0])
    assert np.array_equal(drawn[0][1], drawn[1][1])
    assert drawn[0][2:] == drawn[1][2:]


def test_regions_are_five_to_nineteen():
    counts = [len(FAMILIES["regions"][1](32, np.random.default_rng(seed)).structures) for seed in range(100)]
    assert min(counts) == 5
    assert max(counts) == 19


def test_layers_follow_one_another():
    """Down the image, or away from the centre, labels do not fall; so neighbours differ by the layers between."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        label_map = FAMILIES["layers"][1](SIDE, rng).draw(rng).astype(int)
        bottom_minus_top, border_minus_centre = (
            label_map[-1].mean() - label_map[0].mean(),
            label_map[0].mean() - label_map[SIDE // 2 - 8 : SIDE // 2 + 8, SIDE // 2 - 8 : SIDE // 2 + 8].mean(),
        )
        assert max(bottom_minus_top, border_minus_centre) > 0


def test_lesions_with_a_rim_and_a_core_lie_in_their_organ():
    seen = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        anatomy = FAMILIES["nested"][1](SIDE, rng)
        (organ, rim, core), label_map = anatomy.structures[0], anatomy.draw(rng)
        rows, columns = np.nonzero(label_map == core)
        inner = (rows > 0) & (columns > 0) & (rows < SIDE - 1) & (columns < SIDE - 1)
        for down, across in ((0, 1), (1, 0)):
            beside = label_map[rows[inner] + down, columns[inner] + across]
            assert np.isin(beside, (rim, core, organ)).mean() > 0.9
            seen += len(beside)
    assert seen


def test_the_border_of_cells_is_where_the_nearest_seed_changes():
    grid = unit_grid(64)
    cell, distance = _nearest_cell(grid, 12, np.random.default_rng(0))
    assert distance.min() >= 0
    assert len(np.unique(cell)) > 4
    changes = cell[:, 1:] != cell[:, :-1]
    beside = np.concatenate([distance[:, 1:][changes], distance[:, :-1][changes]])
    assert np.quantile(beside, 0.9) <= 2 / 64  # where three cells meet, the second nearest may not be the neighbour


def test_two_cells_meet_halfway():
    """The distances to the border of the two sides add up to the way between, along the line of the seeds."""
    grid = unit_grid(32)
    cell, distance = _nearest_cell(grid, 2, np.random.default_rng(1))
    seeds = np.random.default_rng(1).uniform(-1.15, 1.15, (2, 2))
    middle, apart = seeds.mean(axis=0), seeds[0] - seeds[1]
    along = np.tensordot(apart / np.linalg.norm(apart), grid - middle[:, None, None], axes=1)
    np.testing.assert_allclose(distance, np.abs(along), atol=1e-5)
    assert np.array_equal(cell == 0, along > 0)
