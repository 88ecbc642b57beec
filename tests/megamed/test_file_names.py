"""Files of a folder are found without going round in circles, and pipes among them are not opened."""

import os
from pathlib import Path, PurePosixPath

import pytest

from megamed import file_names
from megamed.file_names import take_apart, visible_files
from megamed.pairing import find_pairs
from megamed.pixels import read_image
from megamed.readers.source import Source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plain = ["images/a.png", "labels/a.png", "results/run.log", "results/c.png"]
    for name in (*plain, "images/.hidden.png", ".cache/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(folder: Path, *marks: str) -> list[str]:
    return [path.as_posix() for path in visible_files(folder, marks)]


def test_visible_files_come_in_order_without_marked_folders(folder: Path) -> None:
    (folder / "z.png").touch()
    assert found(folder, "run.log") == ["z.png", "images/a.png", "labels/a.png"]
    assert "results/c.png" in found(folder)


def test_links_that_lead_back_are_not_followed(folder: Path) -> None:
    """Two links in each of two folders would make more paths than anyone can list."""
    right = found(folder)
    for name in ("images", "labels", "results"):
        for number in range(2):
            (folder / name / f"up{number}").symlink_to(folder)
    (folder / "images" / "self.png").symlink_to(folder / "images" / "self.png")
    assert found(folder) == ["images/a.png", "images/self.png", *right[1:]]


def test_other_links_are_followed(folder: Path) -> None:
    (folder / "more").symlink_to(folder / "images")
    assert "more/a.png" in found(folder)


def test_a_case_name_may_hold_a_newline() -> None:
    name = take_apart(PurePosixPath("a\nb_mask.png"))
    assert (name.case, name.suffix, name.is_label) == ("a\nb", "_mask", True)


def test_endless_folders_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links to each other's neighbours go round no circle, but double from folder to folder."""
    monkeypatch.setattr(file_names, "MOST_FILES", 1000)
    for number in range(12):
        (folder / f"d{number}").mkdir()
        for side in "lr":
            (folder / f"d{number}" / side).symlink_to(folder / f"d{number + 1}")
    with pytest.raises(ValueError, match="is too large to look through: expected at most 1000 files"):
        found(folder)


def test_a_pipe_is_left_out_with_a_note(folder: Path) -> None:
    """It would be waited for without end."""
    os.mkfifo(folder / "images" / "b.png")
    os.mkfifo(folder / "labels" / "b.png")
    streams: list[PurePosixPath] = []
    assert "images/b.png" not in [path.as_posix() for path in visible_files(folder, (), streams)]
    assert streams == [PurePosixPath("images/b.png"), PurePosixPath("labels/b.png")]
    note = "images/b.png is left out, for it is a pipe, socket or device, and so are 1 others."
    assert note in find_pairs(folder).notes
    with pytest.raises(ValueError, match=r"b\.png cannot be read: expected a file, got a pipe"):
        read_image(Source((folder / "images/b.png",)))
