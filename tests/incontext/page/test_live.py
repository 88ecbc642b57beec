"""Segmentation in the background: all that is not drawn, again whenever an example joins, and as the shell does it."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext import Segmenter
from incontext.folders.user_folder import fit_folder
from incontext.page import tuner
from incontext.page.live import Live, Progress
from incontext.page.store import AnnotatedFolder, opened
from tests.incontext.page.test_store import draw_and_accept, plain_folder, segmenter

PATIENCE_S = 300
"""Time that anything may take on a busy machine."""


@contextmanager
def running(folder: Path, load: Callable[[], Segmenter] = segmenter) -> Iterator[tuple[AnnotatedFolder, "Watched"]]:
    with opened(folder) as annotated:
        live = Watched(annotated, load)
        live.start()
        try:
            yield annotated, live
        finally:
            live.close()


class Watched(Live):
    """One that can be waited for."""

    def __init__(self, folder: AnnotatedFolder, load: Callable[[], Segmenter]) -> None:
        self.told = threading.Condition()
        self.order: list[int] = []
        super().__init__(folder, load, self.hear)

    def hear(self, images: object) -> None:
        with self.told:
            self.order += images  # type: ignore[arg-type]
            self.told.notify_all()

    def wait_for(self, is_it: Callable[[Progress], bool]) -> None:
        with self.told:
            assert self.told.wait_for(lambda: is_it(self.progress), PATIENCE_S)


def is_done(progress: Progress) -> bool:
    return progress.stage == "idle"


def test_accepting_segments_the_others_as_the_shell_does(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "abcde")
    with running(folder) as (annotated, live):
        live.wait_for(lambda progress: progress.stage == "waiting")
        live.look_at(3)
        draw_and_accept(annotated)
        live.examples_changed()
        live.wait_for(is_done)
        found = {index: each.planes for index, each in live.predictions.items()}
    assert live.order == [3, 2, 4, 1]
    assert live.progress == Progress("idle", 4, 4)
    by_shell = segmenter()
    fit_folder(by_shell, folder)
    with warnings.catch_warnings(action="ignore"):
        masks = by_shell.predict([folder / f"{name}.png" for name in "bcde"])
    for index, mask in enumerate(masks, start=1):
        assert np.array_equal(found[index][0], mask)


def test_a_further_example_changes_all(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "abcdefg")
    with running(folder) as (annotated, live):
        live.wait_for(lambda progress: progress.stage == "waiting")  # else the first one is learned before the others
        for index in range(5):
            draw_and_accept(annotated, index)
        live.examples_changed()
        live.wait_for(lambda progress: is_done(progress) and live.predictions.keys() == {5, 6})
        assert {each.round for each in live.predictions.values()} == {2}
        assert live.expected
        assert live.expected.dice.keys() == {1}
        annotated.open(6).drawing.stroke(0, {1: [0, 9]}, "brush")
        annotated.noticed(6)
        live.examples_changed()
        live.wait_for(lambda progress: is_done(progress) and live.predictions[5].round == 3)
        assert live.predictions[6].round == 2  # somebody draws there


def test_an_image_that_is_not_drawn_any_more_is_segmented_after_all(tmp_path: Path) -> None:
    with running(plain_folder(tmp_path / "in", "abc")) as (annotated, live):
        annotated.open(1).drawing.stroke(0, {1: [0, 9]}, "brush")
        annotated.noticed(1)
        draw_and_accept(annotated)
        live.examples_changed()
        live.wait_for(lambda progress: is_done(progress) and live.predictions.keys() == {2})
        annotated.open(1).drawing.undo()
        annotated.noticed(1)
        live.images_changed()
        live.wait_for(lambda progress: is_done(progress) and live.predictions.keys() == {1, 2})
        assert live.predictions[1].round == live.predictions[2].round


def test_tuning_goes_on_beside_and_the_predictions_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "STEPS", 1)
    with running(plain_folder(tmp_path / "in", "abc")) as (annotated, live):
        draw_and_accept(annotated)
        live.examples_changed()
        live.wait_for(is_done)
        before = live.predictions[1].round
        live.tune()
        with pytest.raises(ValueError, match="network is being tuned"):
            live.tune()
        live.wait_for(lambda progress: is_done(progress) and live.predictions[2].round > before)
        assert "augmented copies" in live.tuner.progress.outcome
        assert not live.tuner.progress.is_running


def test_a_single_example_is_too_few_to_tune_on(tmp_path: Path) -> None:
    with running(plain_folder(tmp_path / "in", "ab")) as (annotated, live):
        draw_and_accept(annotated)
        live.examples_changed()
        live.wait_for(is_done)
        live.tune()
        live.wait_for(lambda progress: bool(live.tuner.progress.outcome))
        assert live.tuner.progress.outcome == "not tuned: expected 4 images of a class to judge by, got fewer"


def test_without_an_example_there_is_nothing_to_tune_on(tmp_path: Path) -> None:
    with running(plain_folder(tmp_path / "in", "a")) as (_, live):
        live.wait_for(lambda progress: progress.stage == "waiting")
        with pytest.raises(ValueError, match="there is no example"):
            live.tune()


def test_what_cannot_be_read_is_told_and_the_rest_is_done(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "abc")
    (folder / "b.png").write_bytes(b"no picture")
    with running(folder) as (annotated, live):
        draw_and_accept(annotated)
        live.examples_changed()
        live.wait_for(is_done)
        assert live.predictions.keys() == {2}
        assert "b.png is unreadable" in live.failures[1]


def test_labels_that_were_there_are_learned_at_once(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "abc")
    (folder / "labels").mkdir()
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(folder / "labels" / "a.png")
    with running(folder) as (annotated, live):
        live.wait_for(is_done)
        assert live.predictions.keys() == {1, 2}
        assert annotated.classes.keys() == {7}


def test_weights_that_cannot_be_loaded_are_told(tmp_path: Path) -> None:
    def fail() -> Segmenter:
        message = "weights are damaged: expected others."
        raise ValueError(message)

    with running(plain_folder(tmp_path / "in"), fail) as (_, live):
        live.wait_for(lambda progress: bool(progress.error))
        assert "weights are damaged" in live.progress.error


def test_closing_ends_it_in_the_middle(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "abcdefgh")
    with running(folder) as (annotated, live):
        draw_and_accept(annotated)
        live.examples_changed()
        with live.told:
            assert live.told.wait_for(lambda: live.order, PATIENCE_S)
        live.close()
        assert live.progress.stage == "predicting"
