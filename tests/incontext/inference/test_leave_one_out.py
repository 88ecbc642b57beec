"""Leave-one-out: each example is segmented by the others alone, at the price of its pass as a query."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from incontext.images.examples import MOST_JUDGED
from incontext.inference.choice import Choice
from incontext.inference.leave_one_out import REACH, gain_elsewhere, leave_one_out
from incontext.inference.reader import Reader
from incontext.inference.support_pool import Pool
from megamed.unknown import UNKNOWN
from tests.incontext.inference.test_reader import (
    MeanLabel,
    counting_network,
    draw_pool,
    queries,
    reader,
    tiny_network,
)


def without(pool: Pool, example: int) -> Pool:
    kept = pool.units != example
    return Pool(pool.images[kept], pool.labels[kept], pool.annotated[kept], pool.origins[kept])


def dice_of(read: Reader, pool: Pool, square: int) -> Tensor:
    masks = read.classes.layers(read(pool.images[[square]])[0])
    both = (masks & (pool.labels[square] == 1)).sum((1, 2))
    return 2 * both / (masks.sum((1, 2)) + (pool.labels[square] == 1).sum((1, 2)))


@pytest.mark.parametrize("choice", [Choice(), Choice("nearest", size=3), Choice("nearest", size=2, draws=2)])
def test_each_example_is_segmented_as_if_it_had_never_been_there(choice: Choice) -> None:
    pool = draw_pool(7, classes=2)
    found = leave_one_out(reader(pool, tiny_network(), choice))
    assert found.examples.tolist() == list(range(7))
    for square, dice in enumerate(found.dice):
        expected = dice_of(reader(without(pool, square), tiny_network(), choice), pool, square)
        expected[~(pool.labels[square] == 1).any(-1).any(-1)] = math.nan
        torch.testing.assert_close(dice, expected, equal_nan=True, atol=0.01, rtol=0)


@pytest.mark.parametrize("rule", ["random", "diverse"])
def test_of_a_support_that_all_share_the_example_itself_is_left_out(rule: str) -> None:
    pool, choice = draw_pool(9), Choice(rule, size=4)
    (drawn,) = reader(pool, MeanLabel(), choice).encoded()
    found = leave_one_out(reader(pool, MeanLabel(), choice))
    for square, dice in enumerate(found.dice):
        support = [int(i) for i in drawn.squares if i != square]
        chosen = Pool(pool.images[support], pool.labels[support], pool.annotated[support], pool.origins[support])
        expected = dice_of(reader(chosen, MeanLabel()), pool, square)
        torch.testing.assert_close(dice.nan_to_num(), expected, atol=1e-5, rtol=0)


def test_squares_of_one_example_are_left_out_together() -> None:
    pool = draw_pool(6)
    pool.labels[:] = 0
    pool.labels[:2], pool.labels[2:] = 1, 0
    pool.labels[2:, :, 0, 0] = 1
    together = replace(pool, examples=torch.tensor([0, 0, 1, 2, 3, 4]))
    assert leave_one_out(reader(pool, MeanLabel())).dice[0, 0] < 0.01
    found = leave_one_out(reader(together, MeanLabel()))
    assert found.examples.tolist() == [0, 1, 2, 3, 4]
    assert found.by_example(found.counts)[0, 0].tolist() == [2, 2, 2 * 32 * 32]


def test_a_label_gains_what_it_would_at_the_best_place_in_reach() -> None:
    torch.manual_seed(0)
    probabilities, known = 0.05 + 0.9 * torch.rand(2, 2, 12, 16), torch.rand(2, 2, 12, 16) > 0.1
    drawn = torch.rand(2, 2, 12, 16) > 0.8
    log_odds, down, along = probabilities.logit() * known, round(12 * REACH), round(16 * REACH)
    framed = torch.nn.functional.pad(log_odds, (along, along, down, down))
    placed = torch.stack([
        (framed[..., y : y + 12, x : x + 16] * drawn).sum((2, 3))
        for y in range(2 * down + 1)
        for x in range(2 * along + 1)
    ])  # fmt: skip
    expected = placed.amax(0) - (log_odds * drawn).sum((2, 3))
    torch.testing.assert_close(gain_elsewhere(probabilities, known, drawn), expected, atol=1e-4, rtol=0)


def test_unknown_pixels_do_not_count() -> None:
    pool = draw_pool(5)
    pool.labels[:] = 1
    pool.labels[0, :, :16] = UNKNOWN
    found = leave_one_out(reader(pool, MeanLabel()))
    assert found.counts[0, 0].tolist() == [16 * 32] * 3
    assert found.dice[0, 0] == 1


def test_a_class_that_no_other_example_shows_has_no_mask() -> None:
    pool = draw_pool(5, classes=2)
    pool.annotated[1:, 1] = False
    pool.labels[0, 1, :3] = 1
    assert leave_one_out(reader(pool, tiny_network())).counts[0, 1, 1] == 0


@pytest.mark.parametrize("rule", ["all", "nearest"])
def test_nothing_tells_of_a_class_that_no_other_example_shows(rule: str) -> None:
    pool = draw_pool(5, classes=2)
    pool.labels[:, 1] = 0
    pool.labels[0, 1, :3] = 1
    found = leave_one_out(reader(pool, tiny_network(), Choice(rule, size=None if rule == "all" else 4)))
    assert found.annotated.tolist() == [[True, False]] + [[True, True]] * 4
    assert not found.shown[:, 1].any()
    assert found.dice[:, 1].isnan().all()
    assert not found.is_empty.any()


def test_nothing_tells_of_a_class_that_no_other_subject_shows() -> None:
    pool = draw_pool(6)
    pool.labels[:3, :, :4], pool.labels[3:] = 1, 0
    found = leave_one_out(reader(replace(pool, subjects=torch.tensor([0, 0, 0, 0, 1, 2])), tiny_network()))
    assert found.annotated[:, 0].tolist() == [False] * 4 + [True] * 2
    assert found.is_empty.tolist() == [False] * 3 + [True] * 3


def test_a_support_of_the_example_alone_tells_nothing_of_it() -> None:
    pool = draw_pool(5)
    pool.labels[:, :, :4] = 1
    read = reader(pool, tiny_network(), Choice("random", size=1))
    (drawn,) = read.encoded()[0].draws
    alone = int(read.encoded()[0].squares[drawn])
    assert leave_one_out(read).dice[:, 0].isnan().nonzero().tolist() == [[alone]]


def test_of_many_examples_and_squares_some_are_judged() -> None:
    found = leave_one_out(reader(draw_pool(3 * MOST_JUDGED), MeanLabel()))
    assert len(found.examples) == MOST_JUDGED
    tiled = replace(draw_pool(120), examples=torch.arange(120) // 30)

    class Counting(MeanLabel):
        asked = 0

        def forward(self, query_images: Tensor, *support: Any) -> Tensor:
            self.asked += len(query_images)
            return super().forward(query_images, *support)

    network = Counting()
    assert leave_one_out(reader(tiled, network)).examples.tolist() == [0, 1, 2, 3]
    assert network.asked == MOST_JUDGED


def test_only_those_asked_for_are_judged_and_all_others_are_their_support() -> None:
    pool = draw_pool(7)
    read = reader(pool, tiny_network())
    some = leave_one_out(read, examples=[5, 1])
    assert some.examples.tolist() == [5, 1]
    torch.testing.assert_close(some.dice, leave_one_out(read).dice[[5, 1]])


@pytest.mark.parametrize("choice", [Choice(), Choice("nearest", size=3), Choice("random", size=3, draws=2)])
def test_what_it_encodes_serves_the_images_that_follow(choice: Choice) -> None:
    network, encoded = counting_network()
    read = reader(draw_pool(8), network, choice)
    leave_one_out(read)
    before = sum(encoded)
    found = read(queries(2))
    assert sum(encoded) == before <= 8
    torch.testing.assert_close(found, reader(draw_pool(8), tiny_network(), choice)(queries(2)), atol=1e-4, rtol=1e-4)


def test_two_calls_agree_to_the_bit() -> None:
    first, second = (leave_one_out(reader(draw_pool(6), tiny_network())).soft_counts for _ in range(2))
    assert np.array_equal(first, second)
