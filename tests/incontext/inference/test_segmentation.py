"""What was found: laws of log-odds and masks, laziness, grids and files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext.images.case_planes import emptied
from incontext.images.source_image import read_source_image
from incontext.inference.planes import CasePrediction, Classes, DrawnPlane, Plane
from incontext.inference.segmentation import Presence, Report, Segmentation, dice
from incontext.networks.quality import QualityModel, expected_log_odds, soft_counts
from megamed.annotation_tools import coco, labelme, qupath
from megamed.label_colours import colour_of
from megamed.squares import letterbox

ONE, TWO = Classes({3: "liver"}), Classes({3: "liver", 8: "spleen"})
BOTH = Classes({3: "liver", 8: "spleen"}, overlap=True)
REPORT = Report("min-max", "all", 2, "the whole image", None)

QUALITY = QualityModel(bias=0.0, confidence=1.0, coverage=0.0, flag_below=0.8)
"""Model that predicts a Dice equal to the expected precision."""


def segmentation(
    logits: torch.Tensor, classes: Classes, source: np.ndarray | Path, axis: int | None = None
) -> Segmentation:
    """Of one case, whose planes all have the logits (C, size, size)."""
    case = emptied(read_source_image(source, "image", axis))
    shape = case.planes.shape[1:]
    plane = Plane(shape, [letterbox(shape)], logits[None])
    return Segmentation([CasePrediction(case, [plane] * len(case.planes))], classes, REPORT)


def left(value: float, size_px: int = 8) -> torch.Tensor:
    """Logits of a value in the left half and its negative in the right."""
    sign = torch.where(torch.arange(size_px) < size_px // 2, value, -value)
    return sign.expand(size_px, size_px)


@pytest.mark.parametrize("classes", [ONE, TWO, BOTH], ids=["one", "two", "overlapping"])
def test_log_odds_and_probabilities_undo_each_other(classes: Classes) -> None:
    logits = torch.randn(5, len(classes.names), 4, 4, generator=torch.Generator().manual_seed(0))
    probabilities = classes.probabilities(logits)
    assert probabilities.min() > 0
    assert classes.overlap or (probabilities.sum(1) < 1).all()
    torch.testing.assert_close(classes.log_odds(probabilities), logits, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("classes", [ONE, TWO, BOTH], ids=["one", "two", "overlapping"])
def test_a_mask_is_judged_as_it_is_made_as_it_would_be_by_itself(classes: Classes) -> None:
    logits = torch.randn(len(classes.names), 8, 8, generator=torch.Generator().manual_seed(0))
    plane = Plane((12, 9), [letterbox((12, 9))], logits[None])
    found = CasePrediction(emptied(read_source_image(np.zeros((12, 9), np.uint8), "image")), [plane])
    mask, log_odds = found.judged(classes)
    assert np.array_equal(mask, found.on_grid(classes.mask))
    probabilities, layers = (torch.from_numpy(found.on_grid(each)) for each in (classes.probabilities, classes.layers))
    torch.testing.assert_close(log_odds, expected_log_odds(soft_counts(probabilities, layers)))


def test_log_odds_of_certainty_are_finite() -> None:
    for classes in (ONE, TWO, BOTH):
        certain = torch.zeros(len(classes.names), 2, 2)
        certain[0] = 1
        assert classes.log_odds(certain).isfinite().all()


def test_one_class_is_the_sigmoid_overlapping_or_not() -> None:
    logits = torch.randn(1, 4, 4)
    torch.testing.assert_close(ONE.probabilities(logits), logits.sigmoid())
    torch.testing.assert_close(BOTH.probabilities(logits), logits.sigmoid())


def test_the_mask_is_the_most_probable_class() -> None:
    logits = torch.tensor([[[-1.0, 2.0, 2.0, 0.0]], [[-2.0, 1.0, 3.0, 0.0]]])
    assert TWO.mask(logits).tolist() == [[0, 3, 8, 0]]
    assert BOTH.mask(logits).tolist() == [[[0, 1, 1, 0]], [[0, 1, 1, 0]]]


def test_it_is_a_sequence_of_masks_with_names() -> None:
    result = segmentation(left(5.0)[None], ONE, np.zeros((8, 8)))
    assert len(result) == len(result.probabilities) == 1
    assert result[0] is result.masks[0] is next(iter(result))
    assert result[:1] == result.masks
    assert result.classes == {3: "liver"}
    assert repr(result) == "Segmentation(1 masks of liver)"
    np.testing.assert_array_equal(result[0], np.where(np.arange(8) < 4, 3, 0)[None].repeat(8, axis=0))
    np.testing.assert_allclose(result.probabilities[0][:, 0], 1 / (1 + np.exp(-5)), rtol=1e-5)
    assert len(result.probabilities[:0]) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_masks_of_a_stack_lie_on_its_own_grid(axis: int) -> None:
    stack = np.zeros((5, 12, 20))
    result = segmentation(torch.stack([left(5.0), left(-5.0)]), TWO, stack, axis)
    assert result[0].shape == stack.shape
    assert result.probabilities[0].shape == (2, *stack.shape)
    halves = 2 if axis < 2 else 1
    first, last = result[0].take(0, halves), result[0].take(-1, halves)
    assert (first == 3).all()
    assert (last == 8).all()


def test_overlapping_classes_have_a_mask_each() -> None:
    result = segmentation(torch.stack([left(5.0), left(5.0)]), BOTH, np.zeros((8, 8)))
    assert result[0].shape == (2, 8, 8)
    np.testing.assert_array_equal(result.layer(0, 3), result.layer(0, 8))
    with pytest.raises(ValueError, match="mask cannot be written: expected one label per pixel"):
        result.write(0, Path("mask.png"))


def test_a_mask_is_written_on_its_grid(tmp_path: Path) -> None:
    result = segmentation(left(5.0)[None], ONE, np.zeros((8, 20)))
    assert result.write(0, str(tmp_path / "mask.png")) == tmp_path / "mask.png"
    with Image.open(tmp_path / "mask.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), result[0])


def flat(*values: float) -> Plane:
    """A plane of 4 × 4 pixels whose logits are the same everywhere, one value for each class."""
    logits = torch.tensor(values).reshape(1, -1, 1, 1).expand(1, len(values), 4, 4)
    return Plane((4, 4), [letterbox((4, 4))], logits)


def judged(found: list[list[Plane | DrawnPlane]], classes: Classes, presence: Presence | None = None) -> Segmentation:
    """Of stacks of planes of 4 × 4 pixels."""
    cases = [emptied(read_source_image(np.zeros((len(planes), 4, 4)), "stack", 0)) for planes in found]
    result = [CasePrediction(case, planes) for case, planes in zip(cases, found, strict=True)]
    return Segmentation(result, classes, REPORT, QUALITY, presence)


def test_masks_are_judged_by_their_expected_precision() -> None:
    result = judged([[flat(2.0)], [flat(0.5)], [flat(-9.0)], [flat(1.0)]], ONE)
    # A mask that covers all has its probability for an expected precision, whose odds are the exponential of the logit.
    sigmoid = 1 / (1 + np.exp([-2.0, -0.5, -1.0]))
    np.testing.assert_allclose(result.predicted_dice[[0, 1, 3], 0], sigmoid, rtol=1e-4)
    assert result.predicted_dice[2, 0] == pytest.approx(0.02, rel=1e-3)
    assert result.look_first == [2, 1, 3]
    assert result.predicted_dice is result.predicted_dice


def test_examples_shift_what_is_predicted() -> None:
    presence = Presence(np.ones((2, 1), np.float32), np.zeros((2, 1), bool), np.array([[1.5], [0]], np.float32))
    result = judged([[flat(0.5)], [flat(0.5)]], ONE, presence)
    np.testing.assert_allclose(result.predicted_dice[:, 0], 1 / (1 + np.exp([-2.0, -0.5])), rtol=1e-4)
    assert result.look_first == [1]


def test_an_image_is_as_poor_as_the_poorest_class_that_it_shows() -> None:
    result = judged([[flat(9.0, -9.0)], [flat(1.0, -9.0)]], BOTH)
    assert result.predicted_dice.shape == (2, 2)
    assert (result.predicted_dice[:, 1] < 0.1).all()
    assert result.look_first == [1]


def test_one_poor_class_is_enough_to_look_first() -> None:
    result = judged([[flat(9.0, 0.5)], [flat(9.0, 9.0)]], BOTH)
    assert (result.predicted_dice[0] > 0.8).tolist() == [True, False]
    assert result.look_first == [0]


def test_a_stack_is_judged_as_a_whole_without_what_was_drawn() -> None:
    drawn = DrawnPlane(np.full((4, 4), 3, dtype=np.uint8), [3])
    alone, together = judged([[flat(0.5)], [flat(1.0), flat(0.0)]], ONE), judged([[flat(0.5), drawn]], ONE)
    assert together.predicted_dice[0] == pytest.approx(alone.predicted_dice[0])
    np.testing.assert_array_equal(together[0][1], drawn.label)
    np.testing.assert_allclose(together.probabilities[0][1], 1, atol=1e-6)


def test_nothing_is_judged_without_a_model() -> None:
    result = segmentation(left(5.0)[None], ONE, np.zeros((8, 8)))
    with pytest.raises(ValueError, match="predicted_dice is unknown: expected weights whose calibration tells"):
        result.look_first  # noqa: B018


def test_layers_are_the_mask_class_by_class() -> None:
    logits = torch.tensor([[[-1.0, 2.0, 2.0, 0.0]], [[-2.0, 1.0, 3.0, 0.0]]])
    assert TWO.layers(logits).tolist() == [[[False, True, False, False]], [[False, False, True, False]]]
    assert BOTH.layers(logits).tolist() == [[[False, True, True, False]], [[False, True, True, False]]]


def test_dice_of_drawings() -> None:
    mask, label = np.array([1, 1, 0, 0], dtype=bool), np.array([0, 1, 1, 1], dtype=bool)
    assert dice(mask, label) == pytest.approx(2 / 5)
    assert dice(mask, ~mask) == 0
    assert dice(mask & ~mask, label & ~label) == 1


def test_classes_that_overlap_are_whole_in_the_files_of_tools(tmp_path: Path) -> None:
    logits = torch.stack([left(5.0), torch.full((8, 8), 5.0)])
    classes = Classes({3: "liver", 8: "spleen"}, overlap=True, colours={8: "#ff0000"})
    result = segmentation(logits, classes, np.zeros((8, 8)))
    (path,) = result.write_as("coco", str(tmp_path))
    (image,) = coco.read(path)
    assert image.file_name == "image0"
    assert {name: int(mask.sum()) for name, mask in image.labels().items()} == {"liver": 32, "spleen": 64}
    assert [(each.name, each.value, each.colour) for each in image.classes] == [
        ("liver", 3, colour_of(3)),
        ("spleen", 8, "#ff0000"),
    ]
    with pytest.raises(ValueError, match="'liver' and 'spleen' overlap on image0"):
        result.write_as("napari", tmp_path)


def test_classes_of_one_name_stay_apart_in_the_files_of_tools(tmp_path: Path) -> None:
    logits = torch.stack([left(5.0), -left(5.0)])
    result = segmentation(logits, Classes({3: "cyst", 8: "cyst"}), np.zeros((8, 8)))
    (path,) = result.write_as("labelme", tmp_path)
    assert {name: int(mask.sum()) for name, mask in labelme.read(path)[0].labels().items()} == {
        "cyst 3": 32,
        "cyst 8": 32,
    }


def test_images_are_named_by_their_files(tmp_path: Path) -> None:
    paths = [tmp_path / patient / "a.png" for patient in ("p1", "p2")]
    for path in paths:
        path.parent.mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    cases = [segmentation(left(5.0)[None], ONE, path) for path in paths]
    both = Segmentation([each._found[0] for each in cases], ONE, REPORT)
    assert both.write_as("labelme", tmp_path) == [tmp_path / "labelme" / each / "a.json" for each in ("p1", "p2")]
    assert cases[0].write_as("labelme", tmp_path) == [tmp_path / "labelme" / "a.json"]


def test_a_stack_has_planes_in_the_files_of_tools(tmp_path: Path) -> None:
    result = segmentation(left(5.0)[None], ONE, np.zeros((3, 8, 8)), axis=0)
    (path,) = result.write_as("qupath", tmp_path)
    assert [image.plane for image in qupath.read(path)] == [0, 1, 2]
    with pytest.raises(ValueError, match="COCO cannot hold the mask of image0: expected a picture, got a stack"):
        result.write_as("coco", tmp_path)
