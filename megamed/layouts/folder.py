"""The layout `folder`: paths that follow a template, `images/<case>` and `labels/<case>` unless the card says other."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from megamed import formats
from megamed.annotation_files import ToolFiles
from megamed.annotation_tools.yolo import CARDS as YOLO_CARDS
from megamed.annotation_tools.yolo import NAME_LISTS
from megamed.layouts.cases import Case, LabelSource, pairing_problem
from megamed.readers.faults import is_stream
from megamed.readers.ome_zarr import SUFFIXES
from megamed.readers.source import Source
from megamed.schema import DatasetCard, FileRules, slugify
from megamed.voc import SETS, read_splits

IN_FOLDER = "__"
"""Sign between a case and the folder that tells it from others of its name."""
NO_DATA = frozenset({"card.toml", "meta.json", *YOLO_CARDS, *NAME_LISTS})
"""Cards, and lists of the names of classes."""


@dataclass
class _Found:
    """The files of one case; labels by annotator and class."""

    images: list[Path] = field(default_factory=list)
    labels: Mapping[tuple[str, str], list[Path]] = field(default_factory=lambda: defaultdict(list))

    def by_headers(self) -> Self:
        """Leave out the pixels that lie beside a header of their name, as `a.raw` beside `a.mhd`."""
        return replace(
            self,
            images=_known(self.images),
            labels={drawn: _known(paths) for drawn, paths in self.labels.items()},
        )


def _known(paths: list[Path]) -> list[Path]:
    return [path for path in paths if formats.format_of(path) or formats.drawn_format(path)] or paths


def find_cases(folder: Path, card: DatasetCard) -> Iterator[Case]:
    """Yield a case for every name that an image or a label has.

    Raises:
        ValueError: If the folder has neither `images/` nor `volumes/`, or both, and the card gives no template, or if a
            case is in two splits.
    """
    rules = _rules(folder, card)
    if "{case}" not in rules.label:
        yield from _mentioned_cases(folder, card, rules)
        return
    classes = rules.classes or {slugify(name): value for value, name in card.labels.items()}
    classes = {unicodedata.normalize("NFC", name): value for name, value in classes.items()}
    image, label = (template_pattern(template, classes) for template in (rules.image, rules.label))
    cases: dict[tuple[str, str], _Found] = defaultdict(_Found)
    for name in _files(folder, (rules.image, rules.label)):
        path, composed = folder / name, unicodedata.normalize("NFC", name)
        if formats.is_name_list(path):
            continue
        if is_stream(path):
            problem = f"case {name!r} is no file: expected one, got a pipe, a socket or a device."
            yield Case(name, subject=name, problem=problem)
            continue
        if rules.image == rules.label and (match := image.fullmatch(composed)):  # an image may hold its labels
            cases[_folders_of(match), match["case"]].images.append(path)
            if not formats.drawn_format(path):
                continue
        if match := label.fullmatch(composed):
            parts = match.groupdict(default="")
            drawn = parts.get("annotator", ""), parts.get("class_", "")
            cases[_folders_of(match), parts["case"]].labels[drawn].append(path)
        elif match := image.fullmatch(composed):
            if not formats.format_of(path) and formats.drawn_format(path):
                continue  # what a tool saved beside its image
            cases[_folders_of(match), match["case"]].images.append(path)
        elif not card.files.image:  # a file of neither kind is a case without a label: reported, not ignored
            cases["", path.name].images.append(path)
    splits, named = read_splits(folder), _named_apart(cases)
    for case, found in sorted(named.items()):
        yield replace(_case(case, found.by_headers(), card, rules, classes), split=splits.get(case))
    for case in sorted(splits.keys() - named.keys()):
        got = f"{SETS.as_posix()}/{splits[case]}.txt lists it alone"
        yield Case(case, split=splits[case], problem=f"case {case!r} is missing: expected an image and a label, {got}.")


def _folders_of(match: re.Match[str]) -> str:
    """Return what stands for `*` in the folders of a path."""
    stars = sorted((name, text) for name, text in match.groupdict().items() if name.startswith("folder"))
    return IN_FOLDER.join(text for _, text in stars if text)


def _named_apart(cases: Mapping[tuple[str, str], _Found]) -> dict[str, _Found]:
    """Name cases, with the folders that stand for `*` where several hold images of one name, each with its labels.

    Elsewhere these folders have no meaning, as where an image lies in one and its label in another.
    """
    places: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for (folders, case), found in cases.items():
        places[case][0].update([folders] * bool(found.images))
        places[case][1].update([folders] * bool(found.labels))
    named: dict[str, _Found] = defaultdict(_Found)
    for (folders, case), found in cases.items():
        of_images, of_labels = places[case]
        is_apart = len(of_images) > 1 and of_labels <= of_images
        same = named[IN_FOLDER.join(filter(None, (folders, case))) if is_apart else case]
        same.images += found.images
        for drawn, paths in found.labels.items():
            same.labels[drawn] += paths
    return named


def _mentioned_cases(folder: Path, card: DatasetCard, rules: FileRules) -> Iterator[Case]:
    """Yield a case for every image that the files of an annotation tool mention; others are not annotated.

    Raises:
        ValueError: If there is no such file, or one is damaged.
    """
    pattern = template_pattern(rules.image, {})
    cases = {}
    for name in _files(folder, (rules.image,)):
        match = pattern.fullmatch(unicodedata.normalize("NFC", name))
        if match and formats.format_of(folder / name):
            cases[folder / name] = match["case"]
    files = tuple(path for path in sorted(folder.glob(rules.label)) if formats.drawn_format(path))
    if not files:
        msg = f"{folder.name} has no labels: expected an annotation tool's file {rules.label}, got none."
        raise ValueError(msg)
    found, _ = ToolFiles(folder, common=files).owners(list(cases), {}, ())
    several = {name for name, count in Counter(cases[image] for image in found).items() if count > 1}
    for image, paths in sorted(found.items()):
        name = cases[image]
        if name in several:
            yield Case(name, problem=f"case {name!r} is not a pair: expected one image, got several of this name.")
        else:
            yield Case(name, modalities(image, card), tuple(LabelSource(Source((path,))) for path in paths))


def modalities(path: Path, card: DatasetCard) -> dict[str, Source]:
    """Name what is read of an image: its luminance as the card's modality, or channels as modalities of their own."""
    channels, level = card.files.channels or {"": card.modality}, card.files.level
    return {modality: Source((path,), channel, level=level) for channel, modality in channels.items()}


def _case(name: str, found: _Found, card: DatasetCard, rules: FileRules, classes: dict[str, int]) -> Case:
    united = "*" in rules.label
    for (annotator, _), paths in found.labels.items():
        if problem := pairing_problem(name, found.images, paths[:1] if united else paths):
            return Case(name, problem=problem)
        if annotator and not slugify(annotator):
            return Case(name, problem=f"case {name!r} has an annotator without a name: got {annotator!r}.")
    if not found.labels or len(found.images) != 1:
        return Case(name, problem=pairing_problem(name, found.images, []))
    labels = tuple(
        LabelSource(Source((path,)), classes.get(class_), slugify(annotator))
        for (annotator, class_), paths in sorted(found.labels.items())
        for path in paths
    )
    return Case(name, modalities(found.images[0], card), labels)


def _rules(folder: Path, card: DatasetCard) -> FileRules:
    """Complete the templates."""
    rules = card.files
    if rules.image and rules.label:
        return rules
    kinds = [name for name in ("images", "volumes") if (folder / name).is_dir()]
    if len(kinds) != 1 and not rules.image:
        msg = f"{folder.name} has no data: expected either images/ or volumes/, got {kinds or 'neither'}."
        raise ValueError(msg)
    volumes = kinds == ["volumes"] and not rules.image
    image, label = ("volumes/{case}_image", "volumes/{case}_label") if volumes else ("images/{case}", "labels/{case}")
    if card.annotators and not volumes:
        label = "labels/{annotator}/{case}"
    return rules.model_copy(update={"image": rules.image or image, "label": rules.label or label})


def template_pattern(template: str, classes: dict[str, int]) -> re.Pattern[str]:
    """Turn a template into a regular expression of relative paths in composed characters.

    Without classes, any name stands for one. What stands for `*` in the folders are groups, too.
    """
    names = "|".join(re.escape(name) for name in sorted(classes, key=len, reverse=True)) or "[^/]+?"
    parts = {"{case}": "(?P<case>[^/]+?)", "{annotator}": "(?P<annotator>[^/]+?)", "{class}": f"(?P<class_>{names})"}
    seen: set[str] = set()
    pattern = ""
    pieces = re.split(r"({.*?}|\*)", unicodedata.normalize("NFC", template))
    for number, piece in enumerate(pieces):
        if piece in seen:
            pattern += f"(?P={piece.strip('{}').replace('class', 'class_')})"
        elif piece == "*":
            is_folder = "/" in "".join(pieces[number:])
            pattern += f"(?P<folder{number:02}>[^/]*)" if is_folder else "[^/]*"
        else:
            pattern += parts.get(piece, re.escape(piece))
            seen |= {piece} & parts.keys()
    suffixes = "|".join(map(re.escape, formats.image_suffixes()))
    return re.compile(rf"{pattern}(?i:{suffixes}|\.[^./]+)?")


def _files(folder: Path, templates: tuple[str, ...]) -> Iterator[str]:
    """Yield the visible files in the folders that the templates begin with, as paths below the folder."""
    starts = {re.split(r"[{*]", template)[0].rpartition("/")[0] for template in templates}
    tops = [start for start in starts if not any(start.startswith(other) and start != other for other in starts)]
    for top in sorted(tops):
        for place, folders, names in os.walk(folder / top):
            names += [name for name in folders if name.lower().endswith(SUFFIXES)]
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in names)
            below = Path(place).relative_to(folder).as_posix()
            prefix = "" if below == "." else f"{below}/"
            yield from (prefix + name for name in sorted(names) if not name.startswith(".") and name not in NO_DATA)
