"""The folder that a build writes a collection into: what it finds there, whose it is, and what it leaves."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from megamed import manifest
from megamed.files import (
    LEDGER_NAME,
    LOCK_NAME,
    Ledger,
    move_into_place,
    naming,
    replace_file,
    sha256_of,
)
from megamed.manifest import DatasetEntry, Manifest

PENDING_NAME = ".pending.json"
REPORT_NAME = "build_report.json"
NAMES = (manifest.NAME, REPORT_NAME, PENDING_NAME)
PARTIAL = re.compile(rf"\.([a-z0-9_-]+\.partial|({'|'.join(map(re.escape, NAMES))})(\.[0-9]+)?\.part)")
HDF5 = b"\x89HDF"
Finished = dict[str, tuple[Literal["built", "unchanged"], DatasetEntry]]
"""Datasets that need no building, by fingerprint: of the collection, or of a build that was killed."""


@dataclass(frozen=True)
class CollectionFolder:
    """A folder that one build has claimed."""

    path: Path
    ledger: Ledger

    def open(self, size_px: int) -> Manifest:
        """Return the collection that is there, empty if there is none.

        Raises:
            ValueError: If it is of another size, or there are files of somebody else.
        """
        folder = self.path
        if not (folder / manifest.NAME).is_file():
            if strangers := [path.name for path in folder.iterdir() if not self._is_own(path)]:
                msg = f"{folder} holds other files: expected a collection or an empty folder, got {strangers[0]!r}."
                raise ValueError(msg)
            return Manifest(size_px=size_px)
        old = manifest.read_manifest(folder)
        if self.ledger.is_new:  # a collection of a former version
            self.ledger.adopt(*(folder / name for name in NAMES))
        self.ledger.adopt(folder / manifest.NAME)
        self.ledger.refuse_foreign(folder / name for name in NAMES)
        if old.size_px != size_px:
            msg = f"{folder} has another image size: expected {old.size_px}, got {size_px}. Build into a new folder."
            raise ValueError(msg)
        return old

    def _is_own(self, path: Path) -> bool:
        """Whether a build wrote a file: datasets are named by their content, others are in the ledger."""
        if path.name in {LOCK_NAME, LEDGER_NAME}:
            return True
        if not path.is_file():
            return False
        if re.fullmatch(manifest.FILE_PATTERN, path.name):
            return sha256_of(path).startswith(path.stem[-manifest.HASH_DIGITS :])
        if PARTIAL.fullmatch(path.name):
            with path.open("rb") as file:
                return not path.name.endswith(".partial") or file.read(len(HDF5)) in (b"", HDF5)
        return path.name in NAMES and self.ledger.knows(path)

    def finished(self, old: Manifest, wanted: Collection[str]) -> Finished:
        """Return, by fingerprint, those of the wanted datasets whose files are there as they were written."""
        pending = self.path / PENDING_NAME
        killed = manifest.parse_manifest(pending) if pending.is_file() else Manifest(size_px=old.size_px)
        found: Finished = {entry.fingerprint: ("unchanged", entry) for entry in old.datasets.values()}
        found |= {entry.fingerprint: ("built", entry) for entry in killed.datasets.values()}
        return {key: each for key, each in found.items() if key in wanted and self._is_whole(each[1])}

    def _is_whole(self, entry: DatasetEntry) -> bool:
        path = self.path / entry.file
        return path.is_file() and path.stat().st_size == entry.file_bytes and sha256_of(path) == entry.sha256

    @contextmanager
    def partial(self, dataset: str) -> Iterator[Path]:
        """Give a path to write a dataset to, which is gone afterwards unless it was kept."""
        path = self.path / f".{dataset}.partial"
        try:
            with naming(self.path / f"{dataset}-*.h5", path), _numbered(path):
                yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, partial: Path, dataset: str, sha256: str) -> Path:
        """Put the finished file of a dataset in place under the name of its content."""
        file = self.path / f"{dataset}-{sha256[: manifest.HASH_DIGITS]}.h5"
        self.ledger.add(file, sha256)
        move_into_place(partial, file)
        return file

    def note(self, built: Manifest) -> None:
        """Remember the datasets of this build that are finished, in case that it is killed."""
        replace_file(self.path / PENDING_NAME, built.model_dump_json())

    def publish(self, new: Manifest, report: BaseModel) -> None:
        """Make the new collection the collection, then remove what builds wrote and no manifest names.

        Killed at any step, a next build does the same again: what this one finished is known until the very end.
        """
        replace_file(self.path / REPORT_NAME, report.model_dump_json(indent=1))
        replace_file(self.path / manifest.NAME, new.model_dump_json(indent=1))
        kept = {entry.file for entry in new.datasets.values()} | {LEDGER_NAME, LOCK_NAME, *NAMES}
        for path in self.path.iterdir():
            if path.name not in kept and self._is_own(path):
                path.unlink()
        (self.path / PENDING_NAME).unlink(missing_ok=True)


@contextmanager
def _numbered(path: Path) -> Iterator[None]:
    """Give errors of the system that HDF5 tells in words the number and the file that they have elsewhere."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if number := re.search(r"errno = (\d+)", str(error)):
            raise OSError(int(number[1]), str(error), str(path)) from error
        raise
