"""Annotation errors on drawings of a few pixels."""

import pytest
import torch
from torch import Tensor

from benchmarks.predictors.annotation_errors import (
    ANNOTATION_ERRORS,
    BLOT_SHARE,
    OF_SETS,
    blotted,
    dilated,
    eroded,
    exchanged,
    scribbled,
    shifted,
)  # fmt: skip
from benchmarks.predictors.chance import mixed
from megamed.unknown import UNKNOWN_SHARE

STRENGTH = {"eroded": 1.0, "dilated": 1.0, "shifted": 3.0, "blotted": 2.0, "exchanged": 1.0, "scribbled": 1.0}


def squares(count: int = 4) -> Tensor:
    """A support of squares that grow, (1, count, 1, 32, 32)."""
    labels = torch.zeros(1, count, 1, 32, 32)
    for place in range(count):
        labels[0, place, 0, 10 : 14 + place, 10 : 14 + place] = 1
    return labels


def names(count: int = 4, sets: int = 1) -> Tensor:
    return mixed(torch.arange(sets * count) + 1).view(sets, count)


def areas(labels: Tensor) -> list[int]:
    return labels.sum((-3, -2, -1)).flatten().int().tolist()


def test_eroded_and_dilated_by_a_pixel() -> None:
    assert areas(squares()) == [16, 25, 36, 49]
    assert areas(eroded(squares(), 1.0, names())) == [4, 9, 16, 25]
    assert areas(dilated(squares(), 1.0, names())) == [36, 49, 64, 81]


def test_erosion_stops_before_nothing_is_left() -> None:
    assert areas(eroded(squares(), 2.0, names())) == [4, 1, 4, 9]
    assert areas(eroded(torch.zeros(1, 1, 1, 8, 8), 1.0, names(1))) == [0]


def test_a_shift_keeps_the_shape_and_goes_as_far_as_it_says() -> None:
    moved = shifted(squares(), 5.0, names())
    assert areas(moved) == [16, 25, 36, 49]
    centres = [each.nonzero().float().mean(0)[-2:] for each in moved[0]]
    steps = [(there - each.nonzero().float().mean(0)[-2:]) for there, each in zip(centres, squares()[0], strict=True)]
    assert all(4.2 < step.norm() < 5.8 for step in steps)
    assert len({tuple(step.tolist()) for step in steps}) > 1


def test_what_leaves_the_image_is_lost() -> None:
    assert areas(shifted(squares(), 40.0, names())) == [0, 0, 0, 0]


def test_a_blot_exchanges_foreground_and_background_in_a_disc() -> None:
    empty = torch.zeros(1, 4, 1, 64, 64)
    blots = blotted(empty, 1.0, names())
    radius = BLOT_SHARE * 64
    assert 0 < max(areas(blots)) <= torch.pi * (radius + 1) ** 2
    assert torch.equal(blotted(1 - empty, 1.0, names()), 1 - blots)
    assert sum(areas(blotted(empty, 8.0, names()))) > 4 * sum(areas(blots))


def test_labels_are_passed_round_among_their_share() -> None:
    labels = squares()
    assert torch.equal(exchanged(labels, 0.25, names()), labels)
    half, whole = (exchanged(labels, share, names()) for share in (0.5, 1.0))
    changed = [(each != labels).flatten(2).any(2).sum().item() for each in (half, whole)]
    assert changed == [2, 4]
    assert sorted(areas(whole)) == areas(labels)


def test_who_gets_whose_label_does_not_depend_on_order_or_batch() -> None:
    labels, some = squares(), names(sets=2)
    order = torch.tensor([2, 0, 3, 1])
    found = exchanged(labels, 0.5, some[:1])
    assert torch.equal(exchanged(labels[:, order], 0.5, some[:1, order]), found[:, order])
    assert torch.equal(exchanged(labels.expand(2, -1, -1, -1, -1), 0.5, some)[:1], found)


@pytest.mark.parametrize("kind", [kind for kind in ANNOTATION_ERRORS if kind not in OF_SETS])
def test_a_label_is_changed_by_itself(kind: str) -> None:
    change = ANNOTATION_ERRORS[kind]
    together = change(squares(), STRENGTH[kind], names())
    alone = [change(squares()[:, [place]], STRENGTH[kind], names()[:, [place]]) for place in range(4)]
    assert torch.equal(torch.cat(alone, 1), together)
    assert not torch.equal(together, squares())
    assert set(together.unique().tolist()) <= {0.0, 1.0, *([UNKNOWN_SHARE] if kind == "scribbled" else [])}


def test_of_a_scribbled_label_no_more_is_known_than_the_scribbles() -> None:
    labels = squares()
    found = scribbled(labels, 2.0, names())
    known = found != UNKNOWN_SHARE
    assert torch.equal(found[known], labels[known])
    for share in (0.0, 1.0):
        assert (found == share).flatten(2).any(2).all()
    assert known.float().mean() < 0.3
