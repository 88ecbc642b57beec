"""Source of an image or a label of a dataset: its files, and the part of them that is meant."""

from dataclasses import dataclass
from pathlib import Path

from megamed.readers.pyramid import Region

SERIES = "series"


@dataclass(frozen=True)
class Source:
    """The files of one image or label."""

    files: tuple[Path, ...]
    """One file, or all of a DICOM series; a label that was drawn on an image has its own file before the image's."""
    part: str = ""
    """A colour or the index of a channel; of an npz file the array, as `arrays.read_array` names it; `SERIES`."""

    notes: tuple[str, ...] = ()
    """Remarks for the user on files of the folder that were left out."""

    level: int = 0
    """Level of the resolution that is meant, of an image that has several: 0 is the full one."""

    region: Region | None = None
    """Part of the level that is meant, of an image that may have several; nothing else of it need be decoded."""

    @property
    def name(self) -> str:
        """Name of the first file, by which messages call the source."""
        return self.files[0].name
