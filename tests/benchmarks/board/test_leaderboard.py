"""A folder of entries becomes a page, from which every forged one is missing."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from benchmarks.board.entry import Submission, make_entry, write_entry
from benchmarks.board.leaderboard import entry_lines, make_leaderboard, read_board
from benchmarks.board.signature import public_text
from benchmarks.cli import app
from benchmarks.plans.frozen_lists import FrozenList
from tests.benchmarks.reports.test_page import BROWSER, QUIET, Outline

STRANGER = Ed25519PrivateKey.generate()


def renamed(entry: Submission, name: str, key: Ed25519PrivateKey, **about: str) -> Submission:
    told = entry.about.model_copy(update={"name": name, **about})
    return entry.model_copy(update={"about": told}).sealed(key)


def test_commands_enter_and_rank(run: Path, frozen_list: Path, key_file: Path, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_bytes(frozen_list.read_bytes())
    for name in ("nearest-copy", "mean-mask"):
        arguments = [run, "--list", frozen_list, "--predictor", name, "--name", f"The {name}", "--by", "us"]
        arguments += ["--trained-on", "nothing", "--key", key_file, "--out", tmp_path / f"{name}.json"]
        result = CliRunner().invoke(app, ["submit", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"{tmp_path / name}.json: 8 predictions of list ")
    result = CliRunner().invoke(app, ["leaderboard", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/leaderboard.html: 2 entries\n")
    page = (tmp_path / "leaderboard.html").read_text()
    assert page.index("The nearest-copy") < page.index("The mean-mask")
    assert page.count(f"<td>{version('incontext-seg')}</td>") == 2
    assert "of 1 dataset, 4 subjects, with" in page
    assert Outline(page).open == []


def test_what_a_board_would_refuse_is_not_entered(run: Path, frozen_list: Path, key_file: Path, tmp_path: Path) -> None:
    arguments = ["submit", run, "--list", frozen_list, "--predictor", "mean-mask", "--name", "m", "--key", key_file]
    arguments += ["--out", tmp_path / "m.json"]
    learned = CliRunner().invoke(app, [*map(str, arguments), "--trained-on", "squares"])
    assert (learned.exit_code, "was trained on squares" in learned.stderr) == (1, True)
    part = tmp_path / "part"
    part.mkdir()
    for name in ("settings.json", "summary.json", "costs.csv"):
        (part / name).write_bytes((run / name).read_bytes())
    lines = (run / "rows.csv").read_bytes().splitlines(keepends=True)
    (part / "rows.csv").write_bytes(b"".join(lines[:1] + lines[2:]))
    arguments[1] = part
    lacking = CliRunner().invoke(app, [*map(str, arguments), "--trained-on", "nothing"])
    assert (lacking.exit_code, "lacks predictions" in lacking.stderr) == (1, True)
    assert not (tmp_path / "m.json").exists()


def test_scores_are_those_of_the_run(board: Callable[..., Path], run: Path) -> None:
    _, made = make_leaderboard(board())
    told = json.loads((run / "summary.json").read_text())["overall"]["nearest-copy"]["mean"]
    assert f"{100 * told:.1f} (" in (made.entries["copy"].path.parent / "leaderboard.html").read_text()


def test_a_forged_entry_is_refused_and_named_and_the_others_stay(board: Callable[..., Path], entry: Submission) -> None:
    row = entry.rows.splitlines()[1]
    cells = row.split(",")
    better = ",".join("0.987654" if name == "dice" else cell for name, cell in zip(header(entry), cells, strict=True))
    forged = entry.model_copy(update={"rows": entry.rows.replace(row, better)})
    folder = board(changed=forged, resealed=renamed(forged, "resealed", STRANGER))
    result = CliRunner().invoke(app, ["leaderboard", str(folder)])
    assert result.exit_code == 3
    assert re.search(r"^refused: \S+changed\.json was changed", result.stderr, re.MULTILINE)
    assert re.search(r"^refused: \S+resealed\.json has a row that no mask has", result.stderr, re.MULTILINE)
    page = (folder / "leaderboard.html").read_text()
    assert "resealed.json has a row that no mask has" in page
    assert '<th scope="row">resealed' not in page


def header(entry: Submission) -> list[str]:
    return entry.rows.splitlines()[0].split(",")


def test_strangers_are_refused_where_keys_are_listed(
    board: Callable[..., Path], entry: Submission, key: Ed25519PrivateKey
) -> None:
    folder = board(b=renamed(entry, "other", STRANGER))
    assert set(read_board(folder, folder / "list.json").entries) == {"copy", "other"}
    (folder / "keys").write_text(f"{public_text(key)} Ada\n")
    page, made = make_leaderboard(folder)
    assert set(made.entries) == {"copy"}
    assert "is signed by a stranger" in made.refused["b.json"]
    assert "(Ada)" in page.read_text()


def test_a_missing_file_of_keys_lets_nobody_in(board: Callable[..., Path]) -> None:
    folder = board()
    with pytest.raises(FileNotFoundError, match="is missing: expected a file of the public keys"):
        make_leaderboard(folder, keys=folder / "keyz")
    (folder / "keys").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="is missing: expected a file of the public keys"):
        make_leaderboard(folder)


def test_no_name_of_a_file_keeps_the_others_from_the_page(board: Callable[..., Path]) -> None:
    folder = board()
    (folder / "z.json").symlink_to("z.json")
    (folder / "a\nb\x1b[31m.json").write_text("{}")
    with open(os.fsencode(folder) + b"/\xff.json", "wb") as file:
        file.write(b"{}")
    page, made = make_leaderboard(folder)
    assert set(made.entries) == {"copy"}
    assert len(made.refused) == 3
    assert all(text.isprintable() for each in made.refused.items() for text in each)
    assert "udcff.json is no entry" in page.read_text(encoding="utf-8")


def test_of_one_day_the_later_entry_counts(
    board: Callable[..., Path], entry: Submission, key: Ed25519PrivateKey
) -> None:
    morning, noon = (entry.model_copy(update={"date": f"9999-01-01T{time}+00:00"}) for time in ("08:00:00", "12:00:00"))
    folder = board(b=noon.sealed(key), c=morning.sealed(key))
    made = read_board(folder, folder / "list.json")
    assert made.entries["copy"].path.name == "b.json"
    assert [line.date for line in entry_lines(made)] == ["9999-01-01"]


def test_a_name_belongs_to_its_key_and_its_latest_entry_counts(
    board: Callable[..., Path], entry: Submission, key: Ed25519PrivateKey
) -> None:
    later = entry.model_copy(update={"date": "9999-01-01"}).sealed(key)
    folder = board(b=later, c=renamed(entry, "COPY\u200b ", STRANGER))
    (folder / "d.json").mkdir()
    made = read_board(folder, folder / "list.json")
    assert made.entries["copy"].path.name == "b.json"
    assert "entered again" in made.refused["a.json"]
    assert "another key entered it or one like it before: b.json" in made.refused["c.json"]
    assert "directory" in made.refused["d.json"]


def test_no_name_of_a_file_takes_the_name_of_an_earlier_entry(board: Callable[..., Path], entry: Submission) -> None:
    later = entry.model_copy(update={"date": "9999-01-01"})
    folder = board(**{"0": renamed(later, "copy", STRANGER)})
    made = read_board(folder, folder / "list.json")
    assert made.entries["copy"].path.name == "a.json"
    assert set(made.refused) == {"0.json"}


def test_without_entries_or_list_there_is_no_page(tmp_path: Path, frozen_list: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected the frozen list"):
        make_leaderboard(tmp_path)
    (tmp_path / "list.json").write_bytes(frozen_list.read_bytes())
    with pytest.raises(ValueError, match="has no valid entry: expected one at least, got none at all"):
        make_leaderboard(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match=r"got \S+a\.json is no entry"):
        make_leaderboard(tmp_path)
    assert not (tmp_path / "leaderboard.html").exists()


def test_ten_entries_in_a_browser(
    board: Callable[..., Path], entry: Submission, run: Path, frozen: FrozenList, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    mean = make_entry(run, frozen, "mean-mask", entry.about.model_copy(update={"name": "mean <b>"}))
    folder = board(mean=mean.sealed(key))
    for number in range(8):
        link = "https://example.org/?a=1&b=\"'" if number else ""
        write_entry(folder / f"{number}.json", renamed(entry, f"entry {number}", STRANGER, link=link))
    page, made = make_leaderboard(folder)
    assert (len(made.entries), made.refused) == (10, {})
    if BROWSER is None:
        pytest.skip("no Chromium here")
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.name]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8", timeout=600)
    assert "CONSOLE" not in done.stderr
    entries = done.stdout[done.stdout.index('id="entries"') : done.stdout.index('id="figures"')]
    assert entries.count('<th scope="row">') == 10
    assert "mean &lt;b&gt;" in entries
