"""Turn the many errors of decoders into one, and a missing decoder into advice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megamed.extras import missing_extra

MAX_EXPANSION = 1100
"""Largest ratio of declared size to file size that compression can explain: deflate reaches 1032."""


def check_expansion(path: Path, declared_bytes: int) -> None:
    """Refuse a file whose header declares more than it can hold, before memory is set aside for it."""
    if declared_bytes > MAX_EXPANSION * (file_bytes := path.stat().st_size):
        msg = f"expected as much as its header declares, {declared_bytes} bytes, got {file_bytes}"
        raise ValueError(msg)


def is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a socket or a device, which may never end, or never begin."""
    return path.exists() and not path.is_file() and not path.is_dir()


def check_no_stream(path: Path) -> None:
    """Refuse what is neither file nor folder before it is opened.

    Raises:
        ValueError: If it is a pipe, a socket or a device.
    """
    if is_stream(path):
        msg = f"{path.name} cannot be read: expected a file, got a pipe, a socket or a device."
        raise ValueError(msg)


@contextmanager
def one_error(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Raise a decoder's errors as a ValueError that names the file."""
    try:
        yield
    except errors as error:
        msg = f"{path.name} cannot be read: {' '.join(str(error).split())}."
        raise ValueError(msg) from error


@contextmanager
def needs(library: str, format_name: str, doing: str = "Reading", extra: str = "medical") -> Iterator[None]:
    """Say how to install a library whose import fails."""
    try:
        yield
    except ImportError as error:
        raise ImportError(missing_extra(extra, f"{doing} {format_name}", library)) from error
