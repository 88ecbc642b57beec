"""Layouts, each of which knows where a dataset keeps its files and turns a folder into subjects with their cases."""

import dataclasses
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from megamed.card_files import cards_in
from megamed.layouts.cases import Case, LabelSource, Subject
from megamed.schema import DatasetCard
from megamed.vocabulary import CARD_NAMES

__all__ = ["Case", "LabelSource", "Subject", "find_datasets", "find_subjects", "read_card"]


def find_datasets(root: Path) -> list[Path]:
    """List the dataset folders of a root: itself if it holds a card, else those of its children that do.

    Raises:
        ValueError: If there is none.
    """
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = [path for path in folders if cards_in(path)]
    if not found:
        names = " or ".join(CARD_NAMES)
        msg = f"{root} holds no dataset: expected {names} in it or in its folders, got none. `megamed init` writes one."
        raise ValueError(msg)
    return [root] if found[0] == root else found


def read_card(folder: Path) -> DatasetCard:
    """Read the one card of a dataset folder.

    Raises:
        ValueError: If the card is invalid, or there are two, or none.
    """
    found = cards_in(folder)
    if len(found) != 1:
        got = " and ".join(path.name for path in found) or "none"
        fix = "Remove one." if found else "`megamed init` writes one."
        msg = f"{folder.name} has {'two cards' if found else 'no card'}: expected one, got {got}. {fix}"
        raise ValueError(msg)
    (path,) = found
    return DatasetCard.from_toml(path) if path.suffix == ".toml" else DatasetCard.from_json(path)


def find_subjects(folder: Path, card: DatasetCard) -> list[Subject]:
    """Gather the cases of a dataset by subject, both sorted by name.

    A case with a problem gives the problem to its subject.

    Raises:
        ValueError: If the folder is not arranged as the card says, or the card names no labels.
    """
    if not card.labels:
        msg = f"{card.id} cannot be built: expected the names of its label values, got none. Add [labels] to its card."
        raise ValueError(msg)
    find: Callable[[Path, DatasetCard], Iterator[Case]] = import_module(f"megamed.layouts.{card.layout}").find_cases
    subjects: dict[str, Subject] = {}
    for case in map(_with_text, sorted(find(folder, card), key=lambda case: case.name)):
        subject_id, problem = case.subject, case.problem
        if subject_id is None:
            try:
                subject_id = card.subject_of(case.name)
            except ValueError as error:
                subject_id, problem = case.name, str(error)
        subject = subjects.setdefault(subject_id, Subject(subject_id, split=case.split))
        if subject.split != case.split:
            problem = f"case {case.name!r} is in another split: expected {subject.split}, got {case.split}."
        if problem:
            subject.problems.append(problem)
        else:
            subject.cases.append(dataclasses.replace(case, subject=subject_id))
    return [subjects[key] for key in sorted(subjects)]


def _with_text(case: Case) -> Case:
    """Give a case whose name is no text, as names of files may be, a name that is, and the problem."""
    name = case.name.encode(errors="backslashreplace").decode()
    if name == case.name:
        return case
    return Case(name, subject=name, problem=f"case {name!r} has no name: expected text in UTF-8. Rename its files.")
