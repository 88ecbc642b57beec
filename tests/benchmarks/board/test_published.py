"""The leaderboard that is published: valid entries on a page that a browser shows, and no forged one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.board.entry import read_entry
from benchmarks.board.leaderboard import read_board
from tests.benchmarks.reports.test_page import BROWSER, QUIET, Outline

ENTRIES = 10


@pytest.fixture(scope="module")
def published(repository: Path) -> Path:
    return repository / "docs/board"


def names_on(page: str) -> set[str]:
    entries = page[page.index('id="entries"') : page.index('id="figures"')]
    return set(re.findall(r'<th scope="row">([^<]+)</th>', entries))


def test_every_entry_is_valid_and_on_the_page_and_a_forged_one_is_not(published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "board"
    shutil.copytree(published, folder)
    text = (folder / "packaged.json").read_text()
    forged = text.replace(",0.9", ",0.8", 1)
    assert forged != text
    (folder / "forged.json").write_text(forged)
    board = read_board(folder, folder / "list.json")
    assert list(board.refused) == ["forged.json"]
    assert "was changed" in board.refused["forged.json"]
    page = (published / "leaderboard.html").read_text()
    assert names_on(page) == board.entries.keys()
    assert len(board.entries) == ENTRIES
    assert Outline(page).open == []
    assert board.frozen.licenses
    assert all(name in page.replace("<wbr>", "") for name in board.frozen.licenses)


def test_a_browser_shows_it_without_a_complaint(published: Path, tmp_path: Path) -> None:
    if BROWSER is None:
        pytest.skip("no Chromium here")
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", "leaderboard.html"]
    done = subprocess.run(command, cwd=published, check=True, capture_output=True, encoding="utf-8", timeout=600)
    assert "CONSOLE" not in done.stderr
    assert len(names_on(done.stdout)) == ENTRIES


def test_entries_are_those_of_one_key(published: Path) -> None:
    paths = [path for path in published.glob("*.json") if path.name != "list.json"]
    assert len({read_entry(path).key for path in paths}) == 1
