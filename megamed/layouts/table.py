"""The layout `table`: a CSV file whose lines name an image and a label, and if wanted who drew what of whom."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from megamed.layouts.cases import Case, LabelSource, below, pairing_problem
from megamed.layouts.folder import modalities
from megamed.readers.source import Source
from megamed.schema import DatasetCard, slugify
from megamed.vocabulary import Split

COLUMNS = ("image", "label", "case", "subject", "split", "annotator", "class")
REQUIRED = frozenset({"image", "label"})

Line = dict[str, str]


def find_cases(folder: Path, card: DatasetCard) -> Iterator[Case]:
    """Yield a case per image; several lines of one image are its annotators and classes.

    Raises:
        ValueError: If the table is missing, lies elsewhere, lacks a column or has unknown ones.
    """
    cases: dict[str, list[Line]] = {}
    for line in _lines(below(folder, card.files.table)):
        cases.setdefault(line["case"] or Path(line["image"]).name.partition(".")[0], []).append(line)
    for name, lines in cases.items():
        try:
            yield _case(name, lines, folder, card)
        except ValueError as error:
            subject = lines[0]["subject"] or None
            yield Case(name, subject=subject, split=None, problem=f"case {name!r} is unusable: {error}")


def _case(name: str, lines: list[Line], folder: Path, card: DatasetCard) -> Case:
    facts = {column: {line[column] for line in lines} for column in ("image", "subject", "split")}
    if contradictory := [column for column, found in facts.items() if len(found) > 1]:
        msg = f"expected one {contradictory[0]} for all its lines, got {sorted(facts[contradictory[0]])}."
        raise ValueError(msg)
    drawn = [(line["annotator"], line["class"]) for line in lines]
    if len(set(drawn)) != len(drawn):
        return Case(name, problem=pairing_problem(name, ["image"], [line["label"] for line in lines]))
    (subject,), (split,) = facts["subject"], facts["split"]
    if split not in ("", *get_args(Split)):
        msg = f"expected a split of {get_args(Split)}, got {split!r}."
        raise ValueError(msg)
    image = _existing(folder, lines[0]["image"])
    labels = tuple(
        LabelSource(
            Source((_existing(folder, line["label"]),)), _class_value(line["class"], card), slugify(line["annotator"])
        )
        for line in lines
    )
    return Case(name, modalities(image, card), labels, subject or None, split or None)  # type: ignore[arg-type]


def _class_value(name: str, card: DatasetCard) -> int | None:
    """Return the label value that a class stands for; None for no class."""
    if not name:
        return None
    if slugify(name) not in card.class_values:
        msg = f"unknown class: expected one of {sorted(card.class_values)}, got {name!r}."
        raise ValueError(msg)
    return card.class_values[slugify(name)]


def _existing(folder: Path, relative: str) -> Path:
    path = below(folder, relative)
    if not path.is_file():
        msg = f"expected {relative!r}, got no such file."
        raise ValueError(msg)
    return path


def _lines(path: Path) -> list[Line]:
    """Read the table, columns it lacks being empty."""
    if not path.is_file():
        msg = f"{path.parent.name} has no data: expected {path.name}, got none."
        raise ValueError(msg)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            lines = list(reader)
            columns = set(reader.fieldnames or [])
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"{path.name} is not readable: expected CSV in UTF-8, got {error}."
        raise ValueError(msg) from error
    if not REQUIRED <= columns <= set(COLUMNS) or any(None in line or None in line.values() for line in lines):
        msg = f"{path.name} is no table of cases: expected columns {COLUMNS}, got {sorted(columns)}."
        raise ValueError(msg)
    return [{column: (line.get(column) or "").strip() for column in COLUMNS} for line in lines]
