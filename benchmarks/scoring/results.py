"""Tables of results with one CSV row per prediction: append-only, and resumable after a kill."""

import csv
import io
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields, replace
from math import inf, nan
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, TypeVar, get_type_hints

from benchmarks.plans.task_plans import DEFAULTS
from benchmarks.scoring.same_images import refuse_other_images
from benchmarks.scoring.settings_file import (
    SETTINGS_NAME,
    SUMMARIES,
    TABLES,
    check_lines,
    read_settings,
    seal,
    write_settings,
)
from megamed import files
from megamed.cells import original, safe
from megamed.files import replace_file

logger = logging.getLogger(__name__)

RowKey = tuple[str, str, str, int]
"""Key of a prediction within one run: predictor, task id, query case and draw."""
ALL_DRAWS = -1
"""Draw in the key of candidates, which stand for all draws of a query."""

WHOLE = re.compile(r"-?\d{1,18}")
NUMBER = re.compile(r"-?(\d+(\.\d+)?(e[+-]?\d+)?|inf)|nan")
LIMITS = {
    **dict.fromkeys(("dice", "iou", "sensitivity", "precision", "best_dice"), (0.0, 1.0)),
    **dict.fromkeys(("nsd_1", "nsd_2", "ece", "brier"), (0.0, 1.0)),
    **dict.fromkeys(("hd", "hd95", "assd", "seconds", "peak_mb"), (0.0, inf)),
    "area_error": (-2.0, 2.0),
    **dict.fromkeys(("support_size", "ensemble", "draws", "annotators", "queries", "batch"), (1.0, inf)),
}
"""Least and greatest values that a column may have; a whole number is at least 0 elsewhere."""
DECIMALS = {"ece": 4, "brier": 4}
"""Decimals to which means over an image's probabilities are rounded; all other metrics are rounded to six."""


@dataclass(frozen=True, slots=True)
class Row:
    """Row of a prediction and its scores."""

    predictor: str
    dataset: str
    task: str
    subject: str
    case: str
    draw: int
    support_size: int
    """Number of examples given: fewer than asked for where the task has fewer; the sum over an ensemble's draws."""
    support_hash: str
    label_px: int
    """Number of foreground pixels in the label."""
    mask_px: int
    """Number of foreground pixels in the mask; 0 is an empty mask."""
    dice: float
    """Dice in [0, 1]. It and the fields up to `brier` are metrics of `metrics.METRICS`, rounded to `DECIMALS`."""
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
    """Number of draws whose probabilities were averaged; 1 for a single prediction."""

    @property
    def key(self) -> RowKey:
        """Key by which a resumed run knows the prediction."""
        return self.predictor, self.task, self.case, self.draw

    @property
    def has_mask(self) -> bool:
        """Whether anything was drawn: a false alarm where the label is empty."""
        return self.mask_px > 0


@dataclass(frozen=True)
class Candidates:
    """Agreement of all draws of a query with the labels of its annotators."""

    predictor: str
    dataset: str
    task: str
    """Id of the task that holds the annotators' consensus, from which supports are drawn."""
    subject: str
    case: str
    draws: int
    annotators: int
    best_dice: float
    """Best Dice of a draw. It and the fields below are metrics of `calibration_metrics.measure_candidates`."""
    energy_distance: float
    area_crps_px: float

    @property
    def key(self) -> RowKey:
        """Key by which a resumed run knows the candidates, with `ALL_DRAWS` as draw."""
        return self.predictor, self.task, self.case, ALL_DRAWS


@dataclass(frozen=True)
class Cost:
    """Time and memory of some predictions of one predictor; they change from run to run, hence a table of their own."""

    predictor: str
    task: str
    queries: int
    """Number of predictions; every draw of an ensemble is one."""
    seconds: float
    """Processor time in seconds, or wall-clock time on an accelerator."""
    peak_mb: float
    """Peak memory in MB, beyond the memory that the process held at first."""
    batch: int
    """Largest number of queries in a forward pass."""


Record = TypeVar("Record", Row, Candidates, Cost)


def read_rows(path: Path) -> list[Row]:
    """Read a rows file: see `read_records`."""
    return read_records(path, Row)


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read a table of one kind of records by its header; a last line cut off by a kill is left out.

    A table written before a metric existed lacks its column: such values are NaN. Columns of a later version are
    passed over.

    Raises:
        ValueError: If a column is missing that every version has, or a line is not as it was written.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    content = content[: content.rfind(b"\n") + 1]
    records = parse_records(path, content, kind)
    check_lines(path, content)
    return records


def parse_records(path: Path, content: bytes, kind: type[Record]) -> list[Record]:
    """Parse a table of complete lines, which stands in a file or within one: see `read_records`."""
    lines = _cells(path, content)
    _, header = next(lines, (1, list(get_type_hints(kind))))
    columns = _known_columns(path, kind, header)
    found: dict[RowKey, int] = {}
    records = []
    for number, cells in lines:
        try:
            if len(cells) != len(header):
                msg = f"expected {len(header)} cells, got {len(cells)}"
                raise ValueError(msg)
            told = dict(zip(header, cells, strict=True))
            record = kind(**{name: _value(name, type_, told[name]) for name, type_ in columns.items()})
            if not isinstance(record, Cost) and (first := found.setdefault(record.key, number)) != number:
                msg = f"expected each prediction once, got that of line {first} again"
                raise ValueError(msg)
        except ValueError as error:
            raise ValueError(_damaged(path, number, str(error))) from None
        records.append(record)
    return records


def _cells(path: Path, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each record with the number of the line that it begins in.

    Raises:
        ValueError: If the content is no CSV in UTF-8.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ValueError(_damaged(path, number, f"expected UTF-8, got the byte {content[error.start]:#04x}")) from None
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(_damaged(path, number, "expected text, got a NUL byte"))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        for cells in reader:
            yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(_damaged(path, number, f"expected comma-separated values, got none: {error}")) from None


def _known_columns(path: Path, kind: type[Record], header: Sequence[str]) -> dict[str, Any]:
    """Types of those columns of a kind of records that a table has.

    Raises:
        ValueError: If the header lacks a column that every version has, repeats one, or has one renamed.
    """
    columns: dict[str, Any] = get_type_hints(kind)
    always = [each.name for each in fields(kind) if each.default is MISSING]
    if missing := [name for name in always if name not in header]:
        msg = f"{path} has the wrong columns: expected {always}, got none of {missing}. Choose another --out."
        raise ValueError(msg)
    unknown, absent = set(header) - columns.keys(), columns.keys() - set(header)
    if len(set(header)) < len(header) or (unknown and absent):
        raise ValueError(_damaged(path, 1, f"expected columns {', '.join(columns)}, got {', '.join(header)}"))
    return {name: type_ for name, type_ in columns.items() if name in header}


def _value(name: str, type_: type, cell: str) -> Any:
    """Convert a cell to its column's type.

    Raises:
        ValueError: If it holds something else, or a number that the column cannot have.
    """
    if type_ is str:
        if not cell:
            msg = f"expected a name for {name}, got an empty cell"
            raise ValueError(msg)
        return sys.intern(original(cell))  # names come again in thousands of rows
    written = WHOLE if type_ is int else NUMBER
    if not written.fullmatch(cell):
        msg = f"expected a {'whole ' if type_ is int else ''}number for {name}, got {shortened(cell)}"
        raise ValueError(msg)
    value = type_(cell)
    low, high = LIMITS.get(name, (0, inf) if type_ is int else (-inf, inf))
    if value < low or value > high:
        msg = f"expected {name} from {low:g} to {high:g}, got {shortened(cell)}"
        raise ValueError(msg)
    return value


def _damaged(path: Path, number: int, fault: str) -> str:
    return (
        f"{path} is damaged in line {number}: {fault}. Restore it from a copy, or delete the line, and the command "
        "that wrote it scores it anew."
    )


def prepare_table(path: Path, kind: type[Record]) -> None:
    """Prepare a table for records to be appended.

    A last line that a kill left unfinished is cut. A table that was written before a metric existed gets its column,
    with NaN in the rows that are there: they are not scored again.

    Raises:
        ValueError: If the table is of another kind, or has columns that this version does not know.
    """
    drop_torn_line(path)
    if not path.exists() or not path.stat().st_size:
        return
    columns = list(get_type_hints(kind))
    with path.open("rb") as file:
        _, header = next(_cells(path, file.readline()))
    if header == columns:
        return
    records = read_records(path, kind)
    if unknown := [name for name in header if name not in columns]:
        msg = (
            f"{path} was written by a later version: expected columns {columns}, got also {unknown}. "
            "Update incontext-seg, or choose another --out."
        )
        raise ValueError(msg)
    replace_file(path, table_text(records, columns))
    new = ", ".join(name for name in columns if name not in header) or "another order of columns"
    logger.warning("%s: %d rows of an earlier version lack %s; they are kept as they are", path, len(records), new)


def append_rows(path: Path, rows: Sequence[Row] | Sequence[Candidates] | Sequence[Cost]) -> None:
    """Add records of one kind at the end, below a header when the file is new."""
    if not rows:
        return
    is_new = not path.exists() or not path.stat().st_size
    files.append(path, table_text(rows, list(get_type_hints(type(rows[0]))), header=is_new))


def table_text(records: Iterable[Row | Candidates | Cost], columns: Sequence[str], header: bool = True) -> str:
    """Write records of one kind as lines of CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(
        {name: safe(value) if isinstance(value, str) else value for name, value in asdict(record).items()}
        for record in records
    )
    return text.getvalue()


def total_costs(costs: Iterable[Cost]) -> dict[str, dict[str, float]]:
    """Total the costs of each predictor, as JSON values: seconds per query, peak memory and largest batch."""
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
    refuse_other_images(runs)
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


def showing(rows: Iterable[Row]) -> list[Row]:
    """Rows of queries that show the structure, whose Dice is a matter of degree; the others count false alarms."""
    return [row for row in rows if row.label_px > 0]


def plan_hashes(folders: Iterable[Path]) -> str:
    """Hashes of the plans that runs followed, each once."""
    known = (read_settings(folder) for folder in folders if (folder / SETTINGS_NAME).is_file())
    return ", ".join(sorted({settings["plan_hash"] for settings in known if "plan_hash" in settings}))


def _support_of(row: Row) -> tuple[object, ...]:
    return row.ensemble, row.task, row.case, row.draw, row.support_hash


@contextmanager
def claimed(
    folder: Path, settings: dict[str, Any], predictors: dict[str, str], written: Sequence[str] = SUMMARIES
) -> Iterator[None]:
    """Lock a folder of results, made if need be, and claim it: see `claim_folder`.

    Args:
        folder: Folder of a run's results.
        settings: Settings that decide the episodes, as JSON values.
        predictors: Fingerprint of each predictor, by its name.
        written: Names of the files that are written at the end.

    Raises:
        ValueError: If another run is at work there, the folder is another run's, or one of the files is of neither.
    """
    with files.claimed(folder, "run") as ledger:
        if (folder / SETTINGS_NAME).exists():
            read_settings(folder)  # sealed, as the tables are by it
            ours = (SETTINGS_NAME, *TABLES, *(written if ledger.is_new else ()))
            ledger.adopt(*(folder / name for name in ours))
        ledger.refuse_foreign(folder / name for name in written)
        claim_folder(folder, settings, predictors)
        try:
            yield
        finally:
            seal(folder)


def claim_folder(folder: Path, settings: dict[str, Any], predictors: dict[str, str]) -> None:
    """Claim a folder for one set of settings, or check that it belongs to them; predictors may be added later.

    The caller holds the folder's lock, as `claimed` does.

    Args:
        folder: Folder of a run's results.
        settings: Settings that decide the episodes, as JSON values.
        predictors: Fingerprint of each predictor, by its name.

    Raises:
        ValueError: If the folder holds results of other settings, or of another predictor of the same name.
    """
    path = folder / SETTINGS_NAME
    if not path.exists() and (folder / "rows.csv").exists():
        msg = (
            f"{folder} has rows of unknown settings: expected {SETTINGS_NAME} beside rows.csv, got none. "
            "Put it back, choose another --out, or delete the folder."
        )
        raise ValueError(msg)
    known = DEFAULTS | (read_settings(folder) if path.exists() else {**settings, "predictors": {}})
    for key, value in settings.items():
        _check_same(folder, key, known.get(key), value)
    for name, fingerprint in predictors.items():
        _check_same(folder, f"predictor {name}", known["predictors"].get(name, fingerprint), fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    known["predictors"] |= predictors
    write_settings(folder, known)


def _check_same(folder: Path, key: str, known: object, wanted: object) -> None:
    if known != wanted:
        msg = (
            f"{folder} holds results of another run: expected {key} = {known}, got {wanted}. "
            "Choose another --out, or delete the folder."
        )
        raise ValueError(msg)
