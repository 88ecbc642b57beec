"""Where the files of a dataset are: the `folder` layout, as a list of subjects with their cases."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from megamed.schema import DatasetCard

CARD_NAMES = ("card.toml", "meta.json")
VOLUME_NAME = re.compile(r"^(?P<case>.+)_(?P<kind>image|label)\.nii(\.gz)?$")


@dataclass(frozen=True)
class Case:
    """One annotated image or volume."""

    name: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Subject:
    """All cases of one subject, and what is wrong with its files."""

    id: str
    cases: list[Case] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_datasets(root: Path) -> list[Path]:
    """List the dataset folders of a root: itself if it holds a card, else those of its children that do.

    Raises:
        ValueError: If there is none.
    """
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = [path for path in folders if any((path / name).is_file() for name in CARD_NAMES)]
    if not found:
        msg = f"{root} holds no dataset: expected {' or '.join(CARD_NAMES)} in it or in its folders, got neither."
        raise ValueError(msg)
    return [root] if found[0] == root else found


def read_card(folder: Path) -> DatasetCard:
    """Read the one card of a dataset folder.

    Raises:
        ValueError: If the card is invalid, or there are two.
    """
    toml, json = (folder / name for name in CARD_NAMES)
    if toml.is_file() and json.is_file():
        msg = f"{folder.name} has two cards: expected one, got {' and '.join(CARD_NAMES)}. Remove one."
        raise ValueError(msg)
    return DatasetCard.from_toml(toml) if toml.is_file() else DatasetCard.from_json(json)


def find_subjects(folder: Path, card: DatasetCard) -> list[Subject]:
    """Pair images with labels and gather them by subject, both sorted by name.

    A case that is not exactly one image and one label becomes a problem of its subject.

    Raises:
        ValueError: If the folder has neither `images/` nor `volumes/`, or both.
    """
    subjects: dict[str, Subject] = {}
    files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: {"image": [], "label": []})
    for case, kind, path in _files(folder):
        files[case][kind].append(path)
    for name, found in sorted(files.items()):
        try:
            subject_id, problem = card.subject_of(name), _pairing_problem(name, found)
        except ValueError as error:
            subject_id, problem = name, str(error)
        subject = subjects.setdefault(subject_id, Subject(subject_id))
        if problem:
            subject.problems.append(problem)
        else:
            subject.cases.append(Case(name, found["image"][0], found["label"][0]))
    return [subjects[key] for key in sorted(subjects)]


def _files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield case name, `image` or `label`, and path of every file that is not hidden."""
    kinds = [name for name in ("images", "volumes") if (folder / name).is_dir()]
    if len(kinds) != 1:
        msg = f"{folder.name} has no data: expected either images/ or volumes/, got {kinds or 'neither'}."
        raise ValueError(msg)
    if kinds == ["images"]:
        yield from ((path.stem, "image", path) for path in _visible(folder / "images"))
        yield from ((path.stem, "label", path) for path in _visible(folder / "labels"))
        return
    for path in _visible(folder / "volumes"):
        if match := VOLUME_NAME.match(path.name):
            yield match["case"], match["kind"], path
        else:  # a file of neither kind is a case without a label: reported, not ignored
            yield path.name, "image", path


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _pairing_problem(case: str, found: dict[str, list[Path]]) -> str | None:
    """Say what keeps a case from being one image and one label, if anything does."""
    for kind, paths in found.items():
        if len(paths) != 1:
            got = ", ".join(path.name for path in paths) or "none"
            return f"case {case!r} is not a pair: expected one {kind}, got {got}."
    return None
