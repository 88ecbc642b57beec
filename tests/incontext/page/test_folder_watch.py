"""Folders that change while they are annotated: images join, go and come back, and strokes stay."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext.page.folder_watch import FolderWatch
from incontext.page.store import AnnotatedFolder
from tests.incontext.page.test_live import Watched, is_done, running
from tests.incontext.page.test_store import SQUARE, draw_and_accept, plain_folder
from tests.killed_runs import drawn

Given = tuple[AnnotatedFolder, Watched, FolderWatch]


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Given]:
    with running(plain_folder(tmp_path / "in", "ab")) as (annotated, live):
        draw_and_accept(annotated)
        live.examples_changed()
        live.wait_for(lambda progress: is_done(progress) and live.predictions.keys() == {1})
        yield annotated, live, FolderWatch(annotated, live, live.hear)


def add(folder: Path, name: str) -> Path:
    Image.fromarray(drawn(9)[0][0]).save(folder / name)
    return folder / name


def test_images_that_join_are_listed_and_segmented_once_they_are_whole(given: Given) -> None:
    annotated, live, watch = given
    assert watch.look() == []
    path = add(annotated.folder, "aa.png")
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    assert watch.look() == []
    path.write_bytes(whole)
    assert watch.look() == []  # it has changed since
    assert watch.look() == [2]
    assert [image.name for image in annotated.images] == ["a.png", "b.png", "aa.png"]
    live.wait_for(lambda progress: is_done(progress) and live.predictions.keys() == {1, 2})
    assert watch.look() == []
    draw_and_accept(annotated, 2)
    assert (annotated.folder / "labels" / "aa.png").is_file()
    assert watch.look() == []  # what the page writes is no news


def test_an_image_that_joins_with_its_label_is_an_example(given: Given) -> None:
    annotated, live, watch = given
    before = live.predictions[1].round
    Image.fromarray(drawn(9)[1][0]).save(annotated.folder / "labels" / "c.png")
    add(annotated.folder, "c.png")
    assert [watch.look(), watch.look()] == [[], [2]]
    assert annotated.images[2].state == "accepted"
    live.wait_for(lambda progress: is_done(progress) and live.predictions[1].round > before)


def test_an_image_that_goes_and_comes_back_loses_nothing(given: Given) -> None:
    annotated, _, watch = given
    path, elsewhere = annotated.folder / "b.png", annotated.folder.parent / "b.png"
    annotated.open(1).drawing.stroke(0, SQUARE, "brush")
    annotated.noticed(1)
    path.rename(elsewhere)
    assert watch.look() == [1]
    assert annotated.images[1].is_missing
    assert annotated.images[1].state == "drawn"
    elsewhere.rename(path)
    assert watch.look() == [1]
    assert not annotated.images[1].is_missing
    assert annotated.open(1).drawing.planes.sum() == 81


def test_an_image_that_could_not_be_read_is_tried_again_when_it_has_changed(given: Given) -> None:
    annotated, live, watch = given
    path = add(annotated.folder, "c.png")
    whole = path.read_bytes()
    path.write_bytes(b"no picture")
    assert [watch.look(), watch.look()] == [[], [2]]
    live.wait_for(lambda progress: is_done(progress) and 2 in live.failures)
    assert watch.look() == []
    path.write_bytes(whole)
    assert watch.look() == [2]
    live.wait_for(lambda progress: is_done(progress) and 2 in live.predictions)
    assert not live.failures


def test_a_folder_that_cannot_be_read_anew_says_so_until_it_can(given: Given) -> None:
    annotated, _, watch = given
    (annotated.folder / "a.png").rename(annotated.folder / "z.png")
    assert watch.look() == [0]
    (told,) = annotated.notes
    assert "labels share no name with images" in told
    assert np.count_nonzero(annotated.open(0).drawing.planes) == 81
    (annotated.folder / "labels" / "a.png").rename(annotated.folder / "labels" / "z.png")
    add(annotated.folder, "c.png")
    watch.look()
    assert annotated.notes == ()
    assert len(watch.look()) == 2
