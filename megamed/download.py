"""Archives from the net: fetched by URL and hash, resumed where they broke off, unpacked without trusting them."""

import bz2
import gzip
import lzma
import os
import re
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import IO, cast
from urllib.parse import urlsplit

from megamed.files import make_folder, move_into_place, naming, sha256_of, sync_folder

CHUNK_BYTES = 2**20
TIMEOUT_S = 60
SCHEMES = ("https", "http")
UNTOLD_SHARE = 0.5
"""Most of the room on the disk that a download may fill whose length the server does not tell."""
ZIP_ENCRYPTED = 0x1
NAMED_DIGITS = 12
"""Number of digits of a hash that names a file."""
COMPRESSIONS: dict[bytes, Callable[..., BufferedIOBase]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
"""Functions that open a compressed file, by the bytes that it begins with."""

Progress = Callable[[int, int | None], None]
"""Function of the number of bytes fetched so far and, where the server tells, of the whole; None where not."""


@dataclass(frozen=True)
class Limits:
    """Limits to what an archive may unpack to, against archives made to fill a disk."""

    members: int = 1_000_000
    """Largest number of files and folders together."""
    total_bytes: int = 2 * 2**40
    """Largest size of all files together, in bytes."""
    ratio: float = 200.0
    """Largest size of all files together, as a multiple of the size of the archive."""


@dataclass(frozen=True)
class _Member:
    """One entry of an archive, before anything is written."""

    name: str
    size_bytes: int
    problem: str = ""
    """Reason for which the kind of the entry forbids unpacking; empty if it does not."""


def download(url: str, sha256: str, out: Path, unpacked: bool, progress: Progress) -> Path:
    """Fetch a file to `out`, or fetch an archive beside it, unpack it to `out` and remove it.

    Raises:
        ValueError: If the URL, the content or the archive is not as it should be: see `fetch` and `unpack`.
        OSError: If the server cannot be reached, or `out` exists.
    """
    if not unpacked:
        return fetch(url, sha256, out, progress)
    _refuse_existing(out)
    archive = _hidden(out, hash_in(sha256), "archive")
    folder = unpack(fetch(url, sha256, archive, progress), out)
    archive.unlink()
    return folder


def fetch(url: str, sha256: str, path: Path, progress: Progress = lambda done, total: None) -> Path:
    """Download a file of known content; what an interrupted download of it left is kept in a hidden file beside it.

    Args:
        url: URL of the file.
        sha256: SHA-256 of its content, in hexadecimal digits of either case.
        path: File to write.
        progress: Called with what is done.

    Raises:
        ValueError: If the URL is not of the web, the hash cannot be one, the content is not the expected one, or
            another file is at the path.
        OSError: If the server cannot be reached or breaks off, or the file cannot be written; started again, the
            download goes on.
    """
    if urlsplit(url).scheme not in SCHEMES:
        msg = f"URL is not of the web: expected https://…, got {url!r}."
        raise ValueError(msg)
    sha256 = hash_in(sha256)
    if path.is_file() and sha256_of(path) == sha256:
        return path
    if path.exists():
        msg = f"{path} is there already: expected no file, or the one of the hash, got another. Move it away."
        raise ValueError(msg)
    make_folder(path.parent)
    partial = _hidden(path, sha256, "part")
    with naming(path, partial):
        _continue_download(url, partial, progress)
    if (got := sha256_of(partial)) != sha256:
        partial.unlink()
        msg = (
            f"{url} has other content: expected sha256 {sha256}, got {got}. It was discarded; try again, or compare "
            "the hash with its publisher's."
        )
        raise ValueError(msg)
    move_into_place(partial, path)
    return path


def hash_in(text: str) -> str:
    """Return the SHA-256 that somebody typed, in small letters.

    Raises:
        ValueError: If the text cannot be one.
    """
    found = text.strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", found):
        msg = f"sha256 cannot be a hash: expected 64 hexadecimal digits, got {text!r}. Copy it from the publisher."
        raise ValueError(msg)
    return found


def _hidden(path: Path, sha256: str, ending: str) -> Path:
    """Name a file beside another by the content that it will have, so that nobody else has one of that name."""
    return path.with_name(f".{path.name}.{sha256[:NAMED_DIGITS]}.{ending}")


def unpack(archive: Path, folder: Path, limits: Limits = Limits()) -> Path:
    """Unpack a tar or zip file into a new folder, which appears only when it is complete.

    Nothing is written if an entry is absolute, leads outside the folder, is a link or a device, or if the whole is
    larger than the limits or than the disk.

    Raises:
        ValueError: If the archive is hostile, damaged or of another kind.
        FileExistsError: If the folder exists.
    """
    _refuse_existing(folder)
    make_folder(folder.parent)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        target = Path(temporary) / "content"
        target.mkdir()
        with _readable(archive):
            if zipfile.is_zipfile(archive):
                _unpack_zip(archive, target, limits)
            else:
                _unpack_tar(archive, target, limits)
        target.replace(folder)
    sync_folder(folder.parent)
    return folder


def _refuse_existing(folder: Path) -> None:
    if folder.exists():
        msg = f"{folder} exists: expected a new folder. Remove it, or name another."
        raise FileExistsError(msg)


def _continue_download(url: str, partial: Path, progress: Progress) -> None:
    """Append to a partial file what it lacks; start over if the server cannot continue."""
    done = partial.stat().st_size if partial.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            continued = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")
            done = done if continued else 0
            expected = answer.headers.get("Content-Length")
            total = done + int(expected) if expected else None
            most_bytes = _most_bytes(url, total, partial)
            with partial.open("ab" if continued else "wb") as file:
                while chunk := answer.read(CHUNK_BYTES):
                    done += len(chunk)
                    if done > most_bytes:
                        partial.unlink()
                        msg = f"{url} does not end: expected at most {most_bytes} bytes, got more. Check the address."
                        raise OSError(msg)
                    file.write(chunk)
                    progress(done, total)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416:  # the partial file is already whole; its hash decides
            msg = f"{url} cannot be fetched: {error}."
            raise OSError(msg) from error
    except HTTPException as error:
        msg = f"{url} broke off: {error!r}. Start again to continue."
        raise OSError(msg) from error
    else:
        if total is not None and done < total:
            msg = f"{url} broke off: expected {total} bytes, got {done}. Start again to continue."
            raise OSError(msg)


def _most_bytes(url: str, total: int | None, partial: Path) -> int:
    """Most bytes of a download: what the disk holds, or a share of it where the server does not tell the length.

    Raises:
        OSError: If the server tells a length that the disk does not hold.
    """
    held_bytes = partial.stat().st_size if partial.is_file() else 0
    room_bytes = held_bytes + shutil.disk_usage(partial.parent).free
    if total is None:
        return int(UNTOLD_SHARE * room_bytes)
    if total > room_bytes:
        msg = f"{url} does not fit on the disk: expected at most {room_bytes} bytes, got {total}. Free some room."
        raise OSError(msg)
    return total


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Turn the many errors of damaged archives into one."""
    try:
        yield
    except (
        OSError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
    ) as error:
        msg = f"{archive.name} cannot be unpacked: {error}."
        raise ValueError(msg) from error


def _unpack_tar(archive: Path, target: Path, limits: Limits) -> None:
    """Check every header of a tar file, then unpack it under Python's `data` filter."""
    with _decompressed(archive) as content, tarfile.open(fileobj=cast(IO[bytes], content), mode="r:") as tar:
        _check(archive, (_tar_member(member) for member in tar), target, limits)
        for member in tar.getmembers():
            tar.extract(member, target, filter="data")


def _tar_member(member: tarfile.TarInfo) -> _Member:
    plain = member.isfile() or member.isdir()
    return _Member(member.name, member.size, "" if plain else "is a link or a device")


@contextmanager
def _decompressed(archive: Path) -> Iterator["_Sparing"]:
    """Open a tar file, whatever compresses it, such that no header can ask for more memory than it may."""
    with archive.open("rb") as file:
        start = file.read(6)
    opener = next((opener for magic, opener in COMPRESSIONS.items() if start.startswith(magic)), open)
    with opener(archive, "rb") as content:
        yield _Sparing(content)


class _Sparing:
    """A stream that refuses to read much at once; tarfile reads long names and attributes whole."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > CHUNK_BYTES:
            msg = f"a header declares {size} bytes: expected at most {CHUNK_BYTES}"
            raise tarfile.ReadError(msg)
        return self._stream.read(size)


def _unpack_zip(archive: Path, target: Path, limits: Limits) -> None:
    """Check the directory of a zip file, then unpack it; zipfile writes no links and no more than declared."""
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        _check(archive, (_zip_member(member) for member in members), target, limits)
        for member in members:
            file.extract(member, target)


def _zip_member(member: zipfile.ZipInfo) -> _Member:
    problem = "is encrypted" if member.flag_bits & ZIP_ENCRYPTED else ""
    return _Member(member.filename, member.file_size, problem)


def _check(archive: Path, members: Iterator[_Member], target: Path, limits: Limits) -> None:
    """Refuse an archive before anything of it is written."""
    archive_bytes = archive.stat().st_size
    room_bytes = shutil.disk_usage(target).free
    most_bytes = min(limits.total_bytes, limits.ratio * archive_bytes, room_bytes)
    total_bytes = 0
    for count, member in enumerate(members, start=1):
        problem = member.problem or ("leads outside the folder" if _leads_outside(member.name) else "")
        if problem:
            msg = f"{archive.name} is not safe to unpack: {member.name!r} {problem}."
            raise ValueError(msg)
        total_bytes += member.size_bytes
        if count > limits.members or total_bytes > most_bytes:
            msg = (
                f"{archive.name} is not safe to unpack: expected at most {limits.members} entries, {limits.ratio:g} "
                f"times its {archive_bytes} bytes and {room_bytes} bytes in all, got {count} entries and "
                f"{total_bytes} bytes so far."
            )
            raise ValueError(msg)


def _leads_outside(name: str) -> bool:
    """Whether a name inside an archive stands for something outside its folder, on any system."""
    normal = os.path.normpath(name.replace("\\", "/"))
    first = PurePosixPath(normal).parts[:1]
    return normal.startswith("/") or first == ("..",) or ":" in "".join(first)
