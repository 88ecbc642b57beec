"""Classes that are removed: what was drawn of them is erased or becomes another, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext.page.class_removal import find_uses, remove_class
from incontext.page.drawn_classes import DrawnClass
from incontext.page.live import Live
from incontext.page.prediction import Prediction
from incontext.page.store import STORE, AnnotatedFolder, opened
from megamed.annotation_tools.itksnap import DESCRIPTIONS
from tests.incontext.page.test_live import is_done, running
from tests.incontext.page.test_store import SIDE, SQUARE, plain_folder, segmenter
from tests.killed_runs import drawn, write_stack

RIM = {2: [0, 5]}
NAMES = {1: "disc", 2: "rim", 3: "spot"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return plain_folder(tmp_path / "in")


@pytest.fixture
def given(folder: Path) -> Iterator[tuple[AnnotatedFolder, Live]]:
    """Accept an image with a disc and a rim, and draw a rim in the second."""
    with opened(folder, NAMES) as annotated:
        annotated.open(0).drawing.stroke(0, SQUARE, "brush")
        for index in (0, 1):
            annotated.open(index).drawing.stroke(0, RIM, "brush")
            annotated.noticed(index)
        annotated.accept(0)
        yield annotated, Live(annotated, segmenter)


def values(annotated: AnnotatedFolder, index: int) -> dict[int, int]:
    found, counts = np.unique(annotated.open(index).drawing.planes, return_counts=True)
    return {int(value): int(count) for value, count in zip(found, counts, strict=True) if value}


def label_of(path: Path) -> set[int]:
    return {*np.unique(np.asarray(Image.open(path))).tolist()}


def test_a_class_of_which_nothing_is_drawn_goes_at_once(given: tuple[AnnotatedFolder, Live], folder: Path) -> None:
    annotated, live = given
    assert find_uses(annotated, live, 3) == ([], [], True)
    remove_class(annotated, live, 3, None)
    assert annotated.classes.keys() == {1, 2}
    assert "spot" not in (folder / "labels" / DESCRIPTIONS).read_text()


@pytest.mark.parametrize("into", [0, 1])
def test_what_is_drawn_of_it_is_erased_or_becomes_another(
    given: tuple[AnnotatedFolder, Live], folder: Path, into: int
) -> None:
    annotated, live = given
    live.predictions[2] = Prediction.packing(np.full((1, SIDE, SIDE), 2, np.uint8), 0.5, False, 1)
    assert find_uses(annotated, live, 2) == ([0, 1], [0], True)
    with pytest.raises(ValueError, match="class rim is drawn in 2 images, 1 of them accepted"):
        remove_class(annotated, live, 2, None)
    assert values(annotated, 1) == {2: 5}
    remove_class(annotated, live, 2, into)
    assert annotated.classes.keys() == {1, 3}
    assert values(annotated, 0) == {1: 86 if into else 81}
    assert values(annotated, 1) == ({1: 5} if into else {})
    assert [image.state for image in annotated.images] == ["accepted", "drawn", "bare"]
    assert label_of(folder / "labels" / "a.png") == {0, 1}
    assert (2 in live.predictions) == bool(into)  # of a mask of which nothing is left there is none
    assert not into or (live.predictions[2].planes == 1).all()


def test_undo_brings_pixels_and_class_back_after_a_restart_too(
    given: tuple[AnnotatedFolder, Live], folder: Path
) -> None:
    annotated, live = given
    annotated.classes.keep([*annotated.classes.values()])
    before = annotated.classes[2]
    remove_class(annotated, live, 2, 0)
    with pytest.raises(ValueError, match="value 2 was that of rim, which undo may bring back"):
        annotated.classes.keep([*annotated.classes.values(), DrawnClass(2, "other", "#000000")])
    again = AnnotatedFolder(folder)
    assert again.classes.keys() == {1, 3}
    again.classes.keep([*again.classes.values(), DrawnClass(4, "rim", "#000000")])
    again.open(0).drawing.undo()
    again.classes.restore(values(again, 0))
    again.noticed(0)
    assert values(again, 0) == {1: 81, 2: 5}
    assert (again.classes[2].name, again.classes[2].colour) == ("rim (2)", before.colour)
    assert again.images[0].state == "drawn"
    again.accept(0)
    assert label_of(folder / "labels" / "a.png") == {0, 1, 2}


def test_labels_in_which_nothing_is_left_are_kept_and_no_examples(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "ab")
    with opened(folder, {1: "disc", 2: "rim"}) as annotated:
        annotated.open(0).drawing.stroke(0, RIM, "brush")
        path = annotated.accept(0)
        before = path.read_bytes()
        live = Live(annotated, segmenter)
        remove_class(annotated, live, 2, 0)
        assert not path.exists()
        assert [kept.read_bytes() for kept in (folder / STORE / "replaced").iterdir()] == [before]
        assert annotated.images[0].state == "drawn"
        annotated.open(0).drawing.undo()
        assert values(annotated, 0) == {2: 5}


def test_planes_that_nobody_drew_on_stay_unjudged(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_stack(tmp_path / "in" / "a.tif", drawn(0, 3)[0])
    with opened(tmp_path / "in", {1: "disc", 2: "rim"}) as annotated:
        annotated.open(0).drawing.stroke(1, RIM, "brush")
        annotated.noticed(0)
        remove_class(annotated, Live(annotated, segmenter), 2, 1)
        for each in (annotated, AnnotatedFolder(tmp_path / "in")):
            drawing = each.open(0).drawing
            assert (drawing.judged.tolist(), drawing.drawn) == ([False, True, False], [1])
            assert values(each, 0) == {1: 5}


def test_the_only_class_and_those_of_a_task_stay(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    with opened(folder, task={1: "disc", 2: "rim"}) as annotated:
        live = Live(annotated, segmenter)
        with pytest.raises(ValueError, match="class rim is one of the task or of the results"):
            remove_class(annotated, live, 2, 0)
    with opened(folder) as annotated:
        live = Live(annotated, segmenter)
        for value, told in ((1, "class structure is the only one"), (7, "class is unknown: expected one of 1, got 7")):
            with pytest.raises(ValueError, match=told):
                remove_class(annotated, live, value, 0)
        with pytest.raises(ValueError, match="class structure is missing: expected all classes"):
            annotated.classes.keep([DrawnClass(2, "rim", "#000000")])


def test_the_others_are_segmented_without_it(tmp_path: Path) -> None:
    with running(plain_folder(tmp_path / "in", "abc")) as (annotated, live):
        annotated.classes.keep([*annotated.classes.values(), DrawnClass(2, "rim", "#000000")])
        annotated.open(0).drawing.stroke(0, {**SQUARE, **RIM}, "brush")
        annotated.accept(0)
        live.examples_changed()
        live.wait_for(is_done)
        remove_class(annotated, live, 2, 0)
        live.wait_for(lambda progress: is_done(progress) and {each.round for each in live.predictions.values()} == {3})
        assert annotated.classes.keys() == {1}
        assert {value for each in live.predictions.values() for value in each.values} <= {0, 1}
