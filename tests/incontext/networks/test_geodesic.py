"""Distances along paths against Dijkstra's algorithm."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from incontext.networks import geodesic
from incontext.networks.geodesic import FAR, geodesic_distances

HEIGHT, WIDTH = 9, 12


def by_dijkstra(start: tuple[int, int], down: np.ndarray, along: np.ndarray) -> np.ndarray:
    numbers = np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(HEIGHT, WIDTH)  # SciPy 1.13 takes no others
    first = np.concatenate([numbers[:-1].ravel(), numbers[:, :-1].ravel()])
    second = np.concatenate([numbers[1:].ravel(), numbers[:, 1:].ravel()])
    costs = np.concatenate([down.ravel(), along.ravel()])
    graph = coo_array((costs, (first, second)), shape=(numbers.size, numbers.size)).tocsr()
    found: np.ndarray = dijkstra(graph, directed=False, indices=numbers[start])
    return found.reshape(HEIGHT, WIDTH)


def test_costs_are_those_of_the_cheapest_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geodesic, "SWEEPS", 30)
    torch.manual_seed(0)
    down, along = torch.rand(2, 1, HEIGHT - 1, WIDTH), torch.rand(2, 1, HEIGHT, WIDTH - 1)
    maps = torch.zeros(2, 2, HEIGHT, WIDTH)
    starts = [[(0, 0), (4, 7)], [(8, 3), (2, 11)]]
    for query, prompted in enumerate(starts):
        for kind, (row, column) in enumerate(prompted):
            maps[query, kind, row, column] = 1
    found = geodesic_distances(maps, down, along)
    for query, prompted in enumerate(starts):
        for kind, start in enumerate(prompted):
            expected = by_dijkstra(start, down[query, 0].numpy(), along[query, 0].numpy())
            np.testing.assert_allclose(found[query, kind], expected, atol=1e-5)


def test_without_a_prompt_all_is_far_and_several_prompts_are_as_near_as_the_nearest() -> None:
    down, along = torch.ones(1, 1, HEIGHT - 1, WIDTH), torch.ones(1, 1, HEIGHT, WIDTH - 1)
    maps = torch.zeros(1, 2, HEIGHT, WIDTH)
    maps[0, 1, 0, 0] = maps[0, 1, 8, 11] = 1
    found = geodesic_distances(maps, down, along)
    assert (found[0, 0] == FAR).all()
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    np.testing.assert_allclose(found[0, 1], np.minimum(rows + columns, 19 - rows - columns), atol=1e-5)


def test_a_wall_is_gone_around() -> None:
    down, along = torch.full((1, 1, HEIGHT - 1, WIDTH), 0.1), torch.full((1, 1, HEIGHT, WIDTH - 1), 0.1)
    along[:, :, :-1, 5] = 9.0  # between the sixth column and the seventh, but for the last row
    maps = torch.zeros(1, 1, HEIGHT, WIDTH)
    maps[0, 0, 0, 5] = 1
    assert geodesic_distances(maps, down, along)[0, 0, 0, 6] == pytest.approx(1.7)
