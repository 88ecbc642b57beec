"""Build a collection: one loop over subjects on any executor, rejecting with reasons, replacing at the end.

Files appear under names that hold their content's hash, and the manifest that names them is replaced last. So a
build killed at any moment leaves the old collection, and the next one reuses the datasets it had finished.
"""

import fnmatch
import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property, partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import Field

from megamed.collection import DatasetWriter
from megamed.collection_folder import REPORT_NAME, CollectionFolder
from megamed.failures import Attempt
from megamed.files import claimed, sha256_of
from megamed.layouts import Subject, find_datasets, find_subjects, read_card
from megamed.licences import is_open
from megamed.manifest import Contents, DatasetEntry, FileHeader, Manifest, Provenance
from megamed.prepare import prepare_subject
from megamed.readers.faults import is_stream
from megamed.rows import PackedRow, pack
from megamed.schema import DatasetCard, Frozen, unknown
from megamed.splits import patient_groups, split_of
from megamed.standardise import Standard
from megamed.unchanged import while_unchanged
from megamed.vocabulary import Split

SUBJECTS_PER_MESSAGE = 4
MOST_NOTED = 10
"""Number of subjects whose notes are shown; the report has all."""
DECIDING_MODULES = (
    *("annotation", "annotation_files", "annotation_tools", "build", "card_files", "class_names", "collection"),
    *("colour_tables", "continued_names", "derived_files", "dicom_folders", "extras", "failures", "file_names"),
    *("files", "formats", "label_colours", "label_values", "labels", "layouts", "look_alikes", "manifest"),
    *("matching", "notes", "outlines", "pairing", "path_templates", "picture_copies", "pixels", "prepare"),
    *("rasterise", "readers", "rows", "schema", "series_labels", "slice_labels", "slice_pictures", "splits"),
    *("squares", "standardise", "subject_pattern", "terms", "tracked_cells", "trimaps", "unchanged", "unknown"),
    *("voc", "vocabulary"),
)
DECIDING_LIBRARIES = ("h5py", "numpy", "pillow")


class DatasetOutcome(Frozen):
    """Outcome of a build for one dataset."""

    status: Literal["built", "unchanged", "left out"]
    subjects: int = 0
    rows: int = 0
    rejected: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Reasons for each rejected subject, by its name."""
    notes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Remarks on what was left out of a subject's files, or assumed of them, by its name; of this build only."""
    reason: str = ""
    """Reason for which the dataset was left out; empty if it was not."""


class BuildReport(Frozen):
    """Outcome of a build for every dataset."""

    datasets: dict[str, DatasetOutcome]
    not_open: tuple[str, ...] = ()
    """Datasets not asked for, since their licence is not open."""

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
        if self.not_open:
            found.append(
                f"{len(self.not_open)} datasets skipped, their licence is not open: {', '.join(self.not_open)}."
            )
        for name, outcome in self.datasets.items():
            if outcome.reason:
                found.append(f"left out {name}: {outcome.reason}")
            for subject, reasons in outcome.rejected.items():
                found += (f"rejected {name}, subject {subject}: {reason}" for reason in reasons)
            for subject, notes in list(outcome.notes.items())[:MOST_NOTED]:
                found += (f"note on {name}, subject {subject}: {note}." for note in notes)
            if len(outcome.notes) > MOST_NOTED:
                more = len(outcome.notes) - MOST_NOTED
                found.append(f"notes on {more} more subjects of {name} are in {REPORT_NAME}.")
        return found


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build: selection of datasets, standardisation, and memory."""

    standard: Standard = field(default_factory=Standard)
    """Size and manner that images and labels are standardised to."""
    force: bool = False
    """Whether datasets are built again even if their inputs are unchanged."""
    only: tuple[str, ...] = ()
    """Ids of the datasets to build, in which `*` stands for anything; all if empty."""
    licence: Literal["open"] | None = None
    """Whether to build only datasets whose licence is open beyond doubt; None builds all."""
    ahead: int = 16
    """Subjects given to the executor before the first of them is written; bounds the memory of finished rows."""


@dataclass(frozen=True)
class _Job:
    """One dataset to build."""

    card: DatasetCard
    group: str
    subjects: list[Subject]
    standard: Standard

    @cached_property
    def splits(self) -> list[Split]:
        return [subject.split or split_of(subject.id, self.group) for subject in self.subjects]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that decides the result, files by name, size and time."""
        return _hash([_code_version(), _libraries(), self.standard, self.group, self.card, self.subjects], _file_state)

    def tasks(self) -> "Iterator[_Task]":
        """Yield the preparation of each subject as a function for the executor."""
        for subject, split in zip(self.subjects, self.splits, strict=True):
            yield partial(_prepare, self.card, self.standard, subject, split)


@dataclass(frozen=True)
class _Prepared:
    """Rows of a subject as an executor prepared them, with the problems found and a hash of its sources."""

    rows: list[PackedRow]
    problems: list[str]
    sources_sha256: str
    notes: tuple[str, ...] = ()
    """Remarks on what was left out or assumed, each once."""


@dataclass
class _Plan:
    """Plan of a build: datasets to build, and those that are left out."""

    jobs: list[_Job] = field(default_factory=list)
    outcomes: dict[str, DatasetOutcome] = field(default_factory=dict)
    """Outcomes of datasets whose card or layout is unusable."""
    not_open: list[str] = field(default_factory=list)


_Task = Callable[[], _Prepared]

Progress = Callable[[str, int, int], None]
"""Called with the dataset, the subjects finished since the last call, and the subjects of the whole build."""


def build(root: Path, out: Path, options: BuildOptions, executor: Executor, progress: Progress) -> BuildReport:
    """Build the datasets below a root into a collection; other datasets that it held before stay.

    Raises:
        ValueError: If the root has no dataset or not one asked for, or `out` is neither new, empty nor a collection
            of this size, another build is at work there, or a file there is somebody's own.
        OSError: If the collection cannot be written.
    """
    for _ in range(os.cpu_count() or 1):
        executor.submit(_do, ())  # workers start while the files are listed
    plan = _plan(Path(os.path.realpath(root)), options)  # workers may run in other folders
    with claimed(out, "build") as ledger:
        return _build(plan, CollectionFolder(out, ledger), options, executor, progress)


def _build(
    plan: _Plan, out: CollectionFolder, options: BuildOptions, executor: Executor, progress: Progress
) -> BuildReport:
    """Build what is planned into a folder that nobody else writes to."""
    size_px = options.standard.size_px
    old = out.open(size_px)
    outcomes, built = dict(plan.outcomes), dict[str, DatasetEntry]()
    finished = {} if options.force else out.finished(old, {job.fingerprint for job in plan.jobs})
    entries = {name: entry for name, entry in old.datasets.items() if name not in outcomes}
    total = sum(len(job.subjects) for job in plan.jobs)
    tasks = (task for job in plan.jobs if job.fingerprint not in finished for task in job.tasks())
    prepared = _in_order(executor, tasks, options.ahead)
    for job in plan.jobs:
        name = job.card.id
        entries.pop(name, None)
        if job.fingerprint in finished:
            entry: DatasetEntry | None
            status, entry = finished[job.fingerprint]
            outcomes[name] = _outcome(status, entry)
            progress(name, len(job.subjects), total)
        else:
            entry, outcomes[name] = _build_dataset(job, out, prepared, partial(progress, name, 1, total))
        if entry:
            entries[name] = entry
        if entry and outcomes[name].status == "built":
            built[name] = entry
            out.note(Manifest(size_px=size_px, datasets=built))
    report = BuildReport(datasets=dict(sorted(outcomes.items())), not_open=tuple(plan.not_open))
    out.publish(Manifest(size_px=size_px, datasets=dict(sorted(entries.items()))), report)
    return report


def _plan(root: Path, options: BuildOptions) -> _Plan:
    """List what to build and what not.

    Raises:
        ValueError: If two datasets have the same id, or none has one that is asked for.
    """
    plan, found = _Plan(), dict[str, tuple[DatasetCard, Path]]()
    for folder in find_datasets(root):
        with Attempt(ImportError) as reading:
            card = read_card(folder)
        if reading.error:
            plan.outcomes[folder.name] = DatasetOutcome(status="left out", reason=reading.reason)
            continue
        if card.id in found:
            msg = f"{folder.name} repeats a dataset: expected unique ids, got {card.id!r} twice. Rename one."
            raise ValueError(msg)
        found[card.id] = card, folder
    wanted = _wanted([*found, *plan.outcomes], options.only)
    plan.outcomes = {name: outcome for name, outcome in plan.outcomes.items() if name in wanted}
    groups = patient_groups(card for card, _ in found.values())  # of all, so that a part splits as the whole
    for name, (card, folder) in sorted(found.items()):
        if name in wanted and options.licence == "open" and not is_open(card.license):
            plan.not_open.append(name)
        elif name in wanted:
            with Attempt(ImportError) as finding:
                plan.jobs.append(_Job(card, groups[name], find_subjects(folder, card), options.standard))
            if finding.error:
                plan.outcomes[name] = DatasetOutcome(status="left out", reason=finding.reason)
    return plan


def _wanted(names: list[str], patterns: tuple[str, ...]) -> set[str]:
    """Choose the names that match any of the patterns, all if there is none."""
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ValueError(unknown("dataset", pattern, names))
    return {name for pattern in patterns or ("*",) for name in fnmatch.filter(names, pattern)}


def _in_order(executor: Executor, tasks: Iterable[_Task], ahead: int) -> Iterator[_Prepared]:
    """Do tasks on an executor, some per message, and yield the results in order.

    At most `ahead` tasks are begun before their turn, but never less than a message.
    """
    begun: deque[Future[list[_Prepared]]] = deque()
    remaining = iter(tasks)
    while message := tuple(islice(remaining, SUBJECTS_PER_MESSAGE)):
        begun.append(executor.submit(_do, message))
        if len(begun) * SUBJECTS_PER_MESSAGE >= ahead:
            yield from begun.popleft().result()
    while begun:
        yield from begun.popleft().result()


def _do(tasks: tuple[_Task, ...]) -> list[_Prepared]:
    return [task() for task in tasks]


def _prepare(card: DatasetCard, standard: Standard, subject: Subject, split: Split) -> _Prepared:
    """Do a subject's share of the work that a worker can do."""
    notes: list[str] = []
    rows: list[PackedRow] = []
    with Attempt(ImportError) as attempt:
        prepared, problems = prepare_subject(card, standard, subject, split, notes)
        rows = [pack(row) for row in prepared]
    if attempt.error:
        rows, problems = [], [f"subject {subject.id!r} cannot be prepared: {attempt.reason}"]
    return _Prepared(rows, problems, _hash(subject, _file_content), tuple(dict.fromkeys(notes)))


def _build_dataset(
    job: _Job, out: CollectionFolder, prepared: Iterator[_Prepared], tick: Callable[[], None]
) -> tuple[DatasetEntry | None, DatasetOutcome]:
    """Put a dataset's file in place under the name of its content; no entry if no subject is usable."""
    notes: dict[str, tuple[str, ...]] = {}
    with out.partial(job.card.id) as temporary:
        contents = _write_file(job, temporary, _noting(job.subjects, prepared, notes), tick)
        if not contents.views:
            return None, DatasetOutcome(status="left out", rejected=contents.rejected, reason="no subject is usable")
        sha256 = sha256_of(temporary)
        file = out.keep(temporary, job.card.id, sha256)
    entry = DatasetEntry(
        **dict(contents),
        file=file.name,
        sha256=sha256,
        file_bytes=file.stat().st_size,
        fingerprint=job.fingerprint,
    )
    return entry, _outcome("built", entry).model_copy(update={"notes": notes})


def _noting(
    subjects: list[Subject], prepared: Iterator[_Prepared], notes: dict[str, tuple[str, ...]]
) -> Iterator[_Prepared]:
    """Pass on the subjects of one dataset, and keep what was remarked on them."""
    for subject, result in zip(subjects, prepared, strict=False):
        if result.notes:
            notes[subject.id] = result.notes
        yield result


def _write_file(job: _Job, path: Path, prepared: Iterator[_Prepared], tick: Callable[[], None]) -> Contents:
    """Write the rows of the subjects in order, and say what was written and what was not."""
    writer, subjects = DatasetWriter(path, job.standard.size_px), Counter[Split]()
    rejected: dict[str, tuple[str, ...]] = {}
    sources = hashlib.sha256()
    for subject, split, result in zip(job.subjects, job.splits, prepared, strict=False):
        sources.update(result.sources_sha256.encode())
        if result.problems:
            rejected[subject.id] = tuple(result.problems)
        else:
            subjects[split] += 1
        for row in result.rows:
            writer.append(row)
        tick()
    contents = Contents(
        card=job.card,
        subjects=dict(sorted(subjects.items())),
        views=writer.finish_views(),
        rejected=rejected,
        provenance=Provenance(
            sources_sha256=sources.hexdigest(),
            standard=asdict(job.standard),
            split_group=job.group,
            code=_code_version(),
            libraries=_libraries(),
        ),
    )
    writer.close(FileHeader(size_px=job.standard.size_px, contents=contents))
    return contents


def _outcome(status: Literal["built", "unchanged"], entry: DatasetEntry) -> DatasetOutcome:
    rows = sum(view.rows for view in entry.views)
    return DatasetOutcome(status=status, subjects=sum(entry.subjects.values()), rows=rows, rejected=entry.rejected)


def _hash(value: object, state: Callable[[Path], object]) -> str:
    """Hash models, dataclasses and plain data; of a file in them counts its name and its state."""

    def plain(item: object) -> object:
        return [item.name, state(item)] if isinstance(item, Path) else vars(item)

    return sha256_of(json.dumps(value, sort_keys=True, default=plain).encode())


def _file_state(path: Path) -> object:
    """Size and time of a file, or of all in a folder; of a file that is not there, none."""
    if path.is_dir():
        return [[each.relative_to(path).as_posix(), _file_state(each)] for each in _files_in(path)]
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _file_content(path: Path) -> object:
    """Hash of a file, or of all in a folder; of a file that cannot be read, none."""
    if path.is_dir():
        return [[each.relative_to(path).as_posix(), _file_content(each)] for each in _files_in(path)]
    if is_stream(path):
        return None
    try:
        return _content_hash(path)
    except OSError:
        return None


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@while_unchanged(most=256)
def _content_hash(path: Path) -> str:
    """Hash a file once, though many subjects may be in it."""
    return sha256_of(path)


@cache
def _code_version() -> str:
    """Hash of the modules that decide what a file of a collection holds."""
    package = Path(__file__).parent
    files = [file for name in DECIDING_MODULES for file in package.glob(f"{name}*/**/*.py")]
    files += [package / f"{name}.py" for name in DECIDING_MODULES if (package / f"{name}.py").is_file()]
    return sha256_of(b"".join(file.read_bytes() for file in sorted(files)))


@cache
def _libraries() -> dict[str, str]:
    """Versions of the libraries that decide what a file of a collection holds."""
    return {name: version(name) for name in DECIDING_LIBRARIES}
