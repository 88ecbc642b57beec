"""What is remembered of files, and when they are looked at again."""

import os
from pathlib import Path

import pytest

from megamed.unchanged import while_unchanged


class Looking:
    """Counts how often a file is looked at."""

    def __init__(self) -> None:
        self.count = 0

    def at(self, path: Path, ending: str = "") -> str:
        self.count += 1
        return path.read_text() + ending


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("old")
    return path


def test_an_unchanged_file_is_looked_at_once_for_each_question(file: Path) -> None:
    looking = Looking()
    look = while_unchanged(most=2)(looking.at)
    assert [look(file), look(file), look(file, "!"), look(file, "!")] == ["old", "old", "old!", "old!"]
    assert looking.count == 2


@pytest.mark.parametrize(("content", "time_ns"), [("new", 5), ("longer", 4)])
def test_a_file_of_another_time_or_size_is_looked_at_again(file: Path, content: str, time_ns: int) -> None:
    look = while_unchanged(most=2)(Looking().at)
    os.utime(file, ns=(4, 4))
    assert look(file) == "old"
    file.write_text(content)
    os.utime(file, ns=(time_ns, time_ns))
    assert look(file) == content


def test_what_was_not_asked_for_longest_is_forgotten(file: Path) -> None:
    looking = Looking()
    look = while_unchanged(most=1)(looking.at)
    for ending in ("", "!", ""):
        look(file, ending)
    assert looking.count == 3


def test_nothing_is_remembered_of_a_file_that_is_not_there(file: Path) -> None:
    look = while_unchanged(most=1)(Looking().at)
    look(file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        look(file)
    file.write_text("back")
    assert look(file) == "back"
