"""Drawings with undo and redo without end, which are the same after a restart, whenever the process was killed."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incontext.page.drawing import Drawing
from incontext.page.stroke_log import StrokeLog

SHAPE = (2, 6, 8)
KILLS = 6
STEPS = st.lists(st.sampled_from(["a", "b", "c", "undo", "redo", "accept"]), max_size=20)
RUNS = {"a": {1: [0, 9]}, "b": {2: [5, 7], 0: [0, 2]}, "c": {1: [40, 8]}}


def opened(path: Path) -> Drawing:
    return Drawing(SHAPE, StrokeLog(path))


def do(drawing: Drawing, steps: Sequence[str]) -> None:
    for step in steps:
        if step in RUNS:
            drawing.stroke(0, RUNS[step], "brush")
        elif step == "accept":
            drawing.accept("hash")
        else:
            getattr(drawing, step)()


@settings(max_examples=25)
@given(STEPS)
def test_a_restart_changes_nothing(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    path = tmp_path_factory.mktemp("log") / "a.jsonl"
    before = opened(path)
    do(before, steps)
    after = opened(path)
    assert np.array_equal(after.planes, before.planes)
    assert (after.undoable, after.redoable, after.standing) == (before.undoable, before.redoable, before.standing)


@settings(max_examples=25)
@given(STEPS)
def test_all_can_be_undone_and_made_again(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    drawing = opened(tmp_path_factory.mktemp("log") / "a.jsonl")
    do(drawing, steps)
    drawn, count = drawing.planes.copy(), drawing.undoable
    for _ in range(count):
        assert drawing.undo()
    assert not drawing.planes.any()
    assert drawing.undo() is None
    for _ in range(count):
        assert drawing.redo()
    assert np.array_equal(drawing.planes, drawn)


@settings(max_examples=25)
@given(STEPS)
def test_patches_tell_what_changed(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    drawing = opened(tmp_path_factory.mktemp("log") / "a.jsonl")
    do(drawing, steps)
    shown = drawing.planes[0].copy().reshape(-1)
    while patch := drawing.undo():
        for value, flat in patch.runs.items():
            for start, length in zip(flat[::2], flat[1::2], strict=True):
                shown[start : start + length] = value
        assert np.array_equal(shown.reshape(SHAPE[1:]), drawing.planes[0])


def test_a_stroke_after_an_undo_forgets_what_was_undone(tmp_path: Path) -> None:
    drawing = opened(tmp_path / "a.jsonl")
    do(drawing, ["a", "b", "undo", "c"])
    assert drawing.redo() is None
    assert drawing.undoable == 2


def test_a_drawing_begins_with_what_was_there_and_never_loses_it(tmp_path: Path) -> None:
    drawing, base = opened(tmp_path / "a.jsonl"), np.full(SHAPE, 3, np.uint8)
    drawing.begin(base)
    assert not (tmp_path / "a.jsonl").exists()
    do(drawing, ["a", "undo", "undo"])
    assert np.array_equal(drawing.planes, base)
    assert np.array_equal(opened(tmp_path / "a.jsonl").planes, base)
    do(drawing, ["redo"])
    with pytest.raises(ValueError, match="drawing has begun"):
        drawing.begin(base)


def test_what_was_taken_back_is_done_again_on_what_the_drawing_begins_with_since(tmp_path: Path) -> None:
    drawing = opened(tmp_path / "a.jsonl")
    for value in (3, 4):
        drawing.begin(np.full(SHAPE, value, np.uint8))
        do(drawing, ["redo", "redo"] if value == 4 else ["a", "b"])
        for each in (drawing, opened(tmp_path / "a.jsonl")):
            assert np.count_nonzero(each.planes == value) == each.planes.size - 12
            assert each.undoable == 2
        do(drawing, ["undo", "undo"])
        assert (drawing.planes == value).all()
        assert not drawing.standing.is_drawn


def test_all_planes_can_be_replaced_and_taken_back(tmp_path: Path) -> None:
    drawing = opened(tmp_path / "a.jsonl")
    do(drawing, ["a"])
    before = drawing.planes.copy()
    drawing.replace(np.full(SHAPE, 2, np.uint8), "prediction")
    patch = drawing.undo()
    assert patch
    assert patch.plane is None
    assert np.array_equal(drawing.planes, before)


def test_a_log_of_another_image_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "a.jsonl").replace(np.ones(SHAPE, np.uint8), "label")
    with pytest.raises(ValueError, match="log is of another image"):
        Drawing((1, 2, 2), StrokeLog(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_line_that_a_kill_cut_off_is_taken_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl"
    do(opened(path), ["a", "b"])
    path.write_bytes(path.read_bytes()[:-cut])
    drawing = opened(path)
    assert drawing.undoable == 1
    do(drawing, ["c"])
    assert opened(path).undoable == 2


def test_a_full_disk_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    drawing = opened(path)
    do(drawing, ["a"])

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="room on the disk"):
        do(drawing, ["b"])
    monkeypatch.undo()
    assert drawing.undoable == opened(path).undoable == 1


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Strokes are drawn without pause by a process that tells of each, and that is killed in the middle."""
    path = tmp_path / "a.jsonl"
    for attempt in range(KILLS):
        known = opened(path).undoable
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            drawing = opened(path)
            for number in range(10_000):
                drawing.stroke(0, {1 + number % 3: [number % 40, 8]}, "brush")
                os.write(writing, b".")
            os._exit(1)
        os.close(writing)
        told = len(os.read(reading, 1))
        time.sleep(0.003 * attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := len(os.read(reading, 2**16)):
            told += more
        os.close(reading)
        assert 0 <= opened(path).undoable - known - told <= 1


def test_a_plane_whose_prompts_were_all_withdrawn_was_not_drawn_on(tmp_path: Path) -> None:
    """Else an example would say that nothing is there, and no propagation would find it."""
    drawing = opened(tmp_path / "a.jsonl")
    drawing.stroke(1, RUNS["a"], "brush")
    said = {"kind": "click", "points": [[0, 0]], "value": 1, "inside": True}
    drawing.stroke(0, RUNS["a"], "click", said)
    drawing.stroke(0, {0: [0, 9]}, "withdraw", withdrawn=1)
    for each in (drawing, opened(tmp_path / "a.jsonl")):
        assert (each.drawn, each.judged.tolist()) == ([1], [False, True])
    drawing.undo()
    assert (drawing.drawn, drawing.judged.all()) == ([0, 1], True)
