"""Learning from a folder: what is accepted joins at once, and all is read anew when it may have changed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from incontext import Segmenter
from incontext.networks.weights_delta import Tuned
from incontext.page import learner
from incontext.page.drawn_classes import DrawnClass
from incontext.page.learner import Learner
from incontext.page.store import AnnotatedFolder, opened
from tests.incontext.page.test_store import SQUARE, draw_and_accept, plain_folder, segmenter
from tests.killed_runs import drawn


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[AnnotatedFolder]:
    with opened(plain_folder(tmp_path / "in", "abcdefgh")) as annotated:
        for index in range(2):
            draw_and_accept(annotated, index)
        yield annotated


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of labelled images, one each time that all are read."""
    found, read = list[int](), learner.fit_pairs

    def counting(*arguments: object) -> object:
        found.append(len(arguments[1].labelled))  # type: ignore[attr-defined]
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(learner, "fit_pairs", counting)
    return found


def test_what_is_accepted_joins_and_all_are_read_when_they_have_doubled(
    folder: AnnotatedFolder, fits: list[int]
) -> None:
    learned, made, other = Learner(folder), segmenter(), segmenter()
    learned.learn(made, None)
    Learner(folder).learn(other, None)
    del fits[1:]
    label = draw_and_accept(folder, 2)
    learned.learn(made, [2])
    assert (fits, learned.names) == ([2], ["a.png", "b.png", "c.png"])
    other.add(folder.images[2].pair.image, label)
    asked = folder.images[5].pair.image
    assert np.array_equal(made.predict(asked).probabilities[0], other.predict(asked).probabilities[0])
    draw_and_accept(folder, 3)
    learned.learn(made, [3])
    assert fits == [2, 4]


def test_all_are_read_again_if_one_was_corrected_or_a_class_is_new_or_renamed(
    folder: AnnotatedFolder, fits: list[int]
) -> None:
    learned, made = Learner(folder), segmenter()
    for index in (2, 3):
        draw_and_accept(folder, index)
    learned.learn(made, None)
    folder.open(0).drawing.stroke(0, {1: [0, 9]}, "brush")
    folder.accept(0)
    learned.learn(made, [0])
    assert fits == [4, 4]
    folder.classes.keep([*folder.classes.values(), DrawnClass(2, "rim", "#112233")])
    folder.open(4).drawing.stroke(0, {2: [0, 9]}, "brush")
    folder.accept(4)
    learned.learn(made, [4])
    assert fits == [4, 4, 5]
    folder.classes.keep([DrawnClass(1, "disc", "#445566"), folder.classes[2]])
    draw_and_accept(folder, 5)
    learned.learn(made, [5])
    assert fits == [4, 4, 5, 6]


def test_a_network_that_was_tuned_stays_so_if_examples_cannot_be_read(
    folder: AnnotatedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned, made = Learner(folder), segmenter()
    learned.learn(made, None)
    made.set_params(tune="auto").keep_tuned(Tuned(None, "tuned before"))

    def failing(*_: object) -> None:
        msg = "disk is gone"
        raise OSError(msg)

    with monkeypatch.context() as patched:
        patched.setattr(learner, "fit_pairs", failing)
        with pytest.raises(OSError, match="disk is gone"):
            learned.learn(made, None)
    learned.learn(made, None)
    assert made.tuned
    assert made.tuned.reason == "tuned before"


def taught(value: int = 1) -> Segmenter:
    """A segmenter that knows three images of another folder."""
    pictures, labels = zip(*(drawn(seed) for seed in range(20, 23)), strict=True)
    return segmenter().fit([each[0] for each in pictures], [value * each[0] for each in labels], {value: "disc"})


@pytest.mark.parametrize("joined", [None, [0, 1]])
@pytest.mark.parametrize("value", [1, 255])
def test_what_is_accepted_joins_the_examples_of_a_task(tmp_path: Path, value: int, joined: list[int] | None) -> None:
    other, made = taught(value), taught(value)
    with opened(plain_folder(tmp_path / "in", "abcd"), task=made.fitted.names) as folder:
        learned = Learner(folder, made.fitted)
        for index in range(2):
            folder.open(index).drawing.stroke(0, {value: SQUARE[1]}, "brush")
            folder.accept(index)
            other.add(folder.images[index].pair.image, folder.images[index].pair.files[1])
        learned.learn(made, joined)
        learned.learn(made, joined)
        asked = folder.images[3].pair.image
    assert learned.names[-2:] == ["a.png", "b.png"]
    assert made.fitted.pool.label_budget == len(learned.names) == 5
    assert made.fitted.names == {value: "disc"}
    assert np.array_equal(made.predict(asked).probabilities[0], other.predict(asked).probabilities[0])


def test_an_example_that_cannot_be_read_keeps_no_other_from_a_task(tmp_path: Path) -> None:
    made = taught()
    with opened(plain_folder(tmp_path / "in", "ab")) as folder:
        learned = Learner(folder, made.fitted)
        for index in range(2):
            draw_and_accept(folder, index)
        (tmp_path / "in" / "labels" / "a.png").write_bytes(b"no picture")
        learned.learn(made, None)
        assert learned.names[3:] == ["b.png"]
        (tmp_path / "in" / "labels" / "b.png").write_bytes(b"no picture")
        with pytest.raises(OSError, match=r"a\.png is unreadable"):
            learned.learn(made, None)
