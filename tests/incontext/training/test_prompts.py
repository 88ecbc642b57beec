"""Laws of simulated prompts: where they lie, how many they are, and that seeds decide them alone."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from incontext.networks.prompted import BOX, INSIDE, OUTSIDE
from incontext.training.prompts import (
    PromptConfig,
    centre_click,
    corrections,
    first_prompts,
    join,
    largest_errors,
    partial_labels,
)
from megamed.unknown import UNKNOWN_SHARE

CAREFUL = PromptConfig(careless=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(rows: str) -> Tensor:
    """A label (1, 1, H, W) from a drawing: `#` is inside, `?` unknown."""
    values = {"#": 1.0, "?": UNKNOWN_SHARE, ".": 0.0}
    return torch.tensor([[[[values[pixel] for pixel in row] for row in rows.split()]]])


def labels(count: int = 24, side: int = 48) -> Tensor:
    """Two discs of different sizes, one of them at the border of its image and amid unknown pixels."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    maps = torch.zeros(count, 1, side, side)
    for i in range(count):
        first, second = (row - 14 - i % 9) ** 2 + (column - 16) ** 2, (row - 30) ** 2 + (column - side) ** 2
        maps[i, 0][second <= 144] = UNKNOWN_SHARE
        maps[i, 0][(first <= 64) | (second <= 81)] = 1
    return maps


def wrong(some: Tensor) -> Tensor:
    """Masks that are their labels, moved."""
    return torch.roll(some > UNKNOWN_SHARE, (4, -3), (2, 3)).float()


def check(maps: Tensor, some: Tensor) -> None:
    """What holds of any prompts but misplaced ones."""
    assert maps.shape == (len(some), 3, *some.shape[2:])
    assert maps.dtype == torch.float32
    assert set(maps.unique().tolist()) <= {0.0, 1.0}
    assert (some[:, 0][maps[:, INSIDE] == 1] == 1).all()
    assert (some[:, 0][maps[:, OUTSIDE] == 1] == 0).all()


def kinds(maps: Tensor) -> set[tuple[bool, bool]]:
    """Whether prompts have a box, and whether anything is marked."""
    return {(bool(one[BOX].any()), bool(one[:BOX].any())) for one in maps}


@pytest.mark.parametrize("side", [32, 48, 128])
def test_first_prompts_lie_where_they_must(side: int) -> None:
    some = labels(40, side)
    maps = first_prompts(some, rng())
    check(maps, some)
    assert maps.flatten(1).any(1).all()
    assert kinds(maps) == {(True, False), (False, True), (True, True)}


def test_the_seven_combinations_are_equally_probable() -> None:
    maps = first_prompts(labels(140, 24), rng(), PromptConfig(inside=(1, 1), outside=(0, 0)))
    boxed, marked = maps[:, BOX].flatten(1).any(1), maps[:, INSIDE].flatten(1).sum(1)
    assert not maps[:, OUTSIDE].any()
    assert 0.06 < (boxed & (marked == 0)).float().mean() < 0.24  # the box alone: one of seven
    assert 0.43 < boxed.float().mean() < 0.71  # four of seven
    assert 0.12 < (marked == 1).float().mean() < 0.5  # clicks alone are two of seven; a scribble may be one pixel


def test_clicks_are_as_many_as_asked_for() -> None:
    """Of two clicks at one centre one is seen."""
    maps = first_prompts(labels(60, 24), rng(), PromptConfig(kinds=("clicks",), inside=(2, 3), outside=(0, 3)))
    inside, outside = (maps[:, channel].flatten(1).sum(1).tolist() for channel in (INSIDE, OUTSIDE))
    assert {2, 3} <= set(inside) <= {1, 2, 3}
    assert set(outside) == {0, 1, 2, 3}


def test_boxes_hold_the_label_but_for_a_tenth_and_keep_near_it() -> None:
    some = torch.zeros(1, 1, 128, 128)
    some[..., 40:80, 50:70] = 1
    boxes = first_prompts(some.expand(100, -1, -1, -1), rng(), PromptConfig(kinds=("box",)))[:, BOX]
    sides = torch.tensor([[*box.any(1).nonzero()[[0, -1], 0], *box.any(0).nonzero()[[0, -1], 0]] for box in boxes])
    assert all(box.sum() == (b - a + 1) * (d - c + 1) for box, (a, b, c, d) in zip(boxes, sides.tolist(), strict=True))
    moved = (sides - torch.tensor([40, 79, 50, 69])) * torch.tensor([-1, 1, -1, 1])
    assert moved.amax() in range(17, 21)
    assert moved[:, :2].amin() in range(-4, -1)
    assert moved[:, 2:].amin() in range(-2, 0)
    assert torch.equal(first_prompts(some, rng(), PromptConfig(kinds=("box",), box_px=0))[:, BOX], some[:, 0])


def test_empty_labels_get_prompts_outside_only() -> None:
    empty = torch.zeros(60, 1, 24, 24)
    maps = first_prompts(empty, rng())
    assert maps[:, OUTSIDE].flatten(1).any(1).all()
    assert not maps[:, [INSIDE, BOX]].any()


def test_full_labels_get_none_outside_and_unknown_ones_none_at_all() -> None:
    full = first_prompts(torch.ones(30, 1, 24, 24), rng())
    assert not full[:, OUTSIDE].any()
    assert full.flatten(1).any(1).all()
    nothing = torch.full((30, 1, 24, 24), UNKNOWN_SHARE)
    assert not first_prompts(nothing, rng()).any()
    assert not corrections(nothing, torch.ones_like(nothing), rng()).any()
    assert not centre_click(nothing, torch.ones_like(nothing)).any()


@pytest.mark.parametrize("kind", ["box", "clicks", "scribbles"])
def test_a_person_begins_with_what_is_asked_for(kind: str) -> None:
    some = labels(30)
    maps = first_prompts(some, rng(), PromptConfig(kinds=(kind,), inside=(2, 2), outside=(1, 1)))
    assert kinds(maps) == {(kind == "box", kind != "box")}
    assert kind != "clicks" or maps[:, OUTSIDE].flatten(1).sum(1).eq(1).all()
    assert kind != "scribbles" or maps[:, OUTSIDE].flatten(1).sum(1).median() > 1


@pytest.mark.parametrize("scribbled", [0, 1])
def test_careful_corrections_lie_in_the_error(scribbled: float) -> None:
    some = labels(60)
    masks = wrong(some)
    maps = corrections(some, masks, rng(), PromptConfig(careless=0, scribbled=scribbled))
    check(maps, some)
    marked = maps[:, :BOX].amax(1)
    assert (masks[:, 0] != some[:, 0])[marked == 1].all()
    assert not maps[:, BOX].any()
    counts = marked.flatten(1).sum(1)
    assert counts.min() >= 1
    assert scribbled or set(counts.tolist()) == {1, 2, 3}
    assert not scribbled or counts.max() > 3


def test_masks_without_error_are_left_alone() -> None:
    some = labels(10)
    right = torch.where(some == UNKNOWN_SHARE, 1.0, some)
    assert not corrections(some, right, rng()).any()
    assert not centre_click(some, right).any()


def test_the_largest_error_is_the_one_that_is_clicked_and_unknown_pixels_are_none() -> None:
    some = drawn("##.... ##..?? .....? ......")
    masks = drawn(".....# ....## .....# ##...#") > 0
    expected = drawn("##.... ##.... ...... ......") > 0
    assert torch.equal(largest_errors(some, masks), expected)
    assert expected[centre_click(some, masks)[:, [INSIDE]] > 0].all()
    assert not largest_errors(some, torch.where(some == UNKNOWN_SHARE, masks, some > 0)).any()


def test_a_fifth_of_the_corrections_is_misplaced_or_left_out() -> None:
    """A single wrong pixel is missed by every misplaced click but those few that slip by nothing."""
    some = torch.zeros(500, 1, 9, 9)
    some[:, :, 4, 4] = 1
    config = PromptConfig(corrections=(1, 1), slip_px=3 * 128 / 9)
    maps = corrections(some, torch.zeros_like(some), rng(), config)
    right, nothing = maps[:, INSIDE, 4, 4] == 1, ~maps.flatten(1).any(1)
    misplaced = ~right & ~nothing
    assert 0.74 < right.float().mean() < 0.86
    assert 0.06 < nothing.float().mean() < 0.14
    assert 0.06 < misplaced.float().mean() < 0.14
    assert not maps[:, OUTSIDE].any()
    places = maps[:, INSIDE].amax(0).nonzero()
    assert places.amin(0).tolist() == [1, 1]
    assert places.amax(0).tolist() == [7, 7]


def test_careless_corrections_spare_unknown_pixels_and_stay_on_the_image() -> None:
    some = drawn("?????? ?##### ?##### ?????.").expand(60, -1, -1, -1)
    maps = corrections(some, torch.zeros_like(some), rng(), PromptConfig(careless=1, slip_px=90))
    assert maps.any()
    assert not maps[:, :BOX].amax((0, 1))[some[0, 0] == UNKNOWN_SHARE].any()


def test_the_robot_clicks_the_middle_of_the_largest_error() -> None:
    label = drawn("......... .###..... .###..... .###..... ......... .........")
    missed = centre_click(label, torch.zeros_like(label))
    assert missed.nonzero().tolist() == [[0, INSIDE, 2, 2]]
    mask = drawn("......... .##..#### .##..#### .##..#### ......... .........")
    assert centre_click(label, mask).nonzero()[:, 1].tolist() == [OUTSIDE]
    assert centre_click(label, mask).nonzero()[0, 2] == 2
    assert torch.equal(centre_click(label, mask > 0), centre_click(label, mask))


def test_corrections_at_the_centre_are_the_robots() -> None:
    some = labels(30)
    masks = wrong(some)
    config = PromptConfig(ways=("centre",), corrections=(1, 1), scribbled=0, careless=0)
    assert torch.equal(corrections(some, masks, rng(), config), centre_click(some, masks))


def test_errors_of_both_signs_do_not_connect() -> None:
    """Four missed pixels beside three wrong ones: the click goes to the four."""
    label, mask = drawn("####... ......."), drawn("....### .......")
    assert centre_click(label, mask)[0, INSIDE, 0, 1:3].sum() == 1


def test_unknown_pixels_are_no_error() -> None:
    label, mask = drawn("????? ????? ..#.. ....."), drawn("##### ##### ..... .....")
    assert centre_click(label, mask).nonzero().tolist() == [[0, INSIDE, 2, 2]]


@pytest.mark.parametrize("draw", [first_prompts, lambda some, own: corrections(some, wrong(some), own)])
def test_equal_seeds_give_equal_prompts_whatever_else_is_drawn(draw) -> None:
    some = labels(12)
    first = draw(some, rng(3))
    torch.manual_seed(5)
    np.random.default_rng().random()
    assert torch.equal(draw(some, rng(3)), first)
    assert not torch.equal(draw(some, rng(4)), first)
    one_by_one = rng(3)
    assert torch.equal(torch.cat([draw(each, one_by_one) for each in some.split(1)]), first)
    other = some.clone()
    other[3] = 0
    changed = draw(other, rng(3))
    same = [i for i in range(12) if torch.equal(changed[i], first[i])]
    assert same == [i for i in range(12) if i != 3]


def test_no_image_gets_no_prompts() -> None:
    none = torch.zeros(0, 1, 16, 16)
    assert first_prompts(none, rng()).shape == (0, 3, 16, 16)
    assert corrections(none, none, rng()).shape == centre_click(none, none).shape == (0, 3, 16, 16)


def test_oblong_images_and_booleans_will_do() -> None:
    some = torch.zeros(8, 1, 20, 44)
    some[..., 5:12, 20:40] = 1
    check(first_prompts(some, rng()), some)
    masks = torch.zeros(8, 1, 20, 44, dtype=torch.bool)
    check(corrections(some, masks, rng(), CAREFUL), some)


def test_later_prompts_overrule_earlier_ones() -> None:
    before, further = torch.zeros(2, 1, 3, 2, 3)
    before[0, INSIDE, 0] = 1
    before[0, OUTSIDE, 1, 0] = 1
    before[0, BOX, :, :2] = 1
    further[0, OUTSIDE, 0, 1] = 1
    further[0, INSIDE, 1, 0] = 1
    joined = join(before, further)
    assert joined[0, INSIDE].tolist() == [[1, 0, 1], [1, 0, 0]]
    assert joined[0, OUTSIDE].tolist() == [[0, 1, 0], [0, 0, 0]]
    assert torch.equal(joined[0, BOX], before[0, BOX])
    assert torch.equal(join(before, torch.zeros_like(before)), before)
    assert torch.equal(join(torch.zeros_like(before), further), further)


def test_prompts_make_partial_labels() -> None:
    maps = torch.zeros(3, 3, 2, 4)
    maps[:2, INSIDE, 0, 1] = 1
    maps[:2, OUTSIDE, 1, 2] = 1
    maps[1:, BOX, :, 1:3] = 1
    marks, both, box = partial_labels(maps)[:, 0].tolist()
    assert marks == [[0.5, 1, 0.5, 0.5], [0.5, 0.5, 0, 0.5]]
    assert both == [[0, 1, 0.5, 0], [0, 0.5, 0, 0]]
    assert box == [[0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]]


def test_configurations_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="inside is not a range: expected the least first, got"):
        PromptConfig(inside=(3, 1))
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        PromptConfig(careless=1.5)
    with pytest.raises(ValidationError, match="carless"):
        PromptConfig.model_validate({"carless": 0.1})
    config = PromptConfig(careless=0.1)
    assert PromptConfig.model_validate_json(config.model_dump_json()) == config
