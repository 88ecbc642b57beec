"""Entries of a leaderboard: the rows that one predictor made of a frozen list, hashed and signed, in one JSON file."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from benchmarks.board import signature
from benchmarks.board.names import as_seen
from benchmarks.plans.frozen_lists import FrozenList
from benchmarks.scoring.evaluator import base_name
from benchmarks.scoring.leaks import dataset_ids
from benchmarks.scoring.results import Cost, Row, parse_records, read_records, read_rows, table_text, total_costs
from benchmarks.scoring.settings_file import CONTENT, SETTINGS_NAME, SUMMARY_NAME, read_settings
from megamed.files import claimed_file, read_json, replace_file, sha256_of
from megamed.manifest import first_fault
from megamed.readers.faults import check_no_stream

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PACKAGES = ("incontext-seg", "torch", "numpy")
NOTHING = "nothing"
"""Word for the training data of what was not trained."""
SEALS = {"sha256", "signature"}
NotNegative = Annotated[float, Field(ge=0, le=1e9)]
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
"""Text in one line, without control characters, or such as turn the direction of all that follows."""
Line = Annotated[str, StringConstraints(max_length=200, pattern=PRINTABLE)]


def _visible(name: str) -> str:
    if not as_seen(name):
        msg = "expected a name that can be seen, got none"
        raise ValueError(msg)
    return name


class About(BaseModel):
    """Description of an entry by those who made it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(max_length=60, pattern=PRINTABLE), AfterValidator(_visible)]
    """Name on the leaderboard."""
    by: Line = ""
    """People or group."""
    link: Annotated[str, StringConstraints(max_length=500, pattern=r"^(https?://\S+)?$")] = ""
    """Address of a paper or of code."""
    note: Line = ""
    """Description of the predictor in a sentence."""
    trained_on: tuple[Line, ...] | None = None
    """Ids of the datasets that it was trained on; None if nobody says."""


class Costs(BaseModel):
    """Time and memory of predictions, by the names of a summary's counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds_per_query: NotNegative | None = None
    peak_mb: NotNegative | None = None
    batch: NotNegative | None = None


class Submission(BaseModel):
    """Sealed entry of a leaderboard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["incontext-bench-entry-1"] = "incontext-bench-entry-1"
    about: About
    date: Line
    """Day on which it was made, as 2026-01-31, or that with the time, of which the later counts."""
    list_sha256: str
    """Hash of the frozen list: see `FrozenList.hash`."""
    fingerprint: Line
    """Identity of the predictor, such as the SHA-256 of its weights."""
    versions: Annotated[dict[Line, Line], Field(max_length=50)]
    """Versions of packages that it was computed with."""
    costs: Costs
    contents: dict[str, dict[str, str]]
    """Hashes of all images with their labels: task → case → hash."""
    rows: str
    """All rows, as CSV."""
    key: str
    """Public key that the signature is of, as `ssh-ed25519 AAAA…`."""
    sha256: str = ""
    """Hash of all other fields but the signature."""
    signature: str = Field(default="", repr=False)
    """Signature of the same by the key, in base64."""

    @property
    def predictions(self) -> int:
        """Number of rows."""
        return self.rows.count("\n") - 1

    def sealed_content(self) -> bytes:
        """The bytes that hash and signature are of."""
        return json.dumps(self.model_dump(exclude=SEALS), sort_keys=True).encode()

    def sealed(self, key: "Ed25519PrivateKey") -> "Submission":
        """Copy the entry with its hash, signed by a key."""
        keyed = self.model_copy(update={"key": signature.public_text(key)})
        content = keyed.sealed_content()
        seals = {"sha256": sha256_of(content), "signature": base64.b64encode(key.sign(content)).decode()}
        return keyed.model_copy(update=seals)


def about_of(*, trained_on: Sequence[str] | None, **told: str) -> About:
    """Describe an entry by options of the shell.

    Args:
        trained_on: Ids of datasets, or `nothing` alone; None if nobody says.
        **told: The other fields of `About`.

    Raises:
        ValueError: If a name is empty or too long, or the link is no address, or `nothing` stands beside others.
    """
    if trained_on and NOTHING in trained_on and len({*trained_on}) > 1:
        others = ", ".join(each for each in trained_on if each != NOTHING)
        msg = f"--trained-on contradicts itself: expected ids of datasets, or {NOTHING} alone, got it beside {others}."
        raise ValueError(msg)
    datasets = None if trained_on is None else tuple(each for each in trained_on if each != NOTHING)
    try:
        return About(**told, trained_on=datasets)
    except ValidationError as error:
        msg = f"The entry cannot be described so: {first_fault(error)}. Correct the option."
        raise ValueError(msg) from None


def make_entry(folder: Path, frozen: FrozenList, predictor: str | None, about: About) -> Submission:
    """Make an entry of what a run scored, not yet sealed.

    Args:
        folder: Result folder of `incontext-bench run --list`.
        frozen: Frozen list of the run.
        predictor: Name of the predictor in the results; None if there is one alone.
        about: What people say of it. Datasets that its weights file names are added to those it was trained on.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If the run was made by another list, or has no such predictor.
    """
    if not (folder / SETTINGS_NAME).is_file():
        msg = f"{folder} has no results: expected {SETTINGS_NAME} there, got none. Use `incontext-bench run --list`."
        raise FileNotFoundError(msg)
    settings = read_settings(folder)
    if settings.get("plan_hash") != frozen.plan_hash:
        msg = (
            f"{folder} was not scored by this list: expected plan {frozen.plan_hash}, got {settings.get('plan_hash')}. "
            "Run `incontext-bench run --list` with it."
        )
        raise ValueError(msg)
    rows = read_rows(folder / "rows.csv")
    names = sorted({row.predictor for row in rows})
    chosen = names[0] if predictor is None and len(names) == 1 else predictor
    if chosen not in names:
        msg = f"{folder} has no predictor {chosen!r}: expected one of {', '.join(names)}. Name it by --predictor."
        raise ValueError(msg)
    rows = [row for row in rows if row.predictor == chosen]
    base = base_name(chosen, rows[0].ensemble)
    known = read_json(folder / SUMMARY_NAME, "Start the run's command again.").get("predictors", {}).get(base, {})
    trained = {*dataset_ids(known), *(about.trained_on or ())}
    told = about.trained_on is not None or "provenance" in known
    return Submission(
        about=about.model_copy(update={"trained_on": tuple(sorted(trained)) if told else None}),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        list_sha256=frozen.hash,
        fingerprint=settings["predictors"].get(base, ""),
        versions={name: version(name) for name in PACKAGES},
        costs=_costs(folder, base, rows[0].ensemble),
        contents=settings.get(CONTENT, {}),
        rows=table_text(rows, list(Row.__dataclass_fields__)),
        key="",
    )


def _costs(folder: Path, predictor: str, ensemble: int) -> Costs:
    """Costs of a run's predictor, whose every prediction is the mean of so many."""
    costs = Costs(**total_costs(read_records(folder / "costs.csv", Cost)).get(predictor, {}))
    seconds = costs.seconds_per_query
    return costs if seconds is None else costs.model_copy(update={"seconds_per_query": round(ensemble * seconds, 6)})


def write_entry(path: Path, entry: Submission) -> None:
    """Write a sealed entry as a JSON file.

    Raises:
        ValueError: If the file is somebody's own.
        OSError: If it cannot be written.
    """
    with claimed_file(path, "submit"):
        replace_file(path, entry.model_dump_json(indent=1) + "\n")


def read_entry(path: Path) -> Submission:
    """Read an entry, and make sure that it is as it was sealed.

    Raises:
        ValueError: If the file is no entry, or was changed since.
    """
    check_no_stream(path)
    try:
        entry = Submission.model_validate_json(path.read_bytes())
    except ValidationError as error:
        msg = f"{path} is no entry: {first_fault(error)}. Make one with `incontext-bench submit`."
        raise ValueError(msg) from None
    content = entry.sealed_content()
    if entry.sha256 != sha256_of(content):
        msg = f"{path} was changed: expected the hash {entry.sha256[:16]}, got {sha256_of(content)[:16]}. Submit anew."
        raise ValueError(msg)
    if not signature.is_signed(content, entry.signature, entry.key):
        msg = f"{path} is not signed by its key: expected the signature of {entry.key[:40]}…, got another. Submit anew."
        raise ValueError(msg)
    return entry


def rows_of(path: Path, entry: Submission) -> list[Row]:
    """Read the rows of an entry.

    Raises:
        ValueError: If the table is damaged.
    """
    return parse_records(path, entry.rows.encode(), Row)


def as_summary(entry: Submission) -> dict[str, Any]:
    """Collect what a report tells of an entry's predictor."""
    plain = entry.about.model_dump(exclude={"name"})
    return plain | {"fingerprint": entry.fingerprint, "date": entry.date, "versions": entry.versions}
