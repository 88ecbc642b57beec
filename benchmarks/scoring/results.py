"""Keeps one CSV row per prediction: append-only, resumable after a kill, reloadable."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import nan
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from benchmarks.plans.task_plans import DEFAULTS

RowKey = tuple[str, str, str, int]
"""Predictor, task id, query case, draw: what a prediction is identified by within one run."""
ALL_DRAWS = -1
"""In a key, in place of a draw."""

DECIMALS = {"ece": 4, "brier": 4}
"""Digits to which means over an image's probabilities are rounded; of all other metrics it is six."""


@dataclass(frozen=True)
class Row:
    """One prediction and its score."""

    predictor: str
    dataset: str
    task: str
    subject: str
    case: str
    draw: int
    support_size: int
    """Examples really given: fewer than asked for where the task has fewer; the sum over an ensemble's draws."""
    support_hash: str
    label_px: int
    """Foreground pixels annotated."""
    mask_px: int
    """Foreground pixels predicted; 0 is an empty mask."""
    dice: float
    """This and all that follow are metrics of `benchmarks.scoring.metrics.METRICS`, rounded to `DECIMALS`."""
    iou: float = nan
    sensitivity: float = nan
    precision: float = nan
    area_error: float = nan
    hd: float = nan
    hd95: float = nan
    assd: float = nan
    nsd_1: float = nan
    nsd_2: float = nan
    ece: float = nan
    brier: float = nan
    ensemble: int = 1
    """Draws whose probabilities were averaged."""

    @property
    def key(self) -> RowKey:
        """Which prediction this is."""
        return self.predictor, self.task, self.case, self.draw


@dataclass(frozen=True)
class Candidates:
    """How well all draws of a query together stand for what several people drew on it."""

    predictor: str
    dataset: str
    task: str
    """That of their consensus, of which the supports are, too."""
    subject: str
    case: str
    draws: int
    annotators: int
    best_dice: float
    """This and what follows are of `benchmarks.scoring.calibration_metrics.measure_candidates`."""
    energy_distance: float
    area_crps_px: float

    @property
    def key(self) -> RowKey:
        """Which predictions these are."""
        return self.predictor, self.task, self.case, ALL_DRAWS


@dataclass(frozen=True)
class Cost:
    """What some predictions of one predictor took: not the same from run to run, hence kept apart from the rows."""

    predictor: str
    task: str
    queries: int
    """Predictions, every draw of an ensemble one."""
    seconds: float
    """Processor time, or wall-clock time on an accelerator."""
    peak_mb: float
    """Most memory held beyond what the process held at first."""
    batch: int
    """Most queries in a forward pass."""


Record = TypeVar("Record", Row, Candidates, Cost)


def read_rows(path: Path) -> list[Row]:
    """Read a rows file: see `read_records`."""
    return read_records(path, Row)


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read a table of one kind of records; a last line cut off by a kill is left out.

    Raises:
        ValueError: If the columns are not those of its kind.
    """
    if not path.exists():
        return []
    columns: dict[str, Any] = get_type_hints(kind)
    text = path.read_text(encoding="utf-8")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    if reader.fieldnames is not None and list(reader.fieldnames) != list(columns):
        msg = f"{path} has the wrong columns: expected {list(columns)}, got {reader.fieldnames}. Choose another --out."
        raise ValueError(msg)
    return [kind(**{name: column(record[name]) for name, column in columns.items()}) for record in reader]


def append_rows(path: Path, rows: Sequence[Row] | Sequence[Candidates] | Sequence[Cost]) -> None:
    """Add records of one kind at the end, below a header when the file is new."""
    if not rows:
        return
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(get_type_hints(type(rows[0]))), lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def total_costs(costs: Iterable[Cost]) -> dict[str, dict[str, float]]:
    """By predictor, as JSON values, the seconds per query, the most memory and the largest batch."""
    by_name: dict[str, list[Cost]] = {}
    for cost in costs:
        by_name.setdefault(cost.predictor, []).append(cost)
    return {
        name: {
            "seconds_per_query": round(sum(each.seconds for each in some) / sum(each.queries for each in some), 6),
            "peak_mb": max(each.peak_mb for each in some),
            "batch": max(each.batch for each in some),
        }
        for name, some in by_name.items()
    }


def drop_torn_line(path: Path) -> None:
    """Cut a last line that a kill left unfinished, so that appending goes on cleanly."""
    if path.exists():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def shared_rows(folders: Sequence[Path]) -> list[Row]:
    """Rows of several runs over the predictions that every predictor made from the same support.

    Ensembles are matched among themselves, as their supports are others; all predictors keep the same queries.
    A predictor name that several runs use becomes `FOLDER:NAME`.

    Raises:
        ValueError: If a folder holds no rows, or no prediction is common to all.
    """
    runs = {folder: read_rows(folder / "rows.csv") for folder in folders}
    for folder in folders:
        if not runs[folder]:
            msg = f"{folder} has no results: expected rows in rows.csv, got none. Use `incontext-bench run`."
            raise ValueError(msg)
    uses = Counter(name for rows in runs.values() for name in {row.predictor for row in rows})
    rows = [
        replace(row, predictor=f"{folder}:{row.predictor}") if uses[row.predictor] > 1 else row
        for folder, run in runs.items()
        for row in run
    ]
    sizes = Counter({row.predictor: row.ensemble for row in rows}.values())
    made = Counter(_support_of(row) for row in rows)
    rows = [row for row in rows if made[_support_of(row)] == sizes[row.ensemble]]
    asked = Counter((task, case) for _, task, case in {(row.predictor, row.task, row.case) for row in rows})
    shared = [row for row in rows if asked[row.task, row.case] == sizes.total()]
    if not shared:
        msg = "The runs share no prediction: expected equal suite, support size and seed, got others."
        raise ValueError(msg)
    return shared


def plan_hashes(folders: Iterable[Path]) -> str:
    """The hashes of the plans that the runs followed, each once."""
    texts = (path.read_text(encoding="utf-8") for folder in folders if (path := folder / "settings.json").is_file())
    return ", ".join(sorted({json.loads(text)["plan_hash"] for text in texts}))


def _support_of(row: Row) -> tuple[object, ...]:
    return row.ensemble, row.task, row.case, row.draw, row.support_hash


def claim_folder(folder: Path, settings: dict[str, Any], predictors: dict[str, str]) -> None:
    """Make a folder that of one set of settings, or check that it is; predictors may be added later.

    Args:
        folder: Where the results of a run go.
        settings: What decides the episodes, as JSON values.
        predictors: Name → fingerprint of what predicts under that name.

    Raises:
        ValueError: If the folder holds results of other settings, or of another predictor of the same name.
    """
    path = folder / "settings.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {**settings, "predictors": {}}
    known = DEFAULTS | known
    for key, value in settings.items():
        _check_same(folder, key, known.get(key), value)
    for name, fingerprint in predictors.items():
        _check_same(folder, f"predictor {name}", known["predictors"].get(name, fingerprint), fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    known["predictors"] |= predictors
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def _check_same(folder: Path, key: str, known: object, wanted: object) -> None:
    if known != wanted:
        msg = (
            f"{folder} holds results of another run: expected {key} = {known}, got {wanted}. "
            "Choose another --out, or delete the folder."
        )
        raise ValueError(msg)
