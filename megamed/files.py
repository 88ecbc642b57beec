"""Files that are replaced at once or not at all, their hashes, locks on folders, and JSON that is read back."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

LOCK_NAME = ".lock"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, and put what was written there in place of `path`, unless an error came between.

    The new content is on the disk before it takes the name, and the name before this returns, so that a power cut
    leaves the old file or the new one. A link at `path` is replaced, not followed. Several processes may do so at once;
    the last one's content stays.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        move_into_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def move_into_place(finished: Path, path: Path) -> None:
    """Give a finished file the name `path`, in one step that a power cut cannot take apart."""
    with finished.open("rb+") as file:
        os.fsync(file.fileno())
    finished.replace(path)
    sync_folder(path.parent)


def replace_file(path: Path, content: bytes | str) -> None:
    """Put new content, text as UTF-8, at a path: see `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


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


@contextmanager
def exclusive(folder: Path, work: str = "build") -> Iterator[None]:
    """Keep others of one kind of work out of a folder, where the system can; the lock of a killed process is void.

    Raises:
        ValueError: If another holds it.
    """
    path = folder / LOCK_NAME
    with path.open("a") as file:
        if not (_locked(file) and path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):
            msg = f"{folder} is in use: expected to {work} there alone, got another at work. Wait for its end."
            raise ValueError(msg)
        _HELD.add(file)
        try:
            yield
        finally:
            path.unlink()
            _HELD.remove(file)


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
