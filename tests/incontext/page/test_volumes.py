"""Propagation through a volume of the page: as the segmenter does it, and what was drawn stays."""

from pathlib import Path

import numpy as np
import pytest

from incontext import Segmenter, read_source_image
from incontext.page.store import AnnotatedFolder, opened
from incontext.page.volumes import PropagationTask, put
from megamed.unknown import UNKNOWN
from tests.incontext.page.test_live import is_done, running
from tests.incontext.page.test_store import SIDE, SQUARE, segmenter
from tests.killed_runs import drawn, write_stack

NAMES = {1: "disc", 2: "rim"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    write_stack(tmp_path / "in" / "a.tif", drawn(0, 5)[0])
    return tmp_path / "in"


def draw(annotated: AnnotatedFolder) -> None:
    annotated.open(0).drawing.stroke(1, SQUARE, "brush")
    annotated.open(0).drawing.stroke(3, {1: [0, 40]}, "brush")


def test_planes_are_found_as_the_segmenter_finds_them_and_drawn_ones_stay(folder: Path) -> None:
    with opened(folder) as annotated:
        draw(annotated)
        volume = annotated.open(0)
        task = PropagationTask.of(volume, NAMES)
        found, following = task.run(segmenter())
        volume.drawing.stroke(4, {1: [0, 7]}, "brush")  # meanwhile
        put(volume, found)
        planes = volume.drawing.planes.copy()
        assert volume.drawing.judged.all()
        volume.drawing.undo()
        assert volume.drawing.drawn == [1, 3, 4]
    labels = {index: planes[index] for index in (1, 3)}
    expected = segmenter().propagate(read_source_image(folder / "a.tif", "a"), labels, {1: "disc"})
    assert np.array_equal(planes[[0, 1, 2, 3]], expected.masks[0][[0, 1, 2, 3]])
    assert np.flatnonzero(planes[4]).tolist() == [*range(7)]
    assert following == expected.next_plane()


@pytest.mark.parametrize("empty", [0, UNKNOWN])
def test_planes_of_a_label_file_are_drawn_ones(folder: Path, empty: int) -> None:
    (folder / "labels").mkdir()
    label = np.full((5, SIDE, SIDE), empty, np.uint8)
    label[[1, 3]] = 0
    label[1, 8:17, 8:17] = label[3, 2:6, 2:6] = 1
    label[3, :, 20:] = empty
    write_stack(folder / "labels" / "a.tif", label)
    with opened(folder) as annotated:
        volume = annotated.open(0)
        assert volume.drawing.drawn == [1, 3]
        found, _ = PropagationTask.of(volume, NAMES).run(segmenter())
        put(volume, found)
        assert np.array_equal(volume.drawing.planes[[1, 3]], label[[1, 3]])
        assert UNKNOWN not in volume.drawing.planes[[0, 2, 4]]
        volume.drawing.stroke(4, {1: [0, 7]}, "brush")
    unknown = (UNKNOWN,) if empty else None
    shell = Segmenter(segmenter().weights, size_px=32, unknown=unknown)
    by_shell = shell.propagate(folder / "a.tif", folder / "labels" / "a.tif").masks[0]
    assert np.array_equal(found.planes[[0, 2, 4]], by_shell[[0, 2, 4]])
    with opened(folder) as annotated:  # as its log tells it
        assert annotated.open(0).drawing.drawn == [1, 3, 4]
        annotated.open(0).drawing.undo()
        annotated.open(0).drawing.undo()
        assert np.array_equal(annotated.open(0).drawing.planes, label)


def test_a_label_that_another_program_changed_counts_as_drawn(folder: Path) -> None:
    with opened(folder) as annotated:
        draw(annotated)
        path = annotated.accept(0)
    label = np.zeros((5, SIDE, SIDE), np.uint8)
    label[0, 3:9, 3:9] = 1
    write_stack(path, label)
    with opened(folder) as annotated:
        drawing = annotated.open(0).drawing
        assert drawing.drawn == [0, 1, 3]
        drawing.undo()
        assert drawing.drawn == [1, 3]


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, 1)])
def test_what_is_drawn_on_a_volume_is_found_where_it_is_shown(tmp_path: Path, signs: tuple[int, ...]) -> None:
    nibabel = pytest.importorskip("nibabel")
    array = np.random.default_rng(0).random((20, 24, 6)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*signs, 1.0]) @ np.diag([1.0, 1.0, 4.0, 1.0])), tmp_path / "a.nii")
    with opened(tmp_path) as annotated:
        volume = annotated.open(0)
        plane = volume.drawing.planes[2]
        volume.drawing.stroke(2, {1: [3, 50]}, "brush")
        found, _ = PropagationTask.of(volume, NAMES).run(segmenter())
        assert np.array_equal(found.planes[2], plane)


def test_without_a_structure_there_is_nothing_to_propagate(folder: Path) -> None:
    said = "got 5 slices, 0 of them drawn on"
    with opened(folder) as annotated, pytest.raises(ValueError, match=said):
        PropagationTask.of(annotated.open(0), NAMES)


def test_it_goes_on_in_the_background_without_any_example(folder: Path) -> None:
    with running(folder) as (annotated, live):
        live.wait_for(lambda progress: progress.stage == "waiting")
        draw(annotated)
        live.propagate(0)
        live.wait_for(lambda progress: 0 in live.propagated and progress.stage == "waiting")
        assert live.propagated[0].count == 1
        assert annotated.open(0).drawing.undoable == 3
        annotated.accept(0)
        live.examples_changed(0)
        live.wait_for(is_done)
