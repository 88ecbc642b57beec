"""The layout `bids`: images of a BIDS dataset, labels as `*_dseg` or `*_mask` in it or in its derivatives."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from megamed.file_names import ANNOTATOR_WORDS, visible_files
from megamed.layouts.cases import Case, LabelSource, pairing_problem
from megamed.readers.source import Source
from megamed.schema import DatasetCard, slugify

MAP_SUFFIX = "dseg"
MASK_SUFFIXES = frozenset({"mask", "msk", "roi", "seg"})
"""Suffixes of files that hold one structure; BIDS knows the first, public datasets have the others."""
NEITHER = frozenset({"probseg"})
"""Suffixes of what is derived from images, but neither image nor label."""
ENDINGS = (".nii.gz", ".nii")
OWN_SPACE = re.compile(r"orig(?:inal)?|native|individual|scanner|subject|T[12]w|FLAIR|T2star|PDw|dwi|bold|ct|CT")
"""Spaces in which a label lies on its image: that of the scan, or that of images of a suffix."""
ABOUT_LABELS = frozenset({"desc", "label", "seg", "atlas", "res", "den", "hemi"})
"""Entities that a label may have and its image has not."""


@dataclass(frozen=True)
class BidsName:
    """A BIDS file name in parts."""

    entities: dict[str, str]
    suffix: str
    drawn_on: str = ""
    """Suffix of the image that a label was drawn on, where its name goes on after that of the image, or its space."""

    @cached_property
    def image(self) -> str:
        """The entities that an image and its labels have in common."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items() if not self._is_own(key, value))

    def _is_own(self, key: str, value: str) -> bool:
        """Whether an entity is one of labels alone; so is a space that is that of the image."""
        return key in ABOUT_LABELS or (self.is_label and key == "space" and bool(OWN_SPACE.fullmatch(value)))

    @property
    def is_label(self) -> bool:
        """Whether the file is a label map or the mask of a structure."""
        return self.suffix == MAP_SUFFIX or self.suffix in MASK_SUFFIXES

    @property
    def structure(self) -> str:
        """Name of the one structure that the file shows; empty for a map of all."""
        described = "" if self.suffix == MAP_SUFFIX else self.entities.get("desc", "")
        return self.entities.get("label", "") or described


@dataclass
class _BidsFiles:
    """Files of one name: images by suffix, and labels."""

    images: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    labels: list[tuple[BidsName, Path]] = field(default_factory=list)


def find_cases(folder: Path, card: DatasetCard) -> Iterator[Case]:
    """Yield a case for every labelled image, with its images of the suffixes that the card's channels name.

    Without channels it must have one image. A label is of an image if it has all of its entities, besides those that
    only labels have. A file with an entity `label` shows the structure of that name on the card; others are left out.
    """
    cases: dict[str, _BidsFiles] = defaultdict(_BidsFiles)
    for relative in visible_files(folder):
        if is_volume(relative.name):
            name, path = parse_name(relative.name), folder / relative
            if name.is_label:
                cases[name.image].labels.append((name, path))
            elif name.suffix not in NEITHER:
                cases[name.image].images[name.suffix].append(path)
    for common, found in sorted(cases.items()):
        if found.labels:
            yield _case(common, found, card)


def is_volume(name: str) -> bool:
    """Whether a file name is that of a subject's image or label."""
    return name.startswith("sub-") and name.lower().endswith(ENDINGS)


def parse_name(name: str) -> BidsName:
    """Take a BIDS file name apart.

    >>> parse_name("sub-01_ses-2_T1w_label-core_dseg.nii.gz")
    BidsName(entities={'sub': '01', 'ses': '2', 'label': 'core'}, suffix='dseg', drawn_on='T1w')
    """
    *pieces, suffix = name.partition(".")[0].split("_")
    pairs = dict(piece.split("-", 1) for piece in pieces if "-" in piece)
    drawn_on = next((piece for piece in pieces if "-" not in piece), pairs.get("space", ""))
    return BidsName(pairs, suffix, drawn_on)


def _case(name: str, found: _BidsFiles, card: DatasetCard) -> Case:
    subject = found.labels[0][0].entities.get("sub")
    drawn_on = {label.drawn_on for label, _ in found.labels} & found.images.keys()
    channels = card.files.channels or dict.fromkeys(drawn_on or found.images, card.modality)
    labels = _labels(found.labels, card)
    if missing := sorted(set(channels) - set(found.images)):
        problem = f"case {name!r} lacks images: expected {sorted(channels)}, got none for {missing}."
    else:
        images = {suffix: _plainest(found.images[suffix]) for suffix in channels}
        several = [paths for paths in images.values() if len(paths) > 1]
        one = [*several[:1], *images.values()][0] if card.files.channels or several else list(images.values())
        problem = pairing_problem(name, one, labels[:1] if _are_apart(labels) else [each.source for each in labels])
    if problem:
        return Case(name, subject=subject, problem=problem)
    sources = {modality: Source((images[suffix][0],)) for suffix, modality in channels.items()}
    return Case(name, sources, tuple(labels), subject)


def _labels(files: Sequence[tuple[BidsName, Path]], card: DatasetCard) -> list[LabelSource]:
    """Return the labels of an image: masks of what is on the card, maps, or a single mask of whatever name."""
    labels = []
    for name, path in files:
        value = card.class_values.get(slugify(name.structure)) if name.structure else None
        if value is None and len(files) == len(card.labels) == 1 and name.suffix != MAP_SUFFIX:
            (value,) = card.labels
        if value is not None or (name.suffix == MAP_SUFFIX and (len(files) == 1 or not name.entities.get("label"))):
            described = name.entities.get("desc", "")
            annotator = slugify(described) if ANNOTATOR_WORDS.fullmatch(described) else ""
            labels.append(LabelSource(Source((path,)), value, annotator))
    return labels


def _are_apart(labels: Sequence[LabelSource]) -> bool:
    """Whether several labels are of several structures or annotators."""
    kinds = [(label.value, label.annotator) for label in labels]
    return len(set(kinds)) == len(kinds) > 0


def _plainest(paths: Sequence[Path]) -> list[Path]:
    """Keep, of images of one suffix, those with the fewest entities: the raw one beside what was derived from it."""
    fewest = min(len(parse_name(path.name).entities) for path in paths)
    return [path for path in paths if len(parse_name(path.name).entities) == fewest]
