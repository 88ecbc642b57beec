"""Prompts as values."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from incontext.images.prompts import DrawnMask, Prompts, class_value, names_of


def test_equal_words_are_equal_values() -> None:
    drawn = np.zeros((5, 7), bool)
    drawn[2, 1:4] = True

    def said() -> Prompts:
        return (
            Prompts()
            .click(1.9, 2)
            .scribble(drawn, inside=False, label=3)
            .box(9.2, 8, 1.5, 2, plane=4)
            .start_from(drawn)
        )

    assert said() == said()
    assert hash(said()) == hash(said())
    assert len(said()) == 4
    assert said().labels == [3]
    click, scribble, box, start = said().strokes
    assert click.where == (1, 2)
    assert (box.where, box.plane) == ((1, 2, 10, 8), 4)
    assert (scribble.inside, start.kind) == (False, "mask")


@pytest.mark.parametrize("value", [False, True])
def test_runs_are_the_mask(value: bool) -> None:
    mask = np.random.default_rng(0).random((6, 9)) > 0.5
    mask[0, 0] = value
    np.testing.assert_array_equal(DrawnMask.of(mask).pixels(), mask)
    assert DrawnMask.of(np.zeros((2, 3), bool)).counts == (6,)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (lambda: Prompts().click(1, 2, label=0), "label is no class: expected a value from 1 to 255, got 0"),
        (lambda: Prompts().click(1, 2, label=-1), "label is no class"),
        (lambda: Prompts().click(1, 2, label=300), "label is no class"),
        (lambda: Prompts().click(1e300, 2), "click is nowhere: expected finite numbers"),
        (lambda: Prompts().click(10**400, 2), "click is nowhere"),
        (lambda: Prompts().scribble([[1, 2, 3]] * 999), r"scribble is no line: .{,120}\.\.\."),
        (lambda: Prompts().start_from("mask.png"), "mask is no mask: expected an array, .* got str"),
        (lambda: Prompts().start_from(np.full((2, 3), np.nan)), "mask is not finite"),
        (lambda: Prompts().start_from(np.array([[1, 2, 3]])), "mask is not clear: .* got the values 1, 2, 3"),
        (
            lambda: Prompts().start_from(np.array([[1, 3, 3]]), label=2),
            "or a label map that shows 2, got the values 1, 3",
        ),
    ],
)
def test_what_means_nothing_is_refused(said: Callable[[], Prompts], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        said()


def test_numbers_and_masks_of_any_library_are_understood() -> None:
    plain = Prompts().click(3, 4, False, label=2, plane=1)
    assert Prompts().click(np.uint8(3), np.float32(4.5), False, label=2, plane=1) == plain
    drawn = np.random.default_rng(0).random((6, 2)) > 0.5
    for other in (torch.tensor(drawn), Image.fromarray(drawn)):
        assert Prompts().scribble(other) == Prompts().scribble(drawn)
        assert Prompts().start_from(other) == Prompts().start_from(drawn)
    assert Prompts().scribble(drawn).strokes[0].where == DrawnMask.of(drawn)
    assert Prompts().start_from(np.where(drawn, 2, 7), label=2) == Prompts().start_from(drawn, label=2)
    assert Prompts().scribble(np.array([[1, 2], [3, 4]])) == Prompts().scribble([(1, 2), (3, 4)])


def test_a_label_value_is_a_whole_number_of_any_library() -> None:
    assert [class_value(each) for each in (2, 2.0, np.int64(2), np.float32(2), torch.tensor(2))] == [2] * 5
    for wrong in (0, -1, 256, 1.5, True, "2", None, [1], np.array([1, 2])):
        with pytest.raises(ValueError, match="label is no class: expected a value from 1 to 255, got "):
            class_value(wrong)


@pytest.mark.parametrize("classes", [["disc"], {"disc": 1}, {"1.5": "disc"}, {1: None}, {1.5: "disc"}], ids=str)
def test_names_of_no_label_values_are_refused(classes: object) -> None:
    with pytest.raises(ValueError, match=r"classes are no names of label values: expected such as \{1: 'liver'\}, got"):
        names_of(classes)


def test_names_of_label_values_may_have_numbers_of_any_library_and_of_json() -> None:
    assert names_of({np.int64(1): "disc", 2.0: "cup", "3": "rim"}) == {1: "disc", 2: "cup", 3: "rim"}
    assert names_of(None) == {}
