"""What a collection holds, written so that a reader sees the old collection or the new one, never a mixture."""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from megamed.schema import DatasetCard, Frozen, Split

NAME = "manifest.json"
FILE_PATTERN = r"[a-z0-9_-]+-[0-9a-f]{12}\.h5"


class View(Frozen):
    """One array of images: a modality seen along an axis."""

    modality: str
    axis: str
    rows: int
    samples: dict[str, int]
    """Per label, the number of rows on which it is present."""


class DatasetEntry(Frozen):
    """One dataset file and everything known without opening it."""

    card: DatasetCard
    file: Annotated[str, StringConstraints(pattern=f"^{FILE_PATTERN}$")]
    sha256: str
    file_bytes: int
    fingerprint: str
    """Hash of the inputs; unchanged inputs are not built again."""
    subjects: dict[Split, int]
    views: tuple[View, ...]
    rejected: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Per rejected subject, the reasons."""


class Manifest(Frozen):
    """The index of a collection; whatever it does not name does not exist."""

    format: Literal["megamed-1"] = "megamed-1"
    size_px: int
    datasets: dict[str, DatasetEntry] = Field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a collection.

    Raises:
        ValueError: If the folder is not a collection that this version can read.
    """
    path = folder / NAME
    if not path.is_file():
        msg = f"{folder} is not a collection: expected {NAME} in it, got none. `megamed build` makes one."
        raise ValueError(msg)
    return parse_manifest(path)


def parse_manifest(path: Path) -> Manifest:
    """Read a manifest file.

    Raises:
        ValueError: If it is malformed or of another version.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        msg = f"{path} is not a manifest of this version: {where}: {first['msg']}. Remove it and build again."
        raise ValueError(msg) from error


def replace_file(path: Path, content: bytes) -> None:
    """Put new content at a path in one step that survives a crash."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
