"""Folders that are annotated: states, labels as the shell takes them, and nothing that is overwritten."""

import json
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext import Segmenter, read_label_image, read_source_image
from incontext.folders.folder_images import read_folder
from incontext.folders.segment_folder import segment_folder
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.page.drawn_classes import DrawnClass
from incontext.page.store import STORE, AnnotatedFolder, OpenImage, opened
from tests.dicom_files import series_affine, write_series
from tests.killed_runs import drawn, write_images, write_stack

SIDE = 32
SQUARE = {1: [each for row in range(8, 17) for each in (row * SIDE + 8, 9)]}
"""A square of nine pixels as runs."""


def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)), size_px=32)


def plain_folder(folder: Path, names: Iterable[str] = "abc") -> Path:
    """Write images without labels at the top of a folder."""
    folder.mkdir()
    for seed, name in enumerate(names):
        Image.fromarray(drawn(seed)[0][0]).save(folder / f"{name}.png")
    return folder


def draw_and_accept(annotated: AnnotatedFolder, index: int = 0, plane: int = 0) -> Path:
    annotated.open(index).drawing.stroke(plane, SQUARE, "brush")
    return annotated.accept(index)


def test_states_follow_what_is_done(tmp_path: Path) -> None:
    with opened(plain_folder(tmp_path / "in")) as annotated:
        assert [image.state for image in annotated.images] == ["bare"] * 3
        annotated.open(1).drawing.stroke(0, SQUARE, "brush")
        annotated.noticed(1)
        assert annotated.images[1].state == "drawn"
        annotated.accept(1)
        assert annotated.images[1].state == "accepted"
    with opened(tmp_path / "in") as annotated:
        assert [image.state for image in annotated.images] == ["bare", "accepted", "bare"]
        annotated.open(1).drawing.undo()
        annotated.noticed(1)
        assert annotated.images[1].state == "drawn"
        assert annotated.images[1].is_example
        annotated.open(1).drawing.redo()
        annotated.noticed(1)
        assert annotated.images[1].state == "accepted"
        annotated.open(0).drawing.stroke(0, SQUARE, "brush")
        annotated.open(0).drawing.undo()
    (tmp_path / "in" / "labels" / "b.png").unlink()
    with opened(tmp_path / "in") as annotated:
        assert [image.state for image in annotated.images] == ["bare", "drawn", "bare"]
        assert annotated.open(0).drawing.redoable == 1


@pytest.mark.parametrize("place", ["", "images", "images/p1"])
def test_accepted_masks_are_a_support_for_the_shell(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "in"
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    if place:
        folder.mkdir(exist_ok=True)
    plain_folder(folder / place)
    with opened(folder, {1: "nodule"}) as annotated:
        path = draw_and_accept(annotated)
    assert path.is_relative_to(folder / "labels")
    (labelled,) = read_folder(folder).labelled
    assert labelled.files[1:] == (path,)
    fitted = segmenter()
    summary = segment_folder(fitted, folder, None, tmp_path / "out")
    assert summary.classes == {1: "nodule"}
    assert sorted(report.file for report in summary.images) == ["b.png", "c.png"]
    assert np.count_nonzero(np.asarray(Image.open(path))) == 81


def test_volumes_and_stacks_keep_their_formats(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    folder = tmp_path / "in"
    folder.mkdir()
    planes = drawn(0, 3)[0]
    write_stack(folder / "b.tif", planes)
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(planes, 0, 2), np.diag([1.0, 1.0, 4.0, 1.0])), folder / "a.nii.gz")
    with opened(folder) as annotated:
        for index, name in enumerate(["a.nii.gz", "b.tif"]):
            path = draw_and_accept(annotated, index, plane=1)
            assert path == folder / "labels" / name
            case = read_source_image(folder / name, name)
            label = read_label_image(path, name, case)
            assert np.array_equal(label.planes, annotated.open(index).drawing.planes)
            assert label.planes[1].sum() == label.planes.sum() == 81


def test_planes_on_which_nothing_was_drawn_are_unknown(tmp_path: Path) -> None:
    """Else a volume of which one plane was drawn would be an example of seven without the structure."""
    folder = tmp_path / "in"
    folder.mkdir()
    planes = drawn(0, 3)[0]
    image = read_source_image(write_stack(folder / "a.tif", planes), "image")
    with opened(folder) as annotated:
        label = read_label_image(draw_and_accept(annotated, plane=1), "label", image)
        assert label.unknown is not None
        assert np.flatnonzero((~label.unknown).any((1, 2))).tolist() == [1]
        annotated.open(0).drawing.replace(np.zeros(planes.shape, np.uint8), "predicted")
        label = read_label_image(annotated.accept(0), "label", image)
        assert label.unknown is None
        assert not label.planes.any()
    with opened(folder) as annotated:
        assert annotated.open(0).drawing.judged.all()
        annotated.open(0).drawing.undo()
        assert annotated.open(0).drawing.judged.tolist() == [each == 1 for each in range(len(planes))]


@pytest.mark.parametrize(("is_whole", "suffix"), [(True, ".dcm"), (False, ".nii.gz")])
def test_a_series_is_one_image(tmp_path: Path, is_whole: bool, suffix: str) -> None:
    """DICOM-SEG knows nothing of planes that nobody judged, so that a volume takes its place for these."""
    affine = series_affine(np.eye(3), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    write_series(tmp_path / "in" / "scan", drawn(0, 5)[0].astype(int), affine)
    with opened(tmp_path / "in") as annotated:
        assert len(annotated.images) == 1
        if is_whole:
            annotated.open(0).drawing.replace(np.zeros((5, SIDE, SIDE), np.uint8), "predicted")
        path = draw_and_accept(annotated, plane=2)
        planes = annotated.open(0).drawing.planes.copy()
    assert path.name == f"scan{suffix}"
    with opened(tmp_path / "in") as annotated:
        assert annotated.images[0].state == "accepted"
        assert np.array_equal(annotated.open(0).drawing.planes, planes)
    (pair,) = read_folder(tmp_path / "in").labelled
    assert pair.image == tmp_path / "in" / "scan"
    label = read_label_image(path, "label", read_source_image(pair.image, "image"))
    assert set(np.unique(label.planes)) == {0, 1}
    assert (label.unknown is None) == is_whole


def test_labels_of_somebody_else_are_shown_and_kept_when_they_are_replaced(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", ["a", "b"])
    before = (folder / "labels" / "a.png").read_bytes()
    with opened(folder) as annotated:
        assert [image.state for image in annotated.images] == ["accepted"] * 2
        found = annotated.open(0).drawing.planes
        assert np.array_equal(found, drawn(0)[1])
        assert annotated.accept(0) == folder / "labels" / "a.png"  # nothing was drawn
        assert not (folder / STORE).exists()
        annotated.open(0).drawing.stroke(0, {1: [0, 5]}, "brush")
        assert annotated.accept(0) == folder / "labels" / "a.png"
        (kept,) = (folder / STORE / "replaced").iterdir()
        assert kept.read_bytes() == before
        annotated.open(0).drawing.stroke(0, {1: [5, 5]}, "brush")
        annotated.accept(0)
        assert len([*(folder / STORE / "replaced").iterdir()]) == 1
    mask = np.asarray(Image.open(folder / "labels" / "a.png"))
    assert mask.sum() == drawn(0)[1].sum() + 10


def test_a_label_that_another_program_changed_is_shown_and_can_be_taken_back(tmp_path: Path) -> None:
    with opened(plain_folder(tmp_path / "in")) as annotated:
        path = draw_and_accept(annotated)
    Image.fromarray(np.full((SIDE, SIDE), 1, np.uint8)).save(path)
    with opened(tmp_path / "in") as annotated:
        drawing = annotated.open(0).drawing
        assert drawing.planes.all()
        drawing.undo()
        assert drawing.planes.sum() == 81


def test_classes_are_kept_and_written_where_names_are_looked_for(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    with opened(folder, {1: "disc", 2: "rim"}) as annotated:
        annotated.classes.keep([*annotated.classes.values(), DrawnClass(7, "spot", "#ff00ff")])
        annotated.open(0).drawing.stroke(0, {7: [0, 40]}, "brush")
        annotated.accept(0)
        with pytest.raises(ValueError, match="classes share names"):
            annotated.classes.keep([DrawnClass(1, "a", "#ff00ff"), DrawnClass(2, "a", "#ff00ff")])
    with opened(folder) as annotated:
        assert {value: each.name for value, each in annotated.classes.items()} == {1: "disc", 2: "rim", 7: "spot"}
    fitted = segmenter()
    assert segment_folder(fitted, folder, None, tmp_path / "out").classes == {7: "spot"}


def test_names_that_somebody_wrote_stay(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    (folder / "labels").mkdir()
    (folder / "labels" / "labels.txt").write_text('1 255 0 0 1 1 1 "mine"\n')
    with opened(folder) as annotated:
        draw_and_accept(annotated)
    assert (folder / "labels" / "labels.txt").read_text() == '1 255 0 0 1 1 1 "mine"\n'


def test_a_folder_has_one_annotator_at_a_time(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    with opened(folder), pytest.raises(ValueError, match="is in use: expected to annotate there alone"):
        opened(folder).__enter__()
    with opened(folder):
        pass
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png", "c.png"]


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", Path(__file__)):
        with pytest.raises(NotADirectoryError, match="is no folder"):
            opened(path).__enter__()


def test_results_are_refused_with_the_way_to_correct_them(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "out")
    (folder / "progress.jsonl").touch()
    with pytest.raises(ValueError, match=r"add --results .*out"):
        opened(folder).__enter__()


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    (tmp_path / "elsewhere").mkdir()
    (folder / "labels").symlink_to(tmp_path / "elsewhere")
    with opened(folder) as annotated, pytest.raises(ValueError, match="leads out of"):
        draw_and_accept(annotated)
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_strokes_are_kept_under_names_of_the_images(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "ab")
    with opened(folder) as annotated:
        annotated.open(1).drawing.stroke(0, SQUARE, "brush")
        (log,) = (folder / STORE / "strokes").iterdir()
        assert json.loads(log.read_text())["tool"] == "brush"
    Image.fromarray(drawn(5)[0][0]).save(folder / "aa.png")
    with opened(folder) as annotated:
        assert [image.state for image in annotated.images] == ["bare", "bare", "drawn"]


def test_an_image_is_open_once_whoever_asks_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two drawings of one image would not know of each other's strokes."""
    with opened(plain_folder(tmp_path / "in")) as annotated:
        read, both = annotated._read, threading.Barrier(2)

        def reading(index: int) -> OpenImage:
            with suppress(threading.BrokenBarrierError):
                both.wait(0.2)
            return read(index)

        monkeypatch.setattr(annotated, "_read", reading)
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(annotated.open, [0, 0])
        assert first is second
