"""Where an image or a label of a dataset lies: its files, and the part of them that is meant."""

from dataclasses import dataclass
from pathlib import Path

SERIES = "series"


@dataclass(frozen=True)
class Source:
    """The files of one image or label."""

    files: tuple[Path, ...]
    """One file, or all of a DICOM series; a label that was drawn on an image has its own file before the image's."""
    part: str = ""
    """A colour or the index of a channel; of an npz file the array, as `arrays.read_array` names it; `SERIES`."""

    notes: tuple[str, ...] = ()
    """What was left out when its files were chosen from a folder."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.files[0].name
