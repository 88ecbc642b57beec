"""The manifest of a collection, and the headers of its files: models of what is stored, and their reading."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, ValidationError

from megamed.schema import DatasetCard, Frozen
from megamed.vocabulary import Split

NAME = "manifest.json"
HASH_DIGITS = 12
FILE_PATTERN = rf"[a-z0-9_-]+-[0-9a-f]{{{HASH_DIGITS}}}\.h5"
Format = Literal["megamed-1", "megamed-2"]
"""Versions of the format, which docs/collection-format.md describes; raised when old readers would misread it."""
LATEST: Format = "megamed-2"


class View(Frozen):
    """One array of images: a modality seen along an axis."""

    modality: str
    axis: str
    rows: int
    samples: dict[str, int]
    """Number of rows on which a label is present, for each label."""

    @property
    def group(self) -> str:
        """Name of the HDF5 group."""
        return f"{self.modality}/{self.axis}"


class Provenance(Frozen):
    """Provenance of a dataset: sources, code and settings. Two builds of the same sources give the same."""

    sources_sha256: str
    """Hash over the names and the content of all source files, those of rejected subjects included."""
    standard: dict[str, JsonValue]
    """Settings of the standardisation of images and labels, the fields of `standardise.Standard`."""
    split_group: str
    """Name that was hashed with each subject to assign it to a split."""
    code: str
    """Hash of the modules that decide the result."""
    libraries: dict[str, str]
    """Versions of the libraries that decide the result."""


class Contents(Frozen):
    """Contents of one dataset's file."""

    card: DatasetCard
    subjects: dict[Split, int]
    views: tuple[View, ...]
    rejected: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Reasons for each rejected subject, by its name."""
    provenance: Provenance | None = None


class FileHeader(Frozen):
    """Header of a dataset's file, with which it can be read without its collection."""

    format: Format = LATEST
    size_px: int
    contents: Contents


class DatasetEntry(Contents):
    """One dataset of a collection and everything known without opening its file."""

    file: Annotated[str, StringConstraints(pattern=f"^{FILE_PATTERN}$")]
    sha256: str
    file_bytes: int
    fingerprint: str
    """Hash of the inputs as the build saw them; unchanged inputs are not built again."""

    @property
    def contents(self) -> Contents:
        """Contents as the header of the file states them, without the fields of the entry."""
        return Contents.model_validate(self.model_dump(include=set(Contents.model_fields)))


class Manifest(Frozen):
    """The index of a collection; whatever it does not name does not exist."""

    format: Format = LATEST
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
        msg = f"{path} is not a manifest of this version: {first_fault(error)}. Remove it and build again."
        raise ValueError(msg) from error


def first_fault(error: ValidationError) -> str:
    """Phrase the first thing that is wrong with a file, and where in it."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}"
