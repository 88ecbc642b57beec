"""Subjects and cases as layouts find them, with the sources of their images and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from megamed.readers.source import Source
from megamed.vocabulary import Split


@dataclass(frozen=True)
class LabelSource:
    """Annotation of a case, or a part of it."""

    source: Source
    value: int | None = None
    """The label that every positive pixel has; None if the pixels say it."""
    annotator: str = ""
    """Name of the annotator who drew the label, where a dataset tells several apart."""
    unknown: tuple[int, ...] = ()
    """Values of pixels that nobody judged, where the dataset states them."""


@dataclass(frozen=True)
class Case:
    """One annotated image or volume, of one or more modalities."""

    name: str
    images: dict[str, Source] = field(default_factory=dict)
    """Source of the image in each modality; all images lie on one grid."""
    labels: tuple[LabelSource, ...] = ()
    subject: str | None = None
    """Name of the subject; None where the card's pattern finds it in the name of the case."""
    split: Split | None = None
    """The split that the source prescribes, if it does."""
    notes: tuple[str, ...] = ()
    """Remarks on what of its files is left out."""
    problem: str = ""
    """Reason why the case cannot be used; empty if it can."""

    @property
    def files(self) -> list[Path]:
        """All files of the case."""
        return [
            file for source in (*self.images.values(), *(each.source for each in self.labels)) for file in source.files
        ]


@dataclass(frozen=True)
class Subject:
    """All cases of one subject, and what is wrong with its files."""

    id: str
    cases: list[Case] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    split: Split | None = None
    """The split that the source prescribes, if it does."""

    @property
    def files(self) -> list[Path]:
        """All files of the subject."""
        return [file for case in self.cases for file in case.files]


def pairing_problem(case: str, images: Sequence[object], labels: Sequence[object]) -> str:
    """Say what keeps a case from being one image and one label; empty if nothing does."""
    for kind, found in (("image", images), ("label", labels)):
        if len(found) != 1:
            got = ", ".join(str(getattr(each, "name", each)) for each in found) or "none"
            return f"case {case!r} is not a pair: expected one {kind}, got {got}."
    return ""


def below(folder: Path, relative: str) -> Path:
    """Return a path inside a folder.

    Raises:
        ValueError: If it leads out.
    """
    path = Path(relative)
    if path.is_absolute() or ".." in path.parts:
        msg = f"{relative!r} leads out of {folder.name}: expected a relative path below it."
        raise ValueError(msg)
    return folder / path
