"""Files that appear whole or not at all, locks on what is written, and the ledger by which one's own files are known.

Whatever these programs write for a user passes here: the disk that is full and the file that is somebody else's are
noticed in one place.
"""

import errno
import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import get_native_id
from typing import IO, Any

LOCK_NAME = ".lock"
LEDGER_NAME = ".written.jsonl"
"""File name of the ledger of a folder: a line for each content that was written there."""
PAUSE_S = 0.05
"""Seconds between two looks whether a place is still in use."""
LONGEST_NAME = 255
"""Number of bytes that the name of a file has at most, in all common file systems."""

ROOM = "Free some, then give the same command again."
ACCESS = "Change the permissions, or write elsewhere."
FAULTS = {
    errno.ENOSPC: ("room on the disk", ROOM),
    errno.EDQUOT: ("room within the disk quota", ROOM),
    errno.EFBIG: ("room for a file of this size", ROOM),
    errno.ENAMETOOLONG: (f"names of at most {LONGEST_NAME} bytes", "Choose a shorter one."),
    errno.EROFS: ("a place that may be written to", ACCESS),
    errno.EACCES: ("a place that may be written to", ACCESS),
    errno.EPERM: ("a place that may be written to", ACCESS),
}
"""Expectations where the system refuses to write, and what to do about it, by the number of its error."""
OTHERWISE = "a file system that takes it", "Mend this or write elsewhere, then give the same command again."


class Unwritable(OSError):
    """A file that the system refuses to write; the message names it and the remedy."""


class InUse(ValueError):
    """A place in which another process is at work."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, and put what was written there in place of `path`, unless an error came between.

    A folder may be written as well as a file.
    The new content is on the disk before it takes the name, and the name before this returns, so that a power cut
    leaves the old file or the new one. A link at `path` is replaced, not followed. Several processes or threads may
    do so at once; the last one's content stays. Within `claimed` places, only what these programs wrote is replaced.

    Raises:
        Unwritable: If the system refuses.
        ValueError: If the place is claimed, and a file of somebody else is there.
    """
    ledger = _ledger_of(path)
    if ledger:
        ledger.refuse_foreign([path])
    # under a claim nobody else writes here, so that what a killed process left is written over
    partial = path.with_name(_hidden(path.name, ".part" if ledger else f".{get_native_id()}.part"))
    _remove(partial)
    try:
        with naming(path, partial):
            yield partial
            if ledger:
                ledger.add(path, _hash(partial))
            move_into_place(partial, path)
    finally:
        _remove(partial)


@contextmanager
def naming(path: Path, *parts: Path) -> Iterator[None]:
    """Raise errors of the system on writing a file, or parts of it, as one that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        about = error.filename
        if error.errno is None or (about is not None and Path(os.fsdecode(about)) not in (path, *parts)):
            raise
        expected, fix = FAULTS.get(error.errno, OTHERWISE)
        msg = f"{path} cannot be written: expected {expected}, got {os.strerror(error.errno).lower()!r}. {fix}"
        raise Unwritable(msg) from error


def move_into_place(finished: Path, path: Path) -> None:
    """Give a finished file the name `path`, in one step that a power cut cannot take apart; or a folder, in two."""
    if finished.is_dir():
        _remove(path)
    else:
        with finished.open("rb+") as file:
            os.fsync(file.fileno())
    finished.replace(path)
    sync_folder(path.parent)


def replace_file(path: Path, content: bytes | str) -> None:
    """Put new content, text as UTF-8, at a path: see `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def append(path: Path, text: str) -> None:
    """Add text at the end of a file, made if need be: all of it, or on an error nothing.

    Raises:
        Unwritable: If the system refuses.
        ValueError: If the place is claimed, and a file of somebody else is there.
    """
    content = text.encode()
    if ledger := _ledger_of(path):
        ledger.refuse_foreign([path])
        ledger.add(path, _first_line(path) or sha256_of(content.partition(b"\n")[0]))
    with naming(path), path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            written = file.write(content)
            while written < len(content):
                written += file.write(content[written:])
        except OSError:
            file.truncate(before)
            raise


def make_folder(path: Path) -> None:
    """Make a folder with those above it, unless it is there.

    Raises:
        NotADirectoryError: If a file is in its place.
        Unwritable: If the system refuses.
    """
    with naming(path, *path.parents):
        for each in (path, *path.parents):
            if os.path.lexists(each) and not each.is_dir():
                found = f"the file {each}" if each.exists() else f"the link {each}, which leads nowhere"
                msg = f"{path} cannot be made: expected a folder, got {found}. Name another folder."
                raise NotADirectoryError(msg)
        path.mkdir(parents=True, exist_ok=True)


def _hidden(name: str, ending: str) -> str:
    """Name a hidden file beside a file, by a hash where its name leaves no room for more letters."""
    hidden = f".{name}{ending}"
    return hidden if len(os.fsencode(hidden)) <= LONGEST_NAME else f".{sha256_of(os.fsencode(name))}{ending}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(content: Path | bytes) -> str:
    """SHA-256 of a file's content, or of bytes, in hexadecimal digits."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: dict[str, Any], indent: int | None = 2) -> None:
    """Put a JSON object at a path: see `replacing`."""
    replace_file(path, json.dumps(value, indent=indent) + "\n")


def read_json(path: Path, fix: str) -> dict[str, Any]:
    """Read a JSON object that one of these programs wrote.

    Args:
        path: The file.
        fix: What a user should do if it is damaged, a sentence.

    Raises:
        ValueError: If the file is empty, cut off or no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        value, fault = None, str(error) if path.stat().st_size else "an empty file"
    else:
        fault = f"a {type(value).__name__}"
    if not isinstance(value, dict):
        msg = f"{path} is damaged: expected a JSON object, got {fault}. {fix}"
        raise ValueError(msg)
    return value


class Ledger:
    """Hashes of what these programs wrote into a folder, and into folders below it.

    A hash stands in the ledger before its file takes its name. So a file whose content the ledger does not know was
    written, or changed, by somebody else, whenever a process was killed.

    Args:
        folder: The folder.
        only: The one file that is claimed; None if it is all below the folder.

    Attributes:
        is_new: Whether nothing was entered before, as in the folders of former versions.
    """

    def __init__(self, folder: Path, only: Path | None = None) -> None:
        self.folder, self.only = folder, only
        self._path = folder / LEDGER_NAME
        self._known: set[tuple[str, str]] = set()
        self._written: set[str] = set()
        _check_plain(self._path, "ledger")
        self.is_new = not self._path.exists()
        content = b"" if self.is_new else self._path.read_bytes()
        for line in content.splitlines():
            with suppress(ValueError, KeyError, TypeError, RecursionError):  # a line that a kill cut off
                entry = json.loads(line)
                self._known |= {(entry["sha256"], ""), (entry["sha256"], entry.get("of", ""))}
                self._written.add(entry["file"])
        self._torn = bool(content) and not content.endswith(b"\n")

    def covers(self, path: Path) -> bool:
        """Whether the writing of a file is entered here."""
        return path == self.only if self.only else self.folder in path.parents

    def add(self, path: Path, sha256: str, of: str = "") -> None:
        """Enter the hash of what a file is about to hold.

        Args:
            path: The file.
            sha256: Hash of its content; of a file that grows, hash of its first line.
            of: Hash of all that the content was made of, if it is to be found again.
        """
        if (sha256, of) in self._known:
            return
        entry = {"file": os.fspath(path.relative_to(self.folder)), "sha256": sha256} | ({"of": of} if of else {})
        with naming(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._torn + json.dumps(entry) + "\n")
        self._torn = False
        self._known |= {(sha256, ""), (sha256, of)}
        self._written.add(entry["file"])

    def has_written(self, path: Path) -> bool:
        """Whether one of these programs ever wrote a file of this name, whatever it is now."""
        return os.fspath(path.relative_to(self.folder)) in self._written

    def adopt(self, *paths: Path) -> None:
        """Enter files that were known as one's own by what is in them."""
        for path in paths:
            if path.exists():
                self.add(path, _hash(path))

    def knows(self, path: Path, of: str = "") -> bool:
        """Whether a file is as one of these programs wrote it, of certain inputs if these are given; see `add`."""
        if not (path.is_file() or path.is_dir()):  # to read from a pipe or a device may never end
            return False
        # the first line comes first: a file that grows line by line is not read whole for each of them
        return (not of and (_first_line(path), "") in self._known) or (_hash(path), of) in self._known

    def refuse_foreign(self, paths: Iterable[Path]) -> None:
        """Make sure that no file of somebody else is at some paths.

        Raises:
            ValueError: If one is there.
        """
        for path in paths:
            if path.is_file() and not path.stat().st_size:
                continue
            if path.exists() and not self.knows(path):
                msg = (
                    f"{path} is somebody's own: expected no file, or one as it was written here, got another. "
                    "Move it away, or write elsewhere."
                )
                raise ValueError(msg)


def _check_plain(path: Path, what: str) -> None:
    """Refuse what stands in the place of a file of ours: to open a pipe would wait for whoever is at its other end."""
    if path.exists() and not path.is_file():
        msg = f"{path} is in the way: expected the {what} of a former run, or nothing, got something else. Remove it."
        raise ValueError(msg)


_LEDGERS: list[Ledger] = []
"""Ledgers of the places that this process has claimed, the innermost last."""


def _ledger_of(path: Path) -> Ledger | None:
    return next((each for each in reversed(_LEDGERS) if each.covers(path)), None)


def _hash(path: Path) -> str:
    """Hash of a file, or of the names and contents of all files in a folder."""
    if not path.is_dir():
        return sha256_of(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return sha256_of(repr([(each.relative_to(path).as_posix(), sha256_of(each)) for each in files]).encode())


def _first_line(path: Path) -> str:
    """Hash of the first line of a file; empty without one."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        line = file.readline(2**16)
    return sha256_of(line.removesuffix(b"\n")) if line.endswith(b"\n") else ""


@contextmanager
def claimed(folder: Path, work: str, files: Iterable[str] = ()) -> Iterator[Ledger]:
    """Claim a folder, made if need be: others are kept out, and nothing is replaced in it that they wrote.

    Args:
        folder: The folder.
        work: What is done there, a verb for messages.
        files: Names of files that will be written, which are looked at before any work.

    Raises:
        ValueError: If another process is at work there, or one of the files is somebody else's.
        OSError: If the folder cannot be made or written to.
    """
    make_folder(folder)
    with exclusive(folder, work), _entered(Ledger(folder)) as ledger:
        ledger.refuse_foreign(folder / name for name in files)
        yield ledger


@contextmanager
def claimed_file(path: Path, work: str, change: bool = False) -> Iterator[Ledger]:
    """Claim one file to write, whose folder is made if need be: see `claimed`.

    Args:
        path: The file.
        work: What is done, a verb for messages.
        change: Whether the file is changed because its user asks for it, whoever wrote it.

    Raises:
        IsADirectoryError: If a folder is there.
        ValueError: If another process writes it, or it is somebody else's.
        OSError: If its folder cannot be made or written to.
    """
    if path.is_dir():
        msg = f"{path} is a folder: expected a file to write. Name one, such as {path / f'{path.name}.out'}."
        raise IsADirectoryError(msg)
    make_folder(path.parent)
    with exclusive(path.parent, work, path.name), _entered(Ledger(path.parent, path)) as ledger:
        if change:
            ledger.adopt(path)
        ledger.refuse_foreign([path])
        yield ledger


@contextmanager
def _entered(ledger: Ledger) -> Iterator[Ledger]:
    _LEDGERS.append(ledger)
    try:
        yield ledger
    finally:
        _LEDGERS.remove(ledger)


@contextmanager
def exclusive(folder: Path, work: str = "build", name: str = "") -> Iterator[None]:
    """Keep others of one kind of work out of a folder, where the system can; the lock of a killed process is void.

    Args:
        folder: The folder.
        work: What is done there, a verb for messages.
        name: The one file that others are kept from writing; empty for the whole folder.

    Raises:
        InUse: If another holds it.
        Unwritable: If the folder cannot be written to.
        ValueError: If something that is no file has the name of the lock.
    """
    path = folder / (_hidden(name, LOCK_NAME) if name else LOCK_NAME)
    _check_plain(path, "lock")
    with naming(folder / name, path):
        file = path.open("a")
    with file:
        if not (_locked(file) and path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):
            there = "alone" if name else "there alone"
            msg = f"{folder / name} is in use: expected to {work} {there}, got another at work. Wait for its end."
            raise InUse(msg)
        _HELD.add(file)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            _HELD.remove(file)


@contextmanager
def after_others(claim: Callable[[], AbstractContextManager[object]], tries: int | None = None) -> Iterator[None]:
    """Claim a place after whoever is at it now.

    Args:
        claim: Claims it, or says that it is in use.
        tries: Number of claims, `PAUSE_S` apart, before it is told that the place is in use; by default no end of them.

    Raises:
        InUse: If it still is in use then.
    """
    with ExitStack() as held:
        for count in itertools.count(1):
            with nullcontext() if count == tries else suppress(InUse):
                held.enter_context(claim())
                break
            time.sleep(PAUSE_S)
        yield


_HELD: set[IO[str]] = set()
"""Lock files of this process."""


def _forget_locks() -> None:
    for file in _HELD:
        file.close()


if hasattr(os, "register_at_fork"):  # a forked child may outlive this process, and must not keep others out then
    os.register_at_fork(after_in_child=_forget_locks)


def _locked(file: IO[str]) -> bool:
    """Try to lock an open file until it is closed."""
    if os.name != "posix":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
