"""Prompts of the page: obeyed where the screen shows them, and no pixel changed that they are not about."""

from pathlib import Path

import numpy as np
import pytest

from incontext import read_source_image
from incontext.images.source_image import SourceImage
from incontext.inference.planes import CasePrediction
from incontext.page.drawing import Drawing
from incontext.page.prompting import PlaneEditor, Prompter
from incontext.page.runs import Runs
from incontext.page.store import OpenImage
from incontext.page.stroke_log import StrokeLog
from tests.incontext.inference.test_editor import segmenter, taught

Drawn = np.ndarray


def changed(drawn: Drawn, runs: Runs) -> Drawn:
    after = drawn.copy()
    after.reshape(-1)[runs.indices] = runs.values
    return after


@pytest.fixture
def case() -> SourceImage:
    return read_source_image(taught()[1], "image")


@pytest.fixture
def editor(case: SourceImage) -> PlaneEditor:
    return PlaneEditor(taught()[0], case, 0, 1)


def test_what_is_said_is_on_the_screen(editor: PlaneEditor, case: SourceImage) -> None:
    drawn = np.zeros(case.shape, np.uint8)
    drawn = changed(drawn, editor.answer("click", [(5, 7)], True, drawn))
    assert drawn[5, 7] == 1
    drawn = changed(drawn, editor.answer("scribble", [(5, 7), (5, 20)], False, drawn))
    assert (drawn[5, 7:21] != 1).all()
    editor.answer("box", [(2, 2), (20, 30)], True, drawn)


def test_a_word_makes_one_mask(editor: PlaneEditor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes as long as a third of the network."""
    made, on_grid = list[object](), CasePrediction.on_grid
    monkeypatch.setattr(CasePrediction, "on_grid", lambda *given: made.append(given) or on_grid(*given))
    drawn = editor.shown
    for count, place in enumerate([(5, 7), (20, 20)], start=1):
        drawn = changed(drawn, editor.answer("click", [place], True, drawn))
        assert len(made) == count
    assert np.array_equal(editor.shown == 1, drawn == 1)


def test_what_is_drawn_elsewhere_stays(editor: PlaneEditor, case: SourceImage) -> None:
    drawn = np.random.default_rng(0).integers(0, 3, case.shape).astype(np.uint8)
    after = changed(drawn, editor.answer("click", [(5, 7)], True, drawn))
    again = changed(after, editor.answer("click", [(5, 7)], True, after))
    assert after[5, 7] == 1
    assert np.array_equal(again, after)
    assert set(np.unique(after[after != drawn])) <= {0, 1, 2}


def test_a_prompt_that_was_undone_was_never_said(case: SourceImage) -> None:
    made = taught()[0]
    first, other = (PlaneEditor(made, case, 0, 1) for _ in range(2))
    drawn = np.zeros(case.shape, np.uint8)
    one = changed(drawn, first.answer("click", [(20, 22)], True, drawn))
    first.answer("click", [(3, 3)], True, one)
    left = changed(one, first.answer("click", [(30, 40)], True, one))
    one = changed(drawn, other.answer("click", [(20, 22)], True, drawn))
    assert np.array_equal(left, changed(one, other.answer("click", [(30, 40)], True, one)))


def test_a_prompt_that_is_withdrawn_was_never_said(case: SourceImage, tmp_path: Path) -> None:
    made = taught()[0]

    def drawn(name: str, *rows: int) -> OpenImage:
        opened, prompter = OpenImage(case, Drawing(case.planes.shape, StrokeLog(tmp_path / name))), Prompter()
        for row in rows:
            said = {"kind": "click", "points": [[row, row + 2]], "value": 1, "inside": True}
            runs = prompter.answer(made, opened, 0, said).told()
            opened.drawing.stroke(0, runs, "click", said)
        return opened

    many, few = drawn("many", 3, 20, 30), drawn("few", 3, 30)
    runs = Prompter().withdrawn(made, many, 1).told()
    many.drawing.stroke(0, runs, "withdraw", withdrawn=1)
    assert np.array_equal(many.drawing.planes, few.drawing.planes)
    assert [*many.drawing.prompts] == [0, 2]
    again = OpenImage(case, Drawing(case.planes.shape, StrokeLog(tmp_path / "many")))
    assert again.drawing.prompts == many.drawing.prompts
    again.drawing.stroke(0, Prompter().withdrawn(made, again, 2).told(), "withdraw", withdrawn=2)
    assert np.array_equal(again.drawing.planes, drawn("one", 3).drawing.planes)


def test_a_prompt_is_withdrawn_from_beneath_a_propagation(case: SourceImage, tmp_path: Path) -> None:
    """Planes that were prompted stay when others are found, and so hold the prompt once more."""
    made = taught()[0]
    opened = OpenImage(case, Drawing(case.planes.shape, StrokeLog(tmp_path / "log")))
    said = {"kind": "click", "points": [[20, 22]], "value": 1, "inside": True}
    opened.drawing.stroke(0, Prompter().answer(made, opened, 0, said).told(), "click", said)
    opened.drawing.replace(opened.drawing.planes.copy(), "propagate")
    opened.drawing.stroke(0, {2: [0, 9]}, "brush")
    opened.drawing.stroke(0, Prompter().withdrawn(made, opened, 0).told(), "withdraw", withdrawn=0)
    assert np.flatnonzero(opened.drawing.planes).tolist() == [*range(9)]


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_planes_of_a_volume_are_prompted_as_they_are_shown(
    tmp_path: Path, signs: tuple[int, ...], order: tuple[int, ...]
) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.eye(4)
    affine[:3, :3] = np.diag([*signs])[:, order] @ np.diag([1.0, 1.0, 4.0])
    array = np.random.default_rng(0).random((20, 24, 6)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "a.nii.gz")
    case = read_source_image(tmp_path / "a.nii.gz", "volume")
    editor = PlaneEditor(segmenter(), case, 2, 1)
    drawn = np.zeros(case.planes.shape[1:], np.uint8)
    drawn = changed(drawn, editor.answer("click", [(3, 5)], True, drawn))
    assert drawn[3, 5] == 1
    assert changed(drawn, editor.answer("click", [(3, 5)], False, drawn))[3, 5] == 0


def test_a_place_outside_is_refused(editor: PlaneEditor, case: SourceImage) -> None:
    with pytest.raises(ValueError, match="prompt is not on the image"):
        editor.answer("click", [(5, 70)], True, np.zeros(case.shape, np.uint8))
