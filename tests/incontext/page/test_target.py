"""A folder of images that a user names, or one of results, whose images are found."""

import shutil
from pathlib import Path

import pytest

from incontext.folders import RUN_LOG
from incontext.folders.segment_folder import segment_folder
from incontext.page.target import PageOptions, Target, check_target
from tests.incontext.page.test_store import plain_folder, segmenter
from tests.killed_runs import write_images


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
