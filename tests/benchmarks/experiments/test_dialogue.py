"""Dialogues with predictors that do as they are told, or do not."""

import itertools

import pytest
import torch
from torch import Tensor

from benchmarks.experiments.dialogue import ROBOTS, PromptedQuery, converse, mend_whole
from incontext.networks.prompted import INSIDE, OUTSIDE
from megamed.unknown import UNKNOWN_SHARE

SIDE_PX = 24


class Painter:
    """Begins with the top half of the label, and paints a square around each prompt; it remembers what it was given."""

    def __init__(self, reach_px: int = 2, obeys: bool = True) -> None:
        self.reach_px, self.obeys = reach_px, obeys
        self.given: list[tuple[Tensor, Tensor | None]] = []
        self.support: int | None = None

    def begin(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor):
        self.support = support_images.shape[1]
        guess = torch.where(query_images > 0.5, 1.0, -1.0)
        guess[..., SIDE_PX // 2 :, :] = -1

        def answer(maps: Tensor, previous: Tensor | None) -> Tensor:
            self.given.append((maps, previous))
            side = 2 * self.reach_px + 1
            inside, outside = torch.nn.functional.max_pool2d(maps[:, :2], side, 1, self.reach_px).split(1, 1)
            return guess + (10 * (inside - outside) if self.obeys else 0)

        return answer


def question(support: int = 1) -> PromptedQuery:
    label = torch.zeros(1, 1, SIDE_PX, SIDE_PX)
    label[..., 3:21, 8:17] = 1
    examples = label[:, None].expand(-1, support, -1, -1, -1)
    return PromptedQuery(label, label, examples, examples)


def test_a_robot_clicks_until_all_is_right() -> None:
    painter = Painter(reach_px=4)
    dialogue = converse(painter, question(), ROBOTS["centre"], 4, ("seed",))
    assert dialogue.dice[0] == pytest.approx(2 / 3)
    assert dialogue.dice[1:] == [1, 1, 1, 1]
    assert torch.equal(dialogue.mask.float(), question().label)
    assert dialogue.obeyed == 1
    assert painter.support == 1
    assert len(painter.given) == 2  # without any prompt, and with the one that was needed


def test_prompts_accumulate_and_the_mask_before_is_handed_on() -> None:
    painter = Painter(reach_px=1)
    converse(painter, question(), ROBOTS["centre"], 3, ("seed",))
    maps, before = zip(*painter.given, strict=True)
    assert [int(each.sum()) for each in maps] == [0, 1, 2, 3]
    assert all((later >= earlier).all() for earlier, later in itertools.pairwise(maps))
    assert before[0] is None
    assert (before[1] >= 0).sum() == 9 * 9
    assert (before[2] >= 0).sum() == 9 * 9 + 9


def test_without_a_support_the_robot_begins_with_an_empty_mask() -> None:
    painter = Painter(reach_px=2)
    dialogue = converse(painter, question(support=0), ROBOTS["centre"], 1, ("seed",))
    (maps, before), *others = painter.given
    assert not others
    assert before is None
    assert maps[0, INSIDE, 11:13, 12].sum() == 1
    assert dialogue.dice[0] == 0
    assert painter.support == 0


@pytest.mark.parametrize(("support", "dice"), [(1, [2 / 3, 1, 1]), (0, [0, 1, 1])])
def test_an_editor_that_knows_the_label_mends_an_error_a_turn(support: int, dice: list[float]) -> None:
    dialogue = mend_whole(Painter(), question(support), 2)
    assert dialogue.dice == pytest.approx(dice)
    assert torch.equal(dialogue.mask.float(), question().label)


def test_a_robot_is_content_when_it_is_enough() -> None:
    dialogue = converse(Painter(), question(), ROBOTS["centre"], 9, ("seed",), enough=0.75)
    assert dialogue.dice[-1] >= 0.75 > dialogue.dice[-2]
    assert converse(Painter(), question(), ROBOTS["centre"], 9, ("seed",), enough=0.5).dice == [pytest.approx(2 / 3)]


def test_who_does_not_obey_is_found_out() -> None:
    dialogue = converse(Painter(obeys=False), question(), ROBOTS["centre"], 3, ("seed",))
    assert dialogue.obeyed == 0
    assert len(set(dialogue.dice)) == 1
    assert converse(Painter(), question(), ROBOTS["centre"], 0, ("seed",)).obeyed is None


def test_unknown_pixels_count_for_nobody() -> None:
    asked = question()
    label = asked.label.clone()
    label[..., SIDE_PX // 2 :, :] = UNKNOWN_SHARE
    painter = Painter()
    dialogue = converse(painter, asked._replace(label=label), ROBOTS["random"], 2, ("seed",))
    assert dialogue.dice == [1, 1, 1]
    assert len(painter.given) == 1


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_seed_decides_what_a_robot_says(robot: str) -> None:
    told = []
    for seed in (1, 1, 2):
        painter = Painter(reach_px=0)
        converse(painter, question(), ROBOTS[robot], 3, (seed, "case"))
        told.append(painter.given[-1][0])
    assert torch.equal(told[0], told[1])
    assert torch.equal(told[0], told[2]) == (robot == "centre")


def test_robots_prompt_as_their_names_say() -> None:
    sizes = {}
    for robot, config in ROBOTS.items():
        painter = Painter(reach_px=0)
        for seed in range(20):
            converse(painter, question(support=0), config, 1, (seed,))
        first = torch.cat([maps for maps, _ in painter.given])
        sizes[robot] = first[:, [INSIDE, OUTSIDE]].flatten(1).sum(1).tolist()
    assert set(sizes["centre"]) == set(sizes["random"]) == {1}
    assert len(sizes["sloppy"]) < 20  # some are left out
    assert max(sizes["scribbles"]) > 4
