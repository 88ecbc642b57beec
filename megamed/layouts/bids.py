"""The layout `bids`: images of a BIDS dataset, labels as `*_dseg` in it or in its derivatives, matched by entities."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from megamed.layouts.cases import Case, LabelSource, pairing_problem
from megamed.readers.source import Source
from megamed.schema import DatasetCard

LABEL_SUFFIX = "dseg"
ENDINGS = (".nii.gz", ".nii")
ABOUT_LABELS = frozenset({"desc", "label", "seg", "atlas", "res", "den", "hemi"})
"""Entities that a label may have and its image has not."""

Name = tuple[dict[str, str], str]
"""The entities of a file and its suffix."""


def find_cases(folder: Path, card: DatasetCard) -> Iterator[Case]:
    """Yield a case for every label, with its images of the suffixes that the card's channels name, or of the only one.

    An image matches if it has all entities of the label, but those that only labels have, and no others.
    """
    files = {path: parse_name(path.name) for path in _files(folder)}
    labels: dict[str, list[Path]] = defaultdict(list)
    images: dict[str, dict[str, Path]] = defaultdict(dict)
    for path, (entities, suffix) in files.items():
        name = "_".join(f"{key}-{value}" for key, value in entities.items() if key not in ABOUT_LABELS)
        if suffix == LABEL_SUFFIX:
            labels[name].append(path)
        else:
            images[name][suffix] = path
    for name, paths in labels.items():
        yield _case(name, images[name], paths, card)


def _case(name: str, images: dict[str, Path], labels: list[Path], card: DatasetCard) -> Case:
    subject = parse_name(labels[0].name)[0].get("sub")
    channels = card.files.channels or dict.fromkeys(images, card.modality)
    if missing := sorted(set(channels) - set(images)):
        problem = f"case {name!r} lacks images: expected {sorted(channels)}, got none for {missing}."
    else:
        problem = pairing_problem(name, ["image"] if card.files.channels else list(images.values()), labels)
    if problem:
        return Case(name, subject=subject, problem=problem)
    sources = {modality: Source((images[suffix],)) for suffix, modality in channels.items()}
    return Case(name, sources, (LabelSource(Source((labels[0],))),), subject)


def parse_name(name: str) -> Name:
    """Take a BIDS file name apart.

    >>> parse_name("sub-01_ses-2_T1w.nii.gz")
    ({'sub': '01', 'ses': '2'}, 'T1w')
    """
    *pairs, suffix = name.partition(".")[0].split("_")
    return dict(pair.split("-", 1) for pair in pairs if "-" in pair), suffix


def _files(folder: Path) -> Iterator[Path]:
    """Yield the volumes of all subjects."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if name.startswith("sub-") and name.endswith(ENDINGS))
