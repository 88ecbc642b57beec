"""The page of a leaderboard: entries of a folder, verified and ranked by paired clustered intervals."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.analysis.summary import summarise
from benchmarks.board.entry import Submission, as_summary, read_entry, rows_of
from benchmarks.board.names import as_seen
from benchmarks.board.signature import fingerprint, read_allowed
from benchmarks.board.verification import Candidate, check_list, refuse_other_images
from benchmarks.plans.frozen_lists import FrozenList, read_list
from benchmarks.reports.gather import Results, SizeResults
from benchmarks.reports.page import EntryLine, render
from benchmarks.scoring.results import showing
from megamed.failures import one_line
from megamed.files import claimed_file, replace_file

LIST_NAME, KEYS_NAME, PAGE_NAME = "list.json", "keys", "leaderboard.html"


@dataclass(frozen=True)
class Board:
    """Verified entries of a leaderboard."""

    frozen: FrozenList
    entries: dict[str, Candidate]
    """Entries by name."""
    refused: dict[str, str]
    """Reasons against the others, by file name."""
    keys: dict[str, str] | None
    """Public keys that may sign: key → whose it is; None if any may."""


def make_leaderboard(
    folder: Path, frozen_list: Path | None = None, keys: Path | None = None, out: Path | None = None
) -> tuple[Path, Board]:
    """Verify the entries in a folder, and write the page that ranks them.

    Args:
        folder: Folder of entries, `*.json`.
        frozen_list: The list that all are of; by default `list.json` in the folder.
        keys: File of the public keys that may sign; by default `keys` in the folder. Without it, any may.
        out: Page to write; by default `leaderboard.html` in the folder.

    Returns:
        The path of the page, and the entries with those that were refused.

    Raises:
        FileNotFoundError: If there is no list.
        ValueError: If no entry is left, the list or the keys are damaged, or the page is somebody's own.
        ModuleNotFoundError: If the extra `leaderboard` is not installed.
    """
    board = read_board(folder, frozen_list or folder / LIST_NAME, keys)
    if not board.entries:
        reasons = "; ".join(board.refused.values()) or "none at all. Make some with `incontext-bench submit`."
        msg = f"{folder} has no valid entry: expected one at least, got {reasons}"
        raise ValueError(msg)
    page = render(results_of(board), entries=entry_lines(board))
    out = out or folder / PAGE_NAME
    with claimed_file(out, "leaderboard"):
        replace_file(out, page)
    return out, board


def read_board(folder: Path, frozen_list: Path, keys: Path | None = None) -> Board:
    """Read and verify the entries in a folder: see `make_leaderboard`."""
    if not frozen_list.is_file():
        msg = f"{frozen_list} is missing: expected the frozen list of the leaderboard. Name it by --list."
        raise FileNotFoundError(msg)
    frozen, own = read_list(frozen_list), folder / KEYS_NAME
    allowed = read_allowed(keys or own) if keys or os.path.lexists(own) else None
    candidates, refused = [], {}
    for path in sorted(folder.glob("*.json")):
        if os.path.realpath(path) == os.path.realpath(frozen_list):
            continue
        try:
            candidates.append(_verified(path, frozen, allowed))
        except (ValueError, OSError) as error:
            refused[one_line(path.name)] = one_line(str(error))
    for reasons in (refuse_other_images(candidates), _refuse_taken_names(candidates)):
        candidates = [each for each in candidates if each.path not in reasons]
        refused |= {one_line(path.name): one_line(reason) for path, reason in reasons.items()}
    return Board(frozen, {each.entry.about.name: each for each in candidates}, refused, allowed)


def _verified(path: Path, frozen: FrozenList, allowed: dict[str, str] | None) -> Candidate:
    entry = read_entry(path)
    if allowed is not None and entry.key not in allowed:
        msg = (
            f"{path} is signed by a stranger: expected a key of the list of keys, got {fingerprint(entry.key)}. "
            "Add the key, or sign with another."
        )
        raise ValueError(msg)
    candidate = Candidate(path, entry, tuple(rows_of(path, entry)))
    check_list(candidate, frozen)
    return candidate


def _refuse_taken_names(candidates: Sequence[Candidate]) -> dict[Path, str]:
    """Reasons against entries of a name that another has, by file.

    A name belongs to the key that entered it first, whatever the files are called; of that key's entries the latest
    stays.
    """
    of_name: dict[str, list[Candidate]] = {}
    for each in sorted(candidates, key=lambda each: each.entry.date):
        of_name.setdefault(as_seen(each.entry.about.name), []).append(each)
    refused: dict[Path, str] = {}
    for first, *others in of_name.values():
        own = [each for each in (first, *others) if each.entry.key == first.entry.key]
        for each in (first, *others):
            if each is own[-1]:
                continue
            why = "it was entered again" if each in own else "another key entered it or one like it before"
            told = f"{each.path} has the name {each.entry.about.name!r}, but {why}"
            refused[each.path] = f"{told}: {own[-1].path.name}. Rename it."
    return refused


def results_of(board: Board) -> Results:
    """Results of all entries, each under its name, as reports take them."""
    rows = [replace(row, predictor=name) for name, each in board.entries.items() for row in each.rows]
    settings, names = board.frozen.settings, list(board.entries)
    summary = summarise(rows, names, settings.seed) | {"settings": asdict(settings)}
    for name, each in board.entries.items():
        summary["counts"][name] |= each.entry.costs.model_dump(exclude_none=True)
    plain = {key: value for key, value in asdict(settings).items() if key != "support_size"}
    return Results(
        settings=plain | {"list": board.frozen.hash},
        sizes={settings.support_size: SizeResults(summary, tuple(showing(rows)), board.frozen.plan_hash)},
        predictors={name: as_summary(each.entry) for name, each in board.entries.items()},
        notes={"refused": board.refused} if board.refused else {},
        licenses=board.frozen.licenses,
    )


def entry_lines(board: Board) -> list[EntryLine]:
    """Collect what the page tells of each entry."""
    return [EntryLine(name, **_told(each.entry, board.keys)) for name, each in board.entries.items()]


def _told(entry: Submission, keys: dict[str, str] | None) -> dict[str, str]:
    trained, key = entry.about.trained_on, fingerprint(entry.key)
    return {
        "by": entry.about.by,
        "link": entry.about.link,
        "note": entry.about.note,
        "date": entry.date[:10],
        "version": entry.versions["incontext-seg"],
        "trained_on": "not told" if trained is None else _counted(trained),
        "key": f"{key} ({keys[entry.key]})" if keys and keys[entry.key] else key,
    }


def _counted(names: Iterable[str]) -> str:
    some = list(names)
    return f"{len(some)} datasets" if len(some) > 3 else ", ".join(some) or "nothing"
