"""Warnings of what looks wrong in labelled images, and in others beside them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from incontext.images.examples import Example
from incontext.images.input_checks import Expectations
from incontext.images.normalisation import choose
from incontext.images.source_image import SourceImage, read_source_image

RNG = np.random.default_rng(0)


def case_of(array: np.ndarray) -> SourceImage:
    return read_source_image(array, "image")


def warn_about(examples: Sequence[Example], cases: Sequence[SourceImage]) -> list[str]:
    return Expectations.of(examples, choose([example.case for example in examples])).warn_about(cases)


def disc(radius: float, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - 30) ** 2 + (columns - 40) ** 2 <= radius**2


def looks(seed: int) -> np.ndarray:
    """A bright disc on a dark ground."""
    return (120 * disc(15) + np.random.default_rng(seed).integers(0, 60, (60, 80))).astype(np.uint8)


def examples_of(count: int, mask: np.ndarray | None = None, value: int = 1) -> list[Example]:
    mask = disc(15) if mask is None else mask
    return [Example(case_of(looks(seed)), {value: mask[None]} if mask.any() else {}) for seed in range(count)]


QUERIES = [case_of(looks(seed)) for seed in (100, 101)]


@pytest.mark.parametrize("count", [1, 6])
def test_what_fits_is_not_warned_about(count: int) -> None:
    assert warn_about(examples_of(count), QUERIES) == []
    assert warn_about(examples_of(count), []) == []


@pytest.mark.parametrize(
    ("queries", "warning"),
    [
        ([case_of(255 - looks(100))], "images differ from support_images in contrast.*same kind"),
        ([case_of(looks(100).astype(np.float32) ** 8)], "differ from support_images in contrast.*same kind"),
        (
            [case_of(RNG.integers(0, 255, (60, 80), np.uint8).clip(0, 250))],
            "images differ from support_images in contrast",
        ),
        ([case_of(np.full((60, 80), 9, np.uint8))], "images show nothing: .*got one in 1 of 1"),
        ([case_of(looks(100)[:, :20])], "images differ from support_images in height to width: expected 0.75"),
        ([case_of(np.kron(looks(100), np.ones((5, 5), np.uint8)))], "in longer side: expected 80 to 80, got 400"),
        ([case_of(np.kron(looks(100), np.ones((25, 25), np.uint8)))], "in longer side: expected 80 to 80, got 2000"),
    ],
    ids=["inverted", "gamma", "noise", "constant", "crop", "large", "huge"],
)
def test_unlike_images_are_warned_about(queries: list[SourceImage], warning: str) -> None:
    messages = warn_about(examples_of(6), queries)
    assert any(re.search(warning, message) for message in messages), messages


@pytest.mark.parametrize(
    ("shape", "warned"),
    [
        ((240, 320), set()),
        ((243, 324), {"longer side"}),
        ((15, 20), set()),
        ((12, 16), {"longer side"}),
        ((90, 60), set()),
        ((96, 60), {"height to width"}),
        ((30, 80), set()),
        ((27, 80), {"height to width"}),
    ],
    ids=str,
)
def test_sizes_differ_up_to_a_limit_without_a_warning(shape: tuple[int, int], warned: set[str]) -> None:
    """Examples of 60 × 80 allow sides four times as long or as short, and twice as oblong."""
    query = case_of(RNG.integers(0, 255, shape, np.uint8))
    messages = warn_about(examples_of(2), [query])
    found = {what for what in ("longer side", "height to width") for message in messages if f"in {what}" in message}
    assert found == warned


def test_nobody_is_told_to_invert_an_image() -> None:
    """A dark lesion beside bright ones looks like a negative, and is segmented best as it is."""
    dark = [case_of(250 - looks(seed)) for seed in (100, 101)]
    messages = warn_about(examples_of(6), dark)
    assert messages
    assert not [message for message in messages if re.search("invert|negative", message, re.I)]


def test_values_outside_the_window_show_nothing() -> None:
    hounsfield = RNG.integers(-1024, 1500, (6, 20, 30)).astype(np.int16)
    beyond = case_of(RNG.integers(5005, 5250, (20, 30)).astype(np.float32))
    (message,) = (
        each
        for each in warn_about([Example(case_of(hounsfield), {1: hounsfield > 0})], [beyond])
        if "show nothing" in each
    )
    assert "window" in message


def test_a_few_bright_pixels_show_something() -> None:
    sparse = np.zeros((500, 500), np.uint8)
    sparse[7, 9] = 200
    assert not [message for message in warn_about(examples_of(1), [case_of(sparse)]) if "show nothing" in message]


def test_classes_on_planes_left_out_are_no_matter() -> None:
    (example,) = examples_of(1)
    assert warn_about([replace(example, masks={**example.masks, 2: np.zeros((1, 60, 80), bool)})], QUERIES) == []


def test_planes_along_another_axis_are_warned_about() -> None:
    examples = [replace(each, case=replace(each.case, cut="axial")) for each in examples_of(2)]
    sagittal = [replace(case, cut="sagittal") for case in QUERIES]
    assert [message for message in warn_about(examples, sagittal) if "expected axial planes, got sagittal" in message]
    assert warn_about(examples, [replace(case, cut="axial") for case in QUERIES]) == []


@pytest.mark.parametrize(
    ("mask", "warning"),
    [
        (
            disc(0),
            "support_labels of class 3 are nearly empty: expected at least 10 pixels in an image, got a median of 1",
        ),
        (~disc(1), "support_labels of class 3 cover nearly everything: .*100%.*background the value 0"),
    ],
    ids=["tiny", "full"],
)
def test_odd_areas_are_warned_about(mask: np.ndarray, warning: str) -> None:
    messages = warn_about(examples_of(4, mask, value=3), QUERIES)
    assert len(messages) == 1
    assert re.search(warning, messages[0])


def test_empty_labels_are_evidence_and_no_fault() -> None:
    assert warn_about(examples_of(4, disc(0) & False, value=3), QUERIES) == []


def test_names_of_classes_are_used() -> None:
    (example,) = examples_of(1, disc(1))
    (message,) = warn_about([replace(example, names={1: "liver"})], QUERIES)
    assert message.startswith("support_labels of liver are nearly empty")


def test_one_class_under_two_numbers_is_warned_about() -> None:
    assert "Make them alike" in warn_about([*examples_of(3), *examples_of(3, value=255)], QUERIES)[0]
    both = [replace(each, masks={1: disc(15)[None], 255: ~disc(20)[None]}) for each in examples_of(2)]
    assert warn_about(both, QUERIES) == []


def test_smoothed_labels_are_warned_about() -> None:
    distance = np.hypot(*(np.mgrid[:60, :80] - np.array([30, 40])[:, None, None]))
    smoothed = (255 * (15.5 - distance).clip(0, 1)).astype(np.uint8)
    masks = {int(value): (smoothed == value)[None] for value in np.unique(smoothed) if value}
    assert len(masks) > 9
    messages = warn_about([Example(case_of(looks(0)), masks)], QUERIES)
    assert [message for message in messages if "occur along edges only" in message]


def test_many_solid_classes_are_fine() -> None:
    values = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((20, 20), int))
    masks = {value: (values == value)[None] for value in range(1, 13)}
    assert warn_about([Example(case_of(looks(0)), masks)], QUERIES) == []


def test_decisions_on_labels_are_told_once() -> None:
    notes = [f"support_labels[{index}] numbers 2{index} objects: they are read as one class, 1." for index in (0, 1)]
    examples = [replace(example, notes=(note,)) for example, note in zip(examples_of(2), notes, strict=True)]
    assert warn_about(examples, []) == [f"{notes[0]} So it is with 1 more."]
    assert warn_about(examples[:1], []) == notes[:1]


def test_what_was_assumed_of_files_is_told_once_with_a_count() -> None:
    turned = replace(case_of(looks(7)), source=Path("a.png"), notes=("turned upright",))
    plain = replace(case_of(looks(8)), source=Path("b.png"))
    messages = warn_about(examples_of(2), [turned, plain, replace(turned, source=Path("c.png"))])
    assert [message for message in messages if "turned" in message] == ["a.png and 1 more: turned upright."]
    assert not [message for message in warn_about(examples_of(2), [plain]) if "turned" in message]


def test_masks_of_the_field_of_view_are_warned_about() -> None:
    seen = disc(28, (60, 80))
    shown = [case_of((seen * (60 + looks(seed) / 2)).astype(np.uint8)) for seed in range(4)]
    fields = [Example(case, {1: seen[None]}) for case in shown]
    (warning,) = warn_about(fields, shown)
    assert warning.startswith("support_labels of class 1 cover just what is not black in their images")
    assert warn_about([Example(case, {1: disc(15)[None]}) for case in shown], shown) == []


def test_a_background_that_is_numbered_as_a_class_is_warned_about() -> None:
    inside, outside = disc(15), ~disc(15)
    examples = [Example(case_of(looks(seed)), {1: outside[None], 2: inside[None]}) for seed in range(3)]
    (warning,) = warn_about(examples, QUERIES)
    assert warning.startswith("support_labels have class 1 in all their corners: expected the background there")
    some = inside.copy()
    some[0, 0] = True
    partly = Example(case_of(looks(3)), {1: (~some)[None], 2: some[None]})
    assert warn_about([*examples, partly], QUERIES) == []
