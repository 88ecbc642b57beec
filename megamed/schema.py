"""The schema of a collection: dataset cards, tasks and samples, validated where they are read."""

import difflib
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from megamed.subject_pattern import compiled, first_group
from megamed.vocabulary import Access, Layout, Role, Split

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""A short name in plain letters, which files are called by."""
Term = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9\p{Ll}\p{Lo}\p{Lm}\p{N}][a-z0-9_\-\p{Ll}\p{Lo}\p{Lm}\p{M}\p{N}]{0,63}$")
]
"""A short name in letters of any script, as `slugify` writes it."""
LabelValue = Annotated[int, Field(ge=1, le=255)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-f]{6}$")]
TEMPLATE_FIELDS = frozenset({"case", "class", "annotator"})
ANNOTATOR_MARK = "-by-"
MOST_OPEN = 4
"""Open places in one name of a template; the ways to fill them grow with the power of their number."""
MOST_LETTERS = 48
"""Length of a name that is written from a text."""


def slugify(text: str) -> str:
    """Write any text as a short name of lower-case letters and digits, without the accents of Latin letters.

    >>> slugify("MRI cine (short axis)"), slugify("Müller"), slugify("肝 (左)")
    ('mri-cine-short-axis', 'muller', '肝-左')
    """
    kept = ""
    for letter in unicodedata.normalize("NFKD", text).lower():
        is_accent = unicodedata.category(letter) == "Mn" and kept[-1:].isascii()
        if letter.isascii() or (unicodedata.category(letter)[0] in "LMN" and not is_accent):
            kept += letter
    dashed = re.sub(r"[^a-z0-9_\x80-\U0010ffff]+", "-", unicodedata.normalize("NFC", kept))
    return dashed.strip("-_")[:MOST_LETTERS].rstrip("-_")


def plain_slug(text: str) -> str:
    """Write any text as a `Slug`, without letters that are not Latin; empty if there are no others.

    >>> plain_slug("肝 CT 2"), plain_slug("肝")
    ('ct-2', '')
    """
    return slugify(unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode())


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Phrase the error for a name that is not among the known ones, with the nearest as a suggestion."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"Unknown {kind} {name!r}. {hint}`megamed list` shows all {len(names)}."


def _listed(values: object) -> object:
    """A list of what may be one value."""
    return values if isinstance(values, list | tuple) else (values,)


class Frozen(BaseModel):
    """A model that cannot change once checked and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DatasetSource(Frozen):
    """The repository from which the files of a dataset were taken."""

    repository: str = ""
    commit: str = ""
    paths: tuple[str, ...] = ()


class FileRules(Frozen):
    """Rules by which a layout finds the files of a dataset and reads their values; every layout has its defaults.

    `image` and `label` are templates of paths below the dataset's folder, without the suffix of the file type:
    `{case}` stands for the case name, `{class}` for a key of `classes`, `{annotator}` for who drew the label, `*`
    for anything within a name. Several files of one label and one annotator are united.
    """

    image: str = ""
    """Template of the images in layout `folder`, by default `images/{case}`."""
    label: str = ""
    """Template of the labels in layout `folder`, by default `labels/{case}`, or `labels/{annotator}/{case}` if the card
    names annotators; `masks/{class}/{case}` is another. Or the file in which an annotation tool saved the labels of
    many images, with its suffix: `annotations.json`."""
    classes: dict[Name, LabelValue] = {}
    """Label values by the names that `{class}`, segments of a DICOM-SEG, RTSTRUCT regions or a table's column `class`
    take, where these are not the labels' own. Every positive pixel of such a file is of that class; of what has one of
    the values of `unknown`, nobody judged."""
    missing_class: Literal["unknown", "background"] = "unknown"
    """Meaning of a case that has no file, segment or region of a class."""
    colours: dict[Colour, LabelValue] = {}
    """Label values by colour, such as `"#ff0000" = 1`; black is background and any other colour an error. One of the
    values of `unknown` makes a colour unknown."""
    unknown: Annotated[tuple[int, ...], BeforeValidator(_listed)] = ()
    """Values of the pixels of label maps that nobody judged, such as 255: these are neither of a label nor background.
    NaN always says so, in a map that has zeros too."""
    positive_above: Annotated[int, Field(ge=0)] | None = None
    """Threshold of labels that are masks (0, 255) or instances (1, 2, ...): larger values are the only label."""
    instance_divisor: Annotated[int, Field(ge=2)] | None = None
    """Divisor of instance numbers that count by class: the label value is the integer quotient."""
    channels: dict[Name, Name] = {}
    """Modalities by channel, for channels that are modalities of their own: `red`, `green`, `blue` or `luminance` of
    pictures, the name of a channel in its file (`DAPI`) or its number (`0`, `1`, ...), or a BIDS suffix (`T1w`)."""
    level: Annotated[int, Field(ge=0)] = 0
    """Level of the resolution of whole slides and other pyramids in layout `folder`; 0 is the full one. Labels that are
    pyramids are read at the level that has the image's size, and what was drawn at full resolution is reduced."""
    table: str = "cases.csv"
    """Table of layout `table`, with the columns image, label and optionally case, subject, split, annotator, class."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for template in filter(None, (self.image, self.label)):
            fields = set(re.findall(r"{(.*?)}", template))
            is_file = template == self.label and not fields and "." in template.rpartition("/")[2]
            is_known = fields <= TEMPLATE_FIELDS and ("case" in fields or is_file)
            if not is_known or ".." in template or template.startswith("/"):
                msg = f"template is unusable: expected a relative path with {{case}}, got {template!r}."
                raise ValueError(msg)
            if any(len(re.findall(r"{.*?}|\*", name)) > MOST_OPEN for name in template.split("/")):
                msg = f"template is unusable: expected at most {MOST_OPEN} of {{…}} and * in a name, got {template!r}."
                raise ValueError(msg)
        if sum(map(bool, (self.colours, self.positive_above is not None, self.instance_divisor))) > 1:
            msg = "label values have two meanings: expected one of colours, positive_above and instance_divisor."
            raise ValueError(msg)
        return self


class DatasetCard(Frozen):
    """The facts of one published dataset."""

    id: Slug
    """Unique name, the first part of every task id."""
    title: str = ""
    role: Role = "train"
    """Purpose that the dataset may serve; `dev` and `heldout` are never trained on."""
    modality: Name
    anatomy: str = ""
    labels: dict[LabelValue, Name] = {}
    """Name of each value of the label maps; 0 is background. Empty while unknown: such a dataset cannot be built."""
    derived_labels: dict[Name, tuple[LabelValue, ...]] = {}
    """Unions of label values that are tasks of their own."""
    annotated: dict[Name, tuple[str, ...]] = {}
    """Subjects for whom a label was annotated, by label, if not for all. For others it is unknown, not absent."""
    annotators: dict[Name, int] = {}
    """Number of cases that each annotator drew, by name, where several people drew the same images."""
    consensus: Name | None = None
    """Name of the annotator whose labels are what the others agreed on, if there is one. No person, it has no part in
    a majority: where it drew, it is what others are compared with."""
    label_layout: str = ""
    """Description of where the labels of each annotator lie, for people; `files` is what is read."""
    inter_annotator_dice: dict[str, JsonValue] = {}
    """Dice between annotators as the source of the card measured it."""
    layout: Layout = "folder"
    """Name of the arrangement of the files."""
    files: FileRules = FileRules()
    """Deviations of this dataset from the defaults of its layout."""
    tree: str = ""
    """The files to expect after the download."""
    subject_pattern: str = "^(.+)$"
    """Regular expression searched in the case name; its first group is the subject."""
    subject_block: Annotated[int, Field(ge=1)] | None = None
    """Number of consecutive numbers that count as one subject; the pattern's group must then be a number."""
    subject_rule: str = ""
    shares_patients_with: tuple[Slug, ...] = ()
    """Datasets with the same people under the same subject names; their splits agree."""
    license: Name | None = None
    """Licence as the source states it; None if it is not known."""
    access: Access | None = None
    """Whether anyone may download it, whoever registers, or whoever is granted a request."""
    citation: str = ""
    homepage: str = ""
    facts: str = ""
    """Sources of the facts on this card."""
    source: DatasetSource = DatasetSource()
    notes: str = ""
    sequences: dict[str, Any] = {}
    """Facts of each film by its subject: the number of frames, and the numbers that they have at the source."""
    n_cases: int | None = None
    n_subjects: int | None = None
    size_mb: float | None = None
    """Size of the dataset's files, in megabytes."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        compiled(self.subject_pattern)
        for name, values in self.derived_labels.items():
            if stray := set(values) - set(self.labels):
                msg = (
                    f"derived label {name!r} uses unknown values: expected {sorted(self.labels)}, got {sorted(stray)}."
                )
                raise ValueError(msg)
        if nameless := set(self.annotated) - set(self.labels.values()):
            msg = f"annotated names unknown labels: expected {sorted(self.labels.values())}, got {sorted(nameless)}."
            raise ValueError(msg)
        if self.consensus and self.annotators and self.consensus not in self.annotators:
            msg = f"consensus is of nobody: expected one of {sorted(self.annotators)}, got {self.consensus!r}."
            raise ValueError(msg)
        if both := sorted({*self.labels} & {*self.files.unknown}):
            msg = f"label values have two meanings: expected either a name or to be unknown, got both for {both}."
            raise ValueError(msg)
        used = {*self.files.classes.values(), *self.files.colours.values()}
        if unnamed := used - {*self.labels, *self.files.unknown}:
            msg = f"files use unknown label values: expected {sorted(self.labels)}, got {sorted(unnamed)}."
            raise ValueError(msg)
        names = (self.modality, *self.files.channels, *self.labels.values(), *self.derived_labels)
        if wordless := [name for name in names if not slugify(name)]:
            msg = f"name has no letters: expected letters or digits of any script, got {wordless[0]!r}. Use words."
            raise ValueError(msg)
        slugs = [slugify(name) for name in (*self.labels.values(), *self.derived_labels)]
        if twice := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
            msg = f"label names are not unique: expected one label per name, got {twice} more than once."
            raise ValueError(msg)
        return self

    @property
    def modality_slug(self) -> str:
        """The modality as it appears in task ids."""
        return slugify(self.modality)

    @property
    def consensus_slug(self) -> str:
        """Name of the consensus as annotations have it; empty if there is none."""
        return slugify(self.consensus or "")

    @property
    def masks(self) -> dict[str, tuple[int, ...]]:
        """Every binary label of the dataset, plain or derived: its slug and the values it unites."""
        plain = {slugify(name): (value,) for value, name in self.labels.items()}
        return plain | {slugify(name): values for name, values in self.derived_labels.items()}

    def has_label(self, slug: str) -> bool:
        """Whether a task's label is of this dataset: a mask of the card, or one annotator's version of it."""
        return any(slug == mask or slug.startswith(mask + ANNOTATOR_MARK) for mask in self.masks)

    @property
    def class_values(self) -> dict[str, int]:
        """Label values by the slugs of what files, segments or regions of one class may be called."""
        named = {name: value for value, name in self.labels.items()} | self.files.classes
        return {slugify(name): value for name, value in named.items()}

    def unknown_values(self, subject: str) -> frozenset[int]:
        """Values of the labels that were not annotated for a subject."""
        return frozenset(
            value
            for value, name in self.labels.items()
            if name in self.annotated and subject not in self.annotated[name]
        )

    def subject_of(self, case: str) -> str:
        """Name the subject that a case belongs to.

        Raises:
            ValueError: If the case name does not match `subject_pattern`, or the block rule needs a number.
            TimeoutError: If the search takes too long.
        """
        subject = first_group(self.subject_pattern, case)
        if not subject:
            msg = f"case {case!r} names no subject: expected a match of {self.subject_pattern!r}, got none."
            raise ValueError(msg)
        if self.subject_block is None:
            return subject
        if not subject.isdecimal():
            msg = f"case {case!r} names no block: expected a number as subject, got {subject!r}."
            raise ValueError(msg)
        return str(int(subject) // self.subject_block)

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a card written as TOML."""
        return cls._from_text(path, tomllib.loads)

    @classmethod
    def from_json(cls, path: Path) -> Self:
        """Read a card written as JSON."""
        return cls._from_text(path, partial(json.loads, parse_constant=_refused))

    @classmethod
    def _from_text(cls, path: Path, parse: Callable[[str], object]) -> Self:
        try:
            return cls.model_validate(parse(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            faults = "; ".join(map(_fault, error.errors()))
            msg = f"{path.parent.name}/{path.name} is not a dataset card: {faults}. Correct the file."
            raise ValueError(msg) from error
        except (ValueError, RecursionError) as error:
            msg = f"{path.parent.name}/{path.name} is not readable: expected {path.suffix[1:].upper()}, got {error}."
            raise ValueError(msg) from error


def _refused(constant: str) -> None:
    """Refuse what Python reads in JSON, and JSON does not know.

    Raises:
        ValueError: In any case.
    """
    msg = f"{constant}, which is no JSON"
    raise ValueError(msg)


def _fault(error: Any) -> str:
    field = ".".join(map(str, error["loc"])) or "card"
    if error["type"] == "extra_forbidden":
        return f"{field} is no field of a card"
    return f"{field}: {error['msg']}"


class Task(Frozen):
    """One binary segmentation problem; every part is a slug."""

    dataset: Slug
    modality: Term
    axis: Slug
    """`2d` for images; `sagittal`, `coronal` or `axial` for slices of volumes."""
    label: Term

    @property
    def id(self) -> str:
        """The task's name: `dataset/modality/axis/label`."""
        return f"{self.dataset}/{self.view}/{self.label}"

    @property
    def view(self) -> str:
        """The array of images that holds the task: `modality/axis`."""
        return f"{self.modality}/{self.axis}"

    @classmethod
    def from_id(cls, task_id: str) -> Self:
        """Read a task back from its id."""
        parts = task_id.split("/")
        if len(parts) != len(cls.model_fields):
            msg = f"task id is malformed: expected 'dataset/modality/axis/label', got {task_id!r}."
            raise ValueError(msg)
        return cls(**dict(zip(cls.model_fields, parts, strict=True)))


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a task."""

    row: int
    """Row in the arrays of the task's view."""
    subject: str
    case: str
    split: Split
    area_px: int
    """Number of label pixels at the collection's size: 0 if it lacks the label, -1 if nobody looked."""
