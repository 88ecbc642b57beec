"""Prompts as JSON: what is written is read, and what others have is understood."""

import json
from typing import Any

import numpy as np
import pytest

from incontext.images.prompt_json import as_json, from_json
from incontext.images.prompts import DrawnMask, Prompts
from megamed.annotation_tools.run_lengths import text_of_counts

DRAWN = np.eye(4, 6) > 0


def test_what_is_written_is_read() -> None:
    said = Prompts().click(3, 4).click(1, 2, inside=False, label=2).scribble([(1, 1), (2, 5)], plane=7)
    said = said.scribble(DRAWN, inside=False).box(1, 2, 5, 6, label=9).start_from(DRAWN, plane=0)
    assert from_json(json.loads(json.dumps(as_json(said))), "a.png") == said


def test_points_and_boxes_of_others_have_columns_first() -> None:
    of_others = {"point_coords": [[4, 3], [2, 1]], "point_labels": [1, 0], "box": [2, 1, 6, 5], "label": 3}
    expected = Prompts().box(1, 2, 5, 6, label=3).click(3, 4, label=3).click(1, 2, inside=False, label=3)
    assert from_json(of_others, "a.png") == expected
    many = {"points": [[4, 3], [2, 1]], "labels": [1, 0], "boxes": [[2, 1, 6, 5]], "label": 3}
    assert from_json([many, {"click": [0, 0]}], "a.png") == expected.click(0, 0)
    assert from_json({"points": [[4, 3]], "boxes": None}, "a.png") == Prompts().click(3, 4)
    assert from_json({"boxes": [[2, 1, 6, 5], [0, 0, 1, 1]]}, "a.png").strokes[1].where == (0, 0, 1, 1)


def test_runs_may_be_compressed() -> None:
    runs = {"size": [3, 3], "counts": text_of_counts([1, 6, 2])}
    mask = from_json([{"mask": runs}], "a.png").strokes[0].where
    assert isinstance(mask, DrawnMask)
    assert mask.counts == (1, 6, 2)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (
            [{"click": [1, 2]}, {"click": [1]}],
            r"a.png, entry 1 is no prompt: expected 2 numbers for a click, got \[1\]",
        ),
        ([{"click": [1, True]}], "expected 2 numbers for a click"),
        ([{"click": [1, float("inf")]}], "click is nowhere"),
        ([{"click": [1, 10**400]}], "click is nowhere"),
        ([{"click": [1, 2], "label": 10**400}], r"got 1000+\.\.\.0+\. Write"),
        ([{}], "beside inside, label and plane, got none"),
        ({"points": [[1, 2]], "labels": []}, r"expected a label of 0 or 1 for each of 1 points, got \[\]"),
        ([{"box": [1, 2, 3]}], "expected 4 numbers for a box"),
        ([{"box": [1, 2, 3, 4], "inside": False}], "expected inside to be true, got False"),
        ([{"click": [1, 2], "inside": "no"}], "expected inside to be true or false, got 'no'"),
        ([{"click": [1, 2], "label": 0}], "expected label to be a whole number from 1 to 255, got 0"),
        ([{"click": [1, 2], "label": 300}], "expected label to be a whole number from 1 to 255, got 300"),
        ([{"click": [1, 2], "clas": 0}], "expected one of click, scribble, box and mask .* got click, clas"),
        ([{"scribble": []}], "scribble is no line"),
        ([{"scribble": 3}], "expected a prompt, got"),
        ([{"mask": {"size": [2, 2], "counts": [3]}}], "expected runs that fill 2 × 2 pixels, got 3"),
        ([{"mask": [1]}], "expected a mask as size and counts"),
        ({"points": [[1, 2]], "labels": [2]}, r"a.png is no prompt: expected a label of 0 or 1 for each of 1 points"),
        ({"points": [[1, 2]], "mask_input": []}, "expected points, labels and boxes .* got mask_input too"),
        ({"points": [[1, 2]], "point_coords": [[3, 4]]}, "expected one of points and point_coords, which"),
        ({"boxes": [[1, 2, 3, 4]], "box": [5, 6, 7, 8]}, "expected one of boxes and box, which mean the same"),
        ({"box": [1, 2, 3, 4]}, "expected a list around a box, whose rows come first, or boxes"),
        ("a", "expected an object, got 'a'"),
    ],
)
def test_what_is_no_prompt_is_named(content: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        from_json(content, "a.png")
