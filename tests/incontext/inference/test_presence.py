"""Whether a class is in an image at all."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from incontext import Segmenter
from incontext.images.prompts import Prompts
from incontext.images.source_image import read_source_image
from incontext.inference.left_out import LeftOut
from incontext.inference.planes import CasePrediction, Classes, Plane
from incontext.inference.presence import (
    ABSENT,
    IMPROBABLE,
    IMPROBABLE_BY_CONTRAST,
    IMPROBABLE_BY_EXAMPLES,
    PLAINLY,
    WEIGHT_OF_NO_SHIFT,
    Judgement,
    PresenceModel,
    dice_shifts,
    inputs_of,
    judge_presence,
    presence_by_others,
)
from incontext.inference.segmentation import Presence
from incontext.networks.quality import QualityModel, expected_log_odds, soft_counts
from megamed.squares import Box
from tests.incontext.inference.test_reader import MeanLabel, draw_pool, reader
from tests.incontext.test_segmenter import discs

QUALITY = QualityModel(bias=0, confidence=1, coverage=1, flag_below=0.6)
SIDE_PX = 32
PRESENT = [3, 3.5, 4, 4.5]


def drawn(sure: float) -> Tensor:
    """Log-odds of a square of a quarter of the image."""
    log_odds = torch.full((1, 1, SIDE_PX, SIDE_PX), -8.0)
    log_odds[..., :16, :16] = sure
    return log_odds


def left_out(present: list[float], absent: list[float], annotated: bool = True, looks: bool = False) -> LeftOut:
    """Examples with and without the class, of which masks of these log-odds are drawn; all look alike."""
    log_odds = torch.cat([drawn(each) for each in (*present, *absent)])
    probabilities, masks = log_odds.sigmoid()[:, 0], log_odds[:, 0] > 0
    counts = torch.zeros(len(log_odds), 1, 3)
    counts[: len(present), :, 2] = 256
    looked_for = torch.ones(len(log_odds), 1, dtype=torch.bool)
    looked_for[len(present) :] = annotated
    alike = torch.tensor([[1.0, 0.0]]).expand(len(log_odds), 1, 2) if looks else None
    return LeftOut(
        examples=torch.arange(len(log_odds)),
        rows=torch.arange(len(log_odds)),
        counts=counts,
        soft_counts=soft_counts(probabilities, masks)[:, None],
        surprise=torch.zeros(len(log_odds), 1),
        misplaced=torch.zeros(len(log_odds), 1),
        brightness=torch.where(counts[..., 2] > 0, 0.7, torch.nan),
        annotated=looked_for,
        looks=None if alike is None else alike[:, 0],
        drawn=alike,
        labelled=alike,
    )


def model(present: list[float], absent: list[float], annotated: bool = True, looks: bool = False) -> PresenceModel:
    """A model of a network whose features are darkness and grey value, if it has any."""
    read = reader(draw_pool(), MeanLabel(), stages=(lambda x: [torch.cat([1 - x, x], 1)]) if looks else None)
    found = PresenceModel.of(left_out(present, absent, annotated, looks), read, QUALITY)
    assert found is not None
    return found


def judged(judge: PresenceModel, sure: float, grey: float = 0, reach: tuple[float, float] = (0.0, 1.0)) -> float:
    return float(judge(torch.full((1, 1, SIDE_PX, SIDE_PX), float(grey)), torch.tensor([reach]), drawn(sure)))


def test_the_surer_of_itself_a_mask_is_the_more_probable_is_the_class() -> None:
    found = [judged(model(PRESENT, []), sure) for sure in (1, 2, 3, 4)]
    assert found == sorted(found)
    assert found[0] < 0.5 < found[-1]


def test_a_label_in_doubt_does_not_tell_whether_the_class_is_there() -> None:
    """The others draw the class in an empty example as surely as in those that show it, and hardly in another one."""
    found = presence_by_others(left_out(PRESENT, [4, -4]), QUALITY)[:, 0]
    assert found[4] > 1
    assert found[5] < 0
    assert presence_by_others(left_out(PRESENT[:3], [4]), QUALITY).isnan().all()


def test_the_less_it_looks_like_what_was_labelled_the_less_probable_is_the_class() -> None:
    judge = model(PRESENT, [], looks=True)
    found = [judged(judge, 4, grey) for grey in (0.6, 0.5, 0.3, 0)]
    assert found == sorted(found)
    assert found[0] < IMPROBABLE < 0.5 < found[-1]


def test_neither_sign_decides_beyond_all_bounds() -> None:
    assert judged(model(PRESENT, []), 0.01) == pytest.approx(judged(model(PRESENT, []), 0.2), abs=1e-6)


def test_empty_examples_move_the_boundary() -> None:
    alone, taught = model(PRESENT, []), model(PRESENT, [2.9, 2.8, 2.9, 2.8])
    assert judged(alone, 2.8) > judged(taught, 2.8)
    assert alone.improbable.tolist() == pytest.approx([IMPROBABLE])
    assert taught.improbable.tolist() == pytest.approx([IMPROBABLE_BY_EXAMPLES])


def in_contrast(present: list[float], absent: list[float], looks: tuple[float, float]) -> PresenceModel:
    """A model of examples that are found as sure, but whose images have these grey values."""
    found = left_out(present, absent, looks=True)
    greys = torch.tensor([looks[0]] * len(present) + [looks[1]] * len(absent))
    found = replace(found, looks=F.normalize(torch.stack([1 - greys, greys], dim=1), dim=1))
    read = reader(draw_pool(), MeanLabel(), stages=lambda x: [torch.cat([1 - x, x], 1)])
    judge = PresenceModel.of(found, read, QUALITY)
    assert judge is not None
    return judge


def test_images_that_look_like_empty_examples_are_probably_empty() -> None:
    judge = in_contrast(PRESENT, PRESENT, looks=(0.2, 0.8))
    assert judge.improbable.tolist() == pytest.approx([IMPROBABLE_BY_CONTRAST])
    found = [judged(judge, 3.7, grey) for grey in (0.2, 0.45, 0.55, 0.8)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.7 > 0.3 > found[-1]


def test_the_less_is_found_the_less_probable_is_the_class_if_less_was_found_in_empty_examples() -> None:
    judge = in_contrast(PRESENT, [-7, -6, -7, -6], looks=(0.5, 0.5))
    assert judged(judge, 4, 0.5) > 0.7 > 0.3 > judged(judge, -6, 0.5)


@pytest.mark.parametrize("few", ["present", "absent"])
def test_a_contrast_takes_examples_enough_of_both_kinds(few: str) -> None:
    enough, less = [3.0, 3.5, 4, 4.5], [3.0, 3.5, 4]
    present, absent = (less, enough) if few == "present" else (enough, less)
    judge = in_contrast(present, absent, looks=(0.2, 0.8))
    assert judge.classes[0].contrast is None
    assert in_contrast(enough, enough, looks=(0.2, 0.8)).classes[0].contrast is not None


@pytest.mark.parametrize("odd", [1, 4])
def test_odd_examples_do_not_make_all_others_improbable(odd: int) -> None:
    found = left_out([4.0] * 12 + [1.0] * odd, [-1, -1])
    angles = torch.tensor([0.0] * 12 + [0.6] * (odd + 2))
    looks = torch.stack([angles.cos(), angles.sin()], dim=1)[:, None]
    labelled = torch.tensor([[1.0, 0.0]]).expand(len(angles), 1, 2)
    found = replace(found, looks=looks[:, 0], drawn=looks, labelled=labelled)
    judge = PresenceModel.of(found, reader(draw_pool(), MeanLabel(), stages=lambda x: [1 - x, x]), QUALITY)
    assert judge is not None
    fitted = judge.classes[0]
    assert (inputs_of(fitted.relative(fitted.centre[None])) @ fitted.weights).sigmoid().item() > 0.9


def test_examples_that_were_not_annotated_for_a_class_are_no_evidence() -> None:
    unjudged, alone = model(PRESENT, [2, 2], annotated=False), model(PRESENT, [])
    assert torch.equal(unjudged.classes[0].weights, alone.classes[0].weights)


def test_of_a_class_that_few_show_nothing_is_improbable() -> None:
    few = model([3, 3.5, 4], [2, 2])
    assert few.improbable.tolist() == [0]
    assert math.isnan(judged(few, 4))
    assert PresenceModel.of(left_out([3, 3, 3], []), reader(draw_pool(), MeanLabel()), QUALITY) is None


def test_squares_of_one_example_are_no_further_ones() -> None:
    found = left_out([3, 3.5, 4, 4.5, 4], [2, 2, 2])
    found = replace(found, examples=torch.arange(4), rows=torch.tensor([0, 0, 0, 0, 0, 1, 2, 3]))
    judge = PresenceModel.of(found, reader(draw_pool(), MeanLabel()), QUALITY)
    assert judge is not None
    assert judge.improbable.tolist() == [0]


def prediction(*planes: list[float]) -> CasePrediction:
    """Planes of which each square has a presence, and a mask."""
    case = read_source_image(np.zeros((len(planes), SIDE_PX, SIDE_PX), np.uint8), "x")
    boxes = [Box(0, 0, SIDE_PX, SIDE_PX)]
    shape = (SIDE_PX, SIDE_PX)
    squares = [(boxes * len(each), torch.cat([drawn(4)] * len(each)), torch.tensor(each)[:, None]) for each in planes]
    return CasePrediction(case, [Plane(shape, *each) for each in squares])


def test_a_class_is_taken_off_the_planes_where_it_is_improbable() -> None:
    asked = [prediction([0.9], [0.2]), prediction([0.1], [0.3]), prediction([0.1, 0.6])]
    half = model(PRESENT, [2, 2])
    assert half.improbable.tolist() == pytest.approx([IMPROBABLE_BY_EXAMPLES])
    left, presence = judge_presence(asked, half, "suppress")
    areas = [[int((each > 0).sum()) for each in case.on_planes(Classes({1: "disc"}).mask)] for case in left]
    assert areas == [[256, 0], [0, 0], [256]]
    assert presence.absent.tolist() == [[False], [True], [False]]
    assert presence.probability.tolist() == [[pytest.approx(0.9)], [pytest.approx(0.3)], [pytest.approx(0.6)]]
    marked, also = judge_presence(asked, half, "mark")
    assert np.array_equal(also.probability, presence.probability)
    assert [(each.on_planes(Classes({1: "disc"}).mask) > 0).sum() for each in marked] == [512, 512, 256]


@pytest.mark.parametrize("tiling", ["never", 32])
def test_nothing_is_drawn_where_examples_say_that_nothing_is(tiling: str | int) -> None:
    images, labels = discs(6, (48, 48))
    noise = [np.random.default_rng(i).integers(40, 60, (48, 48)).astype(np.uint8) for i in range(5)]
    images = [image + each % 10 for image, each in zip(images, [*noise, noise[0]], strict=True)]
    segmenter = Segmenter(device="cpu", tiling=tiling).fit([*images, *noise[:3]], [*labels, *[0 * labels[0]] * 3])
    result = segmenter.predict([images[0], noise[4]])
    assert result.presence is not None
    assert result.presence[0, 0] > 0.5 > result.presence[1, 0]
    assert result.absent.tolist() == [[False], [True]]
    assert result[0].any()
    assert not result[1].any()
    assert result.predicted_dice[1, 0] == pytest.approx(1 - result.presence[1, 0])
    kept = segmenter.set_params(absent="keep").predict(noise[4])
    assert kept.presence is None
    assert not kept.absent.any()


def test_without_empty_examples_a_class_is_taken_off_where_it_is_plainly_absent_or_if_asked() -> None:
    alone, taught, few = model(PRESENT, []), model(PRESENT, [2, 2]), model([3, 3.5, 4], [2, 2])
    below = {absent: [each.off_below(absent).item() for each in (alone, taught, few)] for absent in ABSENT}
    some, more = pytest.approx(IMPROBABLE), pytest.approx(IMPROBABLE_BY_EXAMPLES)
    nothing = [0, 0, 0]
    assert below == {
        "auto": [pytest.approx(PLAINLY), more, 0],
        "suppress": [some, more, 0],
        "mark": nothing,
        "keep": nothing,
    }


@pytest.mark.parametrize(
    ("grey", "reach", "plainly"),
    [
        (0.1, (0.0, 0.3), True),
        (0.1, (0.0, 0.95), False),  # something else is as bright
        (0.1, (0.05, 0.3), True),
        (0.99, (0.9, 1.0), False),  # it looks like what was labelled
    ],
)
def test_a_class_is_plainly_absent_where_nothing_is_as_bright(
    grey: float, reach: tuple[float, float], plainly: bool
) -> None:
    """Features are grey value and darkness, and what was labelled is white by them."""
    read = reader(draw_pool(), MeanLabel(), stages=lambda x: [torch.cat([x, 1 - x], 1)])
    found = left_out(PRESENT, [], looks=True)
    judge = PresenceModel.of(found, read, QUALITY)
    assert judge is not None
    probable = judged(judge, 4, grey, reach)
    assert (probable < PLAINLY) == plainly
    assert judged(judge, 4, grey) > PLAINLY


def test_a_class_is_plainly_absent_where_nothing_is_as_dark() -> None:
    read = reader(draw_pool(), MeanLabel(), stages=lambda x: [torch.cat([1 - x, x], 1)])
    found = left_out(PRESENT, [], looks=True)
    found = replace(found, brightness=torch.full_like(found.brightness, 0.1))
    judge = PresenceModel.of(found, read, QUALITY)
    assert judge is not None
    assert judged(judge, 4, 0.9, (0.3, 1.0)) < PLAINLY < judged(judge, 4, 0.9, (0.05, 1.0))
    image = torch.full((1, 1, SIDE_PX, SIDE_PX), 0.9)
    image[..., :8, :] = 0  # what surrounds an oblong plane
    assert float(judge(image, torch.tensor([[0.3, 1.0]]), drawn(4))) < PLAINLY
    image[..., 8:10, :] = 0.1
    assert float(judge(image, torch.tensor([[0.05, 1.0]]), drawn(4))) > PLAINLY


@pytest.mark.parametrize("scaling", ["min-max", "window"])
def test_on_ct_a_structure_of_another_contrast_is_there(scaling: str) -> None:
    """It is as bright as nothing that was labelled, and still the structure, if grey values are those of a window."""
    images, labels = discs(6, (48, 64))
    rng = np.random.default_rng(0)
    hounsfield = [1.3 * image - 115 + rng.normal(0, 8, image.shape) for image in images]
    segmenter = Segmenter(device="cpu", scaling=scaling).fit(hounsfield[:5], labels[:5])
    blank = rng.normal(-50, 8, images[0].shape)
    late = blank + 90 * labels[5]
    found = segmenter.predict([late, blank]).masks
    assert found[0].any() == (scaling == "window")
    assert not found[1].any() or scaling == "window"


def with_square(image: np.ndarray, grey: int) -> np.ndarray:
    """An image with a square at the right, which is no structure."""
    changed = image.copy()
    changed[8:20, -14:-2] = grey
    return changed


def test_where_the_structure_is_plainly_absent_nothing_is_drawn() -> None:
    images, labels = discs(6, (48, 64))
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 4, (20, 48, 64)).round().astype(int)
    images = [with_square(image, 100) + each for image, each in zip(images, noise, strict=False)]
    blank = np.full((48, 64), 50)
    asked = [images[5], blank + noise[7], with_square(blank, 100) + noise[8], with_square(blank, 110) + noise[9]]
    as_bytes = [each.clip(0, 255).astype(np.uint8) for each in asked]
    segmenter = Segmenter(device="cpu").fit([each.clip(0, 255).astype(np.uint8) for each in images[:5]], labels[:5])
    result = segmenter.predict(as_bytes)
    assert [bool(mask.any()) for mask in result.masks] == [True, False, False, False]
    assert result.absent[:, 0].tolist() == [False, True, True, True]
    marked = segmenter.set_params(absent="mark").predict(as_bytes)
    assert marked.masks[2].any()
    assert np.array_equal(marked.presence, result.presence)
    editor = segmenter.set_params(absent="auto").edit(as_bytes[2])
    assert not editor.mask.any()
    assert editor.click(12, 56).any()


def test_what_is_drawn_though_it_is_improbable_is_to_be_looked_at_first() -> None:
    images, labels = discs(6, (48, 48))
    noise = np.random.default_rng(4).integers(40, 60, (48, 48)).astype(np.uint8)
    noise[5:12, 30:40] = 75
    result = Segmenter(device="cpu").fit(images, labels).predict([images[0], noise])
    assert result.absent.tolist() == [[False], [True]]
    assert result.look_first == [1]


def test_too_few_examples_or_weights_without_calibration_say_nothing() -> None:
    images, labels = discs(3)
    assert Segmenter(device="cpu").fit(images, labels).predict(images[0]).presence is None


def test_what_becomes_of_absent_classes_must_be_known() -> None:
    with pytest.raises(ValueError, match="absent is unknown: expected auto, suppress, mark, keep, got 'drop'"):
        Segmenter(absent="drop").fit(*discs(1))
    changed = Segmenter(device="cpu").fit(*discs(1)).set_params(absent="drop")
    with pytest.raises(ValueError, match="absent is unknown"):
        changed.predict(discs(1)[0])


SHOWN = [0.5, 1, 1.5, 2]
PRECISION = QualityModel(bias=0, confidence=1, coverage=0, flag_below=0.6)


def of_dice(odds: float) -> LeftOut:
    """Examples whose masks have a Dice of so many times the odds that are predicted for them."""
    found = left_out(SHOWN, [])
    dice = (PRECISION.dice_from(expected_log_odds(found.soft_counts[:, 0])).logit() + math.log(odds)).sigmoid()
    counts = torch.stack([dice * 256, torch.full_like(dice, 256), torch.full_like(dice, 256)], dim=1)
    return replace(found, counts=counts[:, None])


def test_what_the_examples_have_more_or_less_than_predicted_shifts_what_is_predicted() -> None:
    assert dice_shifts(of_dice(1), PRECISION).item() == pytest.approx(0, abs=1e-5)
    for odds in (0.5, 0.8, 1.2):
        expected = math.log(odds) * len(SHOWN) / (len(SHOWN) + WEIGHT_OF_NO_SHIFT)
        assert dice_shifts(of_dice(odds), PRECISION).item() == pytest.approx(expected, abs=1e-4)


def test_examples_that_lack_a_class_shift_nothing() -> None:
    found = of_dice(0.5)
    with_empty = left_out(SHOWN, [1.0, 2.0])
    with_empty.counts[: len(SHOWN)] = found.counts
    assert dice_shifts(with_empty, PRECISION).item() == pytest.approx(dice_shifts(found, PRECISION).item())
    assert dice_shifts(left_out([], [1.0, 2.0, 3.0, 4.0]), PRECISION).item() == 0


def test_masks_that_somebody_corrected_are_predicted_without_a_shift() -> None:
    before = Presence(np.full((2, 1), 0.9, np.float32), np.zeros((2, 1), bool), np.full((2, 1), 0.5, np.float32))
    after = before.after({1: Prompts().click(3, 4)}, [2], [1, 2], usual=2)
    assert after.dice_shifts.tolist() == [[0, 0.5], [0, 0]]


@pytest.mark.parametrize("learned", [False, True])
def test_examples_that_the_network_has_learned_shift_nothing(learned: bool) -> None:
    segmenter = Segmenter(device="cpu").fit(*discs(4))
    plain = segmenter.judgement
    judgement = Judgement(plain.reader, plain._network, PRECISION, before=(lambda: plain) if learned else None)
    vars(judgement)["left_out"] = of_dice(0.5)
    assert judgement.presence is not None
    assert (judgement.presence.dice_shifts == 0).all() == learned
