"""Verification of entries: complete, of the list's episodes, of the same images, of masks that can be, and unseen."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from math import isclose, isfinite
from pathlib import Path

from benchmarks.board.entry import PACKAGES, Submission
from benchmarks.board.names import as_seen
from benchmarks.plans.frozen_lists import FrozenList, FrozenTask
from benchmarks.plans.task_plans import hash_of_cases
from benchmarks.scoring.metrics import METRICS, ROUNDING, TOLERANCES
from benchmarks.scoring.results import Row
from megamed import Task

EXAMPLES = 3
ROUNDED = 1e-6
"""Greatest change of a metric by its rounding to six decimals, doubled."""

Prediction = tuple[str, str, int]
"""Task, query case and draw."""


@dataclass(frozen=True)
class AskedPrediction:
    """Request of a list for one prediction: the number of examples, and the hash of their cases."""

    support_size: int
    support_hash: str


@dataclass(frozen=True)
class Candidate:
    """An entry with its rows, before it is verified."""

    path: Path
    entry: Submission
    rows: tuple[Row, ...]


def check_list(candidate: Candidate, frozen: FrozenList) -> None:
    """Check that an entry is of a list, holds each of its predictions, and was not trained on its datasets.

    Raises:
        ValueError: If it is not so.
    """
    path, entry = candidate.path, candidate.entry
    if entry.list_sha256 != frozen.hash:
        msg = (
            f"{path} is of another list: expected the hash {frozen.hash[:16]}, got {entry.list_sha256[:16]}. "
            "Score it by this leaderboard's list."
        )
        raise ValueError(msg)
    if not _is_day(entry.date):
        msg = f"{path} has no date: expected one like 2026-01-31, got {entry.date[:20]!r}. Submit anew."
        raise ValueError(msg)
    if untold := [name for name in PACKAGES if not entry.versions.get(name, "").strip()]:
        msg = (
            f"{path} does not tell what it was computed with: expected versions of {', '.join(PACKAGES)}, got none of "
            f"{', '.join(untold)}. Submit anew."
        )
        raise ValueError(msg)
    learned = {as_seen(name) for name in entry.about.trained_on or ()}
    datasets = {Task.from_id(task).dataset for task in frozen.tasks}
    if seen := sorted(name for name in datasets if as_seen(name) in learned):
        msg = f"{path} was trained on {', '.join(seen)}: expected none of the list's datasets. Train without them."
        raise ValueError(msg)
    _check_predictions(candidate, asked_of(frozen, candidate.rows[0].ensemble if candidate.rows else 1))
    _check_predictor(candidate, frozen)


def _is_day(text: str) -> bool:
    """Whether a text is a date, with a time or without."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return text[4:5] == text[7:8] == "-"


def _check_predictor(candidate: Candidate, frozen: FrozenList) -> None:
    """Check that the rows are of one predictor, and of ensembles that the list asks for, if of any.

    Raises:
        ValueError: If they are not.
    """
    made = sorted({(row.predictor, row.ensemble) for row in candidate.rows})
    if len(made) > 1:
        shown = _some(made)
        msg = f"{candidate.path} is of several predictors: expected rows of one, got {shown}. Submit one predictor."
        raise ValueError(msg)
    ensemble, known = made[0][1], sorted({1, frozen.settings.ensemble})
    if ensemble not in known:
        msg = (
            f"{candidate.path} is of ensembles that the list does not ask for: expected means of "
            f"{' or '.join(map(str, known))} draws, got {ensemble}. Submit the run's own rows."
        )
        raise ValueError(msg)


def asked_of(frozen: FrozenList, ensemble: int) -> dict[Prediction, AskedPrediction]:
    """Every prediction that a list asks for, each of `ensemble` consecutive draws together."""
    asked: dict[Prediction, AskedPrediction] = {}
    for name, task in frozen.tasks.items():
        for (case, draw), supports in _groups(task, ensemble):
            asked[name, case, draw] = AskedPrediction(len(supports), hash_of_cases(supports))
    return asked


def _groups(task: FrozenTask, ensemble: int) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """Query case and draw of each prediction, with the cases of its supports in order."""

    def key(episode: tuple[int, int, tuple[int, ...]]) -> tuple[str, int]:
        query, draw, _ = episode
        return task.cases[query], draw // ensemble

    for which, episodes in groupby(sorted(task.episodes, key=lambda each: (key(each), each[1])), key):
        yield which, [task.cases[index] for _, _, support in episodes for index in support]


def _check_predictions(candidate: Candidate, asked: Mapping[Prediction, AskedPrediction]) -> None:
    path = candidate.path
    made = {(row.task, row.case, row.draw): row for row in candidate.rows}
    for what, names in (("lacks", asked.keys() - made.keys()), ("has unasked", made.keys() - asked.keys())):
        if names:
            msg = f"{path} {what} predictions: expected {len(asked)}, {what} {_some(names)}. Score the whole list."
            raise ValueError(msg)
    if len(candidate.rows) != len(made):  # rows under several predictors' names
        msg = f"{path} repeats predictions: expected {len(made)} rows, got {len(candidate.rows)}. Submit one predictor."
        raise ValueError(msg)
    for name, row in made.items():
        if fault := _fault(row, asked[name]):
            msg = f"{path} {fault}, at {_some([name])}. Submit the run's own rows."
            raise ValueError(msg)


def _fault(row: Row, asked: AskedPrediction) -> str:
    """Tell why a row does not answer what was asked; empty if it does."""
    if row.dataset != (dataset := Task.from_id(row.task).dataset):
        return f"has a row of another dataset: expected {dataset}, got {row.dataset}"
    if (row.support_size, row.support_hash) != (asked.support_size, asked.support_hash):
        return "was shown other examples: expected those of the list, got others"
    if fault := impossible(row):
        return f"has a row that no mask has: {fault}"
    return ""


def impossible(row: Row) -> str:
    """Tell why no mask can have the areas, the overlap and the distances of a row; empty if one can.

    Of the probabilities a row does not tell enough to say more than that they are numbers.
    """
    if unknown := [name for name in METRICS if not isfinite(getattr(row, name))]:
        return f"expected a number for each metric, got none for {', '.join(unknown)}"
    total_px = row.mask_px + row.label_px
    if not total_px:
        return "" if row.dice == 1 else f"expected Dice 1 of an empty mask of nothing, got {row.dice}"
    area_error = 2 * (row.mask_px - row.label_px) / total_px
    if not isclose(row.area_error, area_error, abs_tol=ROUNDED):
        return f"expected area_error {area_error:.6f} of such areas, got {row.area_error}"
    return impossible_overlap(row) or impossible_distance(row)


def impossible_overlap(row: Row) -> str:
    """Tell why no mask can have the overlap of a row; empty if one can."""
    total_px = row.mask_px + row.label_px
    shared_px = row.dice * total_px / 2
    slack = ROUNDED * total_px
    if not isclose(shared_px, round(shared_px), abs_tol=slack) or shared_px > min(row.mask_px, row.label_px) + slack:
        return f"expected an overlap of whole pixels, within mask and label, got {shared_px:.3f}"
    shares = {
        "iou": total_px - round(shared_px),
        "sensitivity": row.label_px,
        "precision": row.mask_px,
    }
    for name, area_px in shares.items():
        told = getattr(row, name)
        if area_px and not isclose(told, round(shared_px) / area_px, abs_tol=ROUNDED):
            return f"expected {name} {round(shared_px) / area_px:.6f} of such an overlap, got {told}"
    return ""


def impossible_distance(row: Row) -> str:
    """Tell why no contours can have the distances of a row; empty if some can.

    The largest distance bounds the others, and it alone decides whether all of both contours is within a tolerance.
    """
    slack = 2 * ROUNDED + 1e-5 * row.hd  # of single precision
    shares = [getattr(row, f"nsd_{tolerance}") for tolerance in TOLERANCES]
    if not row.mask_px or not row.label_px:
        alone = row.hd == row.hd95 == row.assd > 0 and not any(shares)
        return "" if alone else "expected the image's diagonal as each distance where one of both is empty, got others"
    for name in ("hd95", "assd"):
        if getattr(row, name) > row.hd + slack:
            return f"expected {name} of at most hd, {row.hd}, got {getattr(row, name)}"
    if row.dice == 1 and row.hd > slack:
        return f"expected hd 0 of equal masks, got {row.hd}"
    if sorted(shares) != shares:
        return f"expected as much or more within a larger tolerance, got {shares[1]} after {shares[0]}"
    for tolerance, share in zip(TOLERANCES, shares, strict=True):
        edge = tolerance * ROUNDING
        beyond = (1 - share) * tolerance
        if row.assd < beyond - slack:
            return f"expected assd of {beyond:.6f} or more where nsd_{tolerance} is {share}, got {row.assd}"
        if (share == 1 and row.hd > edge + slack) or (share < 1 and row.hd < edge - slack):
            return f"expected nsd_{tolerance} {'below 1' if share == 1 else '1'} of hd {row.hd}, got {share}"
    return ""


def refuse_other_images(candidates: Sequence[Candidate]) -> dict[Path, str]:
    """Reasons against entries whose images, labels or subjects differ from those of most others, by file.

    Where as many entries have one as the other, those of the first entry by name count.
    """
    if not candidates:
        return {}
    seen = {each.path: _images(each) for each in candidates}
    votes = Counter(tuple(sorted(images.items())) for images in seen.values())
    usual = dict(votes.most_common(1)[0][0])
    refused = {}
    for path, images in seen.items():
        if other := sorted(name for name in usual.keys() | images.keys() if usual.get(name) != images.get(name)):
            refused[path] = (
                f"{path} was scored on other images: expected those of most entries, got others in {_some(other)}. "
                "Score it on the collection that the list was made of."
            )
    return refused


def _images(candidate: Candidate) -> dict[tuple[str, str], tuple[str, tuple[tuple[str, int], ...]]]:
    """Hash of each image with its label, and of a query also subject and area of the label; by task and case."""
    contents = candidate.entry.contents
    hashes = {(task, case): digest for task, cases in contents.items() for case, digest in cases.items()}
    queries: dict[tuple[str, str], set[tuple[str, int]]] = defaultdict(set)
    for row in candidate.rows:
        queries[row.task, row.case].add((row.subject, row.label_px))
    names = hashes.keys() | queries.keys()
    return {name: (hashes.get(name, ""), tuple(sorted(queries.get(name, ())))) for name in names}


def _some(names: Iterable[tuple[str | int, ...]]) -> str:
    first = sorted(names)
    more = f" and {len(first) - EXAMPLES} more" if len(first) > EXAMPLES else ""
    return ", ".join(" ".join(map(str, name)) for name in first[:EXAMPLES]) + more
