"""Build a collection: one loop over subjects on any executor, rejecting with reasons, replacing at the end.

Files appear under names that hold their content's hash, and the manifest that names them is replaced last. So a
build killed at any moment leaves the old collection, and the next one reuses the datasets it had finished.
"""

import hashlib
import json
import multiprocessing
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from megamed import manifest, standardise
from megamed.collection import DatasetWriter
from megamed.layouts import Subject, find_datasets, find_subjects, read_card
from megamed.manifest import DatasetEntry, Manifest, View
from megamed.prepare import prepare_subject
from megamed.schema import DatasetCard, Frozen, Split
from megamed.splits import patient_groups, split_of

PENDING_NAME = ".pending.json"
REPORT_NAME = "build_report.json"
SUBJECTS_PER_MESSAGE = 4


class DatasetOutcome(Frozen):
    """What became of one dataset."""

    status: Literal["built", "unchanged", "left out"]
    subjects: int = 0
    rows: int = 0
    rejected: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Per rejected subject, the reasons."""
    reason: str = ""
    """Why the dataset was left out."""


class BuildReport(Frozen):
    """What became of every dataset of a build."""

    datasets: dict[str, DatasetOutcome]

    @property
    def complete(self) -> bool:
        """Whether nothing was rejected or left out."""
        return not any(outcome.rejected or outcome.reason for outcome in self.datasets.values())

    def lines(self) -> list[str]:
        """Say what was built, then every dataset left out and every subject rejected, with the reasons."""
        outcomes = self.datasets.values()
        states = Counter(outcome.status for outcome in outcomes)
        subjects, rows = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("subjects", "rows"))
        counts = ", ".join(f"{count} {status}" for status, count in sorted(states.items()))
        found = [f"{len(self.datasets)} datasets: {counts}; {subjects} subjects, {rows} images."]
        for name, outcome in self.datasets.items():
            if outcome.reason:
                found.append(f"left out {name}: {outcome.reason}")
            for subject, reasons in outcome.rejected.items():
                found += (f"rejected {name}, subject {subject}: {reason}" for reason in reasons)
        return found


@dataclass(frozen=True)
class BuildOptions:
    """How to build."""

    size_px: int = 128
    """Height and width of every stored image."""
    force: bool = False
    """Build again even what is unchanged."""


@dataclass(frozen=True)
class _Job:
    """One dataset to build."""

    card: DatasetCard
    group: str
    subjects: list[Subject]
    size_px: int

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the result."""
        files = [path for subject in self.subjects for case in subject.cases for path in (case.image, case.label)]
        states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        problems = [subject.problems for subject in self.subjects]
        card = self.card.model_dump(mode="json")
        facts = [standardise.VERSION, self.size_px, self.group, card, states, problems]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass
class _Written:
    """What went into a dataset's file, and what did not."""

    subjects: Counter[Split] = field(default_factory=Counter)
    rejected: dict[str, tuple[str, ...]] = field(default_factory=dict)
    views: tuple[View, ...] = ()


Progress = Callable[[str, int, int], None]
"""Called with the dataset, the subjects finished since the last call, and the subjects of the whole build."""


def local_executor(workers: int | None = None) -> ProcessPoolExecutor:
    """Make the default executor: fresh processes on this machine, one per core unless told otherwise."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def build(root: Path, out: Path, options: BuildOptions, executor: Executor, progress: Progress) -> BuildReport:
    """Build all datasets below a root into a collection; other datasets that it held before stay.

    Raises:
        ValueError: If the root has no dataset, or `out` is neither new, empty nor a collection of this size.
    """
    jobs, outcomes = _plan(root, options.size_px)
    old = _open_output(out, options.size_px)
    finished = {} if options.force else _finished(out, old)
    entries = {name: entry for name, entry in old.datasets.items() if name not in outcomes}
    total = sum(len(job.subjects) for job in jobs)
    for job in jobs:
        name = job.card.id
        entry = finished.get(job.fingerprint)
        if entry:
            progress(name, len(job.subjects), total)
            outcomes[name] = _outcome("unchanged", entry)
        else:
            entry, outcomes[name] = _build_dataset(job, out, executor, partial(progress, name, 1, total))
        entries.pop(name, None)
        if entry:
            entries[name] = entry
            pending = Manifest(size_px=options.size_px, datasets=entries)
            manifest.replace_file(out / PENDING_NAME, pending.model_dump_json().encode())
    report = BuildReport(datasets=dict(sorted(outcomes.items())))
    _publish(out, Manifest(size_px=options.size_px, datasets=dict(sorted(entries.items()))), report)
    return report


def _open_output(out: Path, size_px: int) -> Manifest:
    """Make the output folder if needed and return the collection in it, empty if there is none."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / manifest.NAME).is_file():
        if strangers := [path.name for path in out.iterdir() if not _is_leftover(path)]:
            msg = f"{out} holds other files: expected a collection or an empty folder, got {strangers[0]!r}."
            raise ValueError(msg)
        return Manifest(size_px=size_px)
    old = manifest.read_manifest(out)
    if old.size_px != size_px:
        msg = f"{out} has another image size: expected {old.size_px}, got {size_px}. Build into a new folder."
        raise ValueError(msg)
    return old


def _is_leftover(path: Path) -> bool:
    """Whether a killed build may have left this file."""
    return path.name in {PENDING_NAME, REPORT_NAME} or bool(
        re.fullmatch(rf"\..+\.partial|{manifest.FILE_PATTERN}", path.name)
    )


def _plan(root: Path, size_px: int) -> tuple[list[_Job], dict[str, DatasetOutcome]]:
    """List what to build, and the datasets whose card or layout is unusable."""
    found: dict[str, tuple[DatasetCard, list[Subject]]] = {}
    outcomes: dict[str, DatasetOutcome] = {}
    for folder in find_datasets(root):
        try:
            card = read_card(folder)
            subjects = find_subjects(folder, card)
        except ValueError as error:
            outcomes[folder.name] = DatasetOutcome(status="left out", reason=str(error))
            continue
        if card.id in found:
            msg = f"{folder.name} repeats a dataset: expected unique ids, got {card.id!r} twice. Rename one."
            raise ValueError(msg)
        found[card.id] = card, subjects
    groups = patient_groups(card for card, _ in found.values())
    return [_Job(card, groups[name], subjects, size_px) for name, (card, subjects) in sorted(found.items())], outcomes


def _finished(out: Path, old: Manifest) -> dict[str, DatasetEntry]:
    """Return, by fingerprint, the datasets that need no building: of the old collection or of a killed build."""
    pending = out / PENDING_NAME
    manifests = [old, *([manifest.parse_manifest(pending)] if pending.is_file() else [])]
    entries = [entry for each in manifests for entry in each.datasets.values()]
    sizes = {path.name: path.stat().st_size for path in out.glob("*.h5")}
    return {entry.fingerprint: entry for entry in entries if sizes.get(entry.file) == entry.file_bytes}


def _build_dataset(
    job: _Job, out: Path, executor: Executor, tick: Callable[[], None]
) -> tuple[DatasetEntry | None, DatasetOutcome]:
    """Put a dataset's file in place under the name of its content; no entry if no subject is usable."""
    temporary = out / f".{job.card.id}.partial"
    written = _write_rows(job, temporary, executor, tick)
    if not written.views:
        temporary.unlink()
        return None, DatasetOutcome(status="left out", rejected=written.rejected, reason="no subject is usable")
    sha256 = manifest.sha256_of(temporary)
    file = temporary.replace(out / f"{job.card.id}-{sha256[:12]}.h5")
    entry = DatasetEntry(
        card=job.card,
        file=file.name,
        sha256=sha256,
        file_bytes=file.stat().st_size,
        fingerprint=job.fingerprint,
        subjects=dict(written.subjects),
        views=written.views,
        rejected=written.rejected,
    )
    return entry, _outcome("built", entry)


def _write_rows(job: _Job, path: Path, executor: Executor, tick: Callable[[], None]) -> _Written:
    """Prepare the subjects on the executor and write their rows in order."""
    written, writer = _Written(), DatasetWriter(path, job.size_px)
    splits = [split_of(subject.id, job.group) for subject in job.subjects]
    prepare = partial(prepare_subject, job.card, job.size_px)
    prepared = executor.map(prepare, job.subjects, splits, chunksize=SUBJECTS_PER_MESSAGE)
    for subject, split, (rows, problems) in zip(job.subjects, splits, prepared, strict=True):
        if problems:
            written.rejected[subject.id] = tuple(problems)
        else:
            written.subjects[split] += 1
        for row in rows:
            writer.append(row)
        tick()
    written.views = writer.close()
    return written


def _outcome(status: Literal["built", "unchanged"], entry: DatasetEntry) -> DatasetOutcome:
    rows = sum(view.rows for view in entry.views)
    return DatasetOutcome(status=status, subjects=sum(entry.subjects.values()), rows=rows, rejected=entry.rejected)


def _publish(out: Path, new: Manifest, report: BuildReport) -> None:
    """Make the new collection the collection, then remove what no manifest names."""
    manifest.sync_folder(out)
    manifest.replace_file(out / manifest.NAME, new.model_dump_json(indent=1).encode())
    manifest.replace_file(out / REPORT_NAME, report.model_dump_json(indent=1).encode())
    named = {entry.file for entry in new.datasets.values()} | {REPORT_NAME}
    for path in out.iterdir():
        if _is_leftover(path) and path.name not in named:
            path.unlink()
