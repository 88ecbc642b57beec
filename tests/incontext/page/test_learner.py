"""Learning from a folder: what is accepted joins at once, and all is read anew when it may have changed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from incontext.networks.weights_delta import Tuned
from incontext.page import learner
from incontext.page.learner import Learner
from incontext.page.store import AnnotatedFolder, DrawnClass, opened
from tests.incontext.page.test_store import draw_and_accept, plain_folder, segmenter


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
    folder.set_classes([*folder.classes.values(), DrawnClass(2, "rim", "#112233")])
    folder.open(4).drawing.stroke(0, {2: [0, 9]}, "brush")
    folder.accept(4)
    learned.learn(made, [4])
    assert fits == [4, 4, 5]
    folder.set_classes([DrawnClass(1, "disc", "#445566"), folder.classes[2]])
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
