"""A folder of images that a user names, or one of results, whose images are found."""

import shutil
from pathlib import Path

import pytest

from incontext.folders import RUN_LOG
from incontext.folders.segment_folder import SegmentOptions, segment_folder
from incontext.page.target import PageOptions, Target, check_target, keep_task
from tests.incontext.page.test_store import plain_folder, segmenter
from tests.killed_runs import drawn, write_images


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results beside their images, which are called `in`, and the labelled ones, which are called `support`."""
    place = tmp_path / "study"
    place.mkdir()
    support, images = write_images(place / "support", ["x"]), plain_folder(place / "in")
    segment_folder(segmenter(), support, images, place / "out")
    return place / "out"


def test_results_lead_to_their_images_and_to_those_that_they_were_segmented_by(results: Path) -> None:
    target = Target.named(results, PageOptions())
    assert target.folder == results.parent / "in"
    assert target.options == PageOptions(results=results, support=results.parent / "support")
    labels = results.parent / "in" / "labels"
    assert target.note == (
        f"{results} holds results: their masks are corrected, and kept as labels in {labels}. "
        f"The labelled images of {results.parent / 'support'} are examples, too."
    )
    named = Target.named(results.parent / "in", PageOptions(results=results))
    assert (named.folder, named.options) == (target.folder, target.options)


def test_all_may_move_together(results: Path, tmp_path: Path) -> None:
    results.parent.rename(tmp_path / "elsewhere")
    assert Target.named(tmp_path / "elsewhere" / "out", PageOptions()).folder == tmp_path / "elsewhere" / "in"


def test_a_task_brings_its_own_examples_and_images_that_were_segmented_by_their_neighbours_are_read_once(
    results: Path, tmp_path: Path
) -> None:
    assert Target.named(results, PageOptions(task=Path("a.task"))).options.support is None
    folder = write_images(tmp_path / "both", ["x"])
    shutil.copy(results.parent / "in" / "a.png", folder / "images")
    segment_folder(segmenter(), folder, None, tmp_path / "out")
    target = Target.named(tmp_path / "out", PageOptions())
    assert (target.folder, target.options.support) == (folder, None)


def test_results_of_a_task_lead_to_it_and_tell_where_it_was(results: Path) -> None:
    study, saved = results.parent, results.parent / "x.task"
    saved.write_bytes(b"some task")
    learner = segmenter().fit([drawn(1)[0][0]], [drawn(1)[1][0]])
    segment_folder(learner, None, study / "in", study / "told", options=SegmentOptions(task=saved))
    target = Target.named(study / "told", PageOptions())
    assert target.options == PageOptions(task=saved, results=study / "told")
    assert target.note.endswith(f"The labelled images of {saved} are examples, too.")
    saved.unlink()
    target = Target.named(study / "told", PageOptions())
    assert target.options.task is None
    assert f"The task {saved} is gone: " in target.note


def test_a_folder_keeps_the_task_that_it_was_annotated_with(tmp_path: Path) -> None:
    folder, saved = plain_folder(tmp_path / "in"), tmp_path / "x.task"
    saved.write_bytes(b"some task")
    keep_task(folder, saved)
    target = Target.named(folder, PageOptions())
    assert target.options == PageOptions(task=saved)
    assert target.note.startswith(f"The labelled images of {saved} are examples, as before.")
    other = PageOptions(task=tmp_path / "y.task")
    assert Target.named(folder, other) == Target(folder, other)
    saved.unlink()
    assert Target.named(folder, PageOptions()).note.startswith(f"The task {saved} is gone: ")
    (folder / ".annotate" / "task.json").write_text("{")
    with pytest.raises(ValueError, match=r"task.json is damaged: .* Delete it"):
        Target.named(folder, PageOptions())


def test_a_task_on_a_hub_is_remembered_by_its_name(results: Path) -> None:
    folder, name = results.parent / "in", Path("me/my-task")
    keep_task(folder, name)
    target = Target.named(folder, PageOptions())
    assert target.options == PageOptions(task=name)
    assert target.note.startswith("The labelled images of me/my-task are examples, as before.")
    learner = segmenter().fit([drawn(1)[0][0]], [drawn(1)[1][0]])
    segment_folder(learner, None, folder, results.parent / "told", options=SegmentOptions(task=name))
    target = Target.named(results.parent / "told", PageOptions())
    assert target.options == PageOptions(task=name, results=results.parent / "told")
    assert target.note.endswith("The labelled images of me/my-task are examples, too.")


def test_results_of_one_image_lead_to_its_folder(results: Path, tmp_path: Path) -> None:
    images = results.parent / "in"
    segment_folder(segmenter(), results.parent / "support", images / "a.png", tmp_path / "one")
    assert Target.named(tmp_path / "one", PageOptions()).folder == images


def test_what_cannot_be_understood_is_refused_with_what_to_do(results: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got both"):
        Target.named(results, PageOptions(results=results))
    moved = shutil.move(results, tmp_path / "moved" / "away")
    with pytest.raises(FileNotFoundError, match=r"incontext annotate IMAGES --results .*away"):
        Target.named(moved, PageOptions())
    (moved / "summary.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds unfinished results: .* Give the `segment` command again"):
        Target.named(moved, PageOptions())
    with pytest.raises(FileNotFoundError, match="holds no results"):
        Target.named(tmp_path, PageOptions(results=tmp_path))
    with pytest.raises(ValueError, match="holds results"):
        check_target(moved)


def test_a_folder_of_images_is_as_it_is(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    (folder / "summary.json").write_text("[]")
    assert Target.named(folder, PageOptions()) == Target(folder, PageOptions())
    assert not (folder / RUN_LOG).exists()
