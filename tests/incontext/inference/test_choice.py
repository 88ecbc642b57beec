"""Which labelled images a rule chooses."""

from typing import Any

import pytest
import torch

from incontext.inference.choice import Choice


def test_random_draws_differ_and_repeat_with_their_seed() -> None:
    def indices(seed: int) -> list[list[int]]:
        return [draw.tolist() for draw in Choice("random", size=3, draws=4, seed=seed).shared(20, torch.Tensor)]

    assert indices(0) == indices(0) != indices(1)
    assert len({tuple(draw) for draw in indices(0)}) == 4
    assert all(len(set(draw)) == 3 for draw in indices(0))
    assert not {tuple(draw) for draw in indices(0)} & {tuple(draw) for draw in indices(1)}


def test_diverse_draws_are_far_apart() -> None:
    features = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1], [9.0]])
    for draw in Choice("diverse", size=3, draws=5).shared(6, lambda: features):
        assert {round(float(features[index]) / 4.7) for index in draw} == {0, 1, 2}


def test_the_nearest_take_turns() -> None:
    known = torch.arange(8.0)[:, None]
    draws = Choice("nearest", size=2, draws=2).nearest(torch.tensor([[0.0], [7.0]]), known)
    assert [draw.tolist() for draw in draws] == [[[0, 2], [7, 5]], [[1, 3], [6, 4]]]


@pytest.mark.parametrize("choice", [Choice("random", draws=3), Choice("diverse", 9, 3), Choice("nearest", 5, 3)])
def test_a_pool_no_larger_than_a_support_is_one_draw(choice: Choice) -> None:
    features = torch.rand(5, 2)
    draws = choice.nearest(features[:1], features) if choice.per_query else choice.shared(5, lambda: features)
    assert len(draws) == 1
    assert sorted(draws[0].flatten().tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"rule": "best"}, "support is unknown: expected all, nearest, diverse, random, got 'best'"),
        ({"size": 3}, "support_size does not fit support='all': expected None, got 3"),
        ({"draws": 2}, "ensemble does not fit support='all': expected 1, got 2"),
        ({"rule": "random", "size": 0}, "support_size is impossible: expected at least 1, got 0"),
        ({"rule": "random", "draws": 0}, "ensemble is impossible: expected at least 1, got 0"),
    ],
)
def test_contradictions_are_refused(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Choice(**arguments)


def test_views_are_told() -> None:
    assert [len(each.views) for each in (Choice(), Choice(copies=True), Choice(flips=True))] == [1, 2, 4]
    assert "changed copies" in str(Choice(copies=True))
    assert "changed copies" not in str(Choice())
