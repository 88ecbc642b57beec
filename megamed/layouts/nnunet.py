"""The layout `nnunet`: raw data of nnU-Net v2, a file per channel, `imagesTr/<case>_0000` and `labelsTr/<case>`."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, Field, JsonValue, ValidationError

from megamed.layouts.cases import Case, LabelSource, pairing_problem
from megamed.readers.source import Source
from megamed.schema import DatasetCard, Frozen
from megamed.vocabulary import DESCRIPTION

Model = TypeVar("Model", bound=Frozen)
COLOURS = ("red", "green", "blue")
IGNORE = "ignore"
NAMES_A_MODALITY = re.compile(r"\b(CT|MRI?|PET|US)\b")


class ListedCase(Frozen):
    """Paths of a case's images, a file per channel in their order, and of its label."""

    model_config = ConfigDict(extra="ignore")
    images: tuple[str, ...]
    label: str


class NnunetDescription(Frozen):
    """Fields of an nnU-Net `dataset.json` that tell the channels, the files, and values of labels."""

    model_config = ConfigDict(extra="ignore")
    channel_names: dict[str, str]
    file_ending: str
    labels: dict[str, JsonValue] = Field(default_factory=dict)
    dataset: dict[str, ListedCase] = Field(default_factory=dict)
    """Files by case, where they are not those in `imagesTr` and `labelsTr`; paths begin at the dataset's folder."""

    @property
    def unknown(self) -> tuple[int, ...]:
        """Values of the pixels that nobody judged."""
        return ignored(self.labels)


@dataclass
class _NnunetFiles:
    """Files of one case, images by the number of their channel."""

    images: dict[str, Path] = field(default_factory=dict)
    labels: list[Path] = field(default_factory=list)


def ignored(labels: Mapping[str, object]) -> tuple[int, ...]:
    """Values of the label `ignore`, a name that nnU-Net reserves for pixels that nobody judged."""
    value = labels.get(IGNORE)
    return (value,) if isinstance(value, int) else ()


def find_cases(folder: Path, card: DatasetCard) -> Iterator[Case]:
    """Yield the training cases.

    Raises:
        ValueError: If there is no readable dataset.json, or the card names a label that it says to ignore.
    """
    description = read_description(folder, NnunetDescription)
    if named := [card.labels[value] for value in description.unknown if value in card.labels]:
        msg = (
            f"label {named[0]!r} is none: expected a value for a structure, got that which {folder.name}/dataset.json "
            "names 'ignore', of pixels that nobody judged. Take it out of [labels]."
        )
        raise ValueError(msg)
    cases = _listed(folder, description.dataset) if description.dataset else _named(folder, description.file_ending)
    modalities = channel_modalities(card, description.channel_names)
    colours = _colours(card, description.channel_names, cases.values())
    for name, found in sorted(cases.items()):
        if problem := _problem(name, found, {"0"} if colours else set(modalities)):
            yield Case(name, problem=problem)
        elif colours:
            sources = {modality: Source((found.images["0"],), part) for modality, part in colours.items()}
            yield Case(name, sources, (LabelSource(Source((found.labels[0],)), unknown=description.unknown),))
        else:
            sources = {modality: Source((found.images[channel],)) for channel, modality in modalities.items()}
            yield Case(name, sources, (LabelSource(Source((found.labels[0],)), unknown=description.unknown),))


def _named(folder: Path, ending: str) -> dict[str, _NnunetFiles]:
    """Find cases by the names of files, whose ending may be in capitals."""
    cases: dict[str, _NnunetFiles] = defaultdict(_NnunetFiles)
    for name, path in _files(folder / "imagesTr", ending):
        case, _, channel = name.rpartition("_")
        cases[case].images[_number(channel)] = path
    for name, path in _files(folder / "labelsTr", ending):
        cases[name].labels.append(path)
    return cases


def _listed(folder: Path, listed: dict[str, ListedCase]) -> dict[str, _NnunetFiles]:
    """Find the files that are listed by case, in this dataset or in those beside it; others are missing."""
    root, cases = folder.resolve().parent, dict[str, _NnunetFiles]()
    for name, paths in listed.items():
        *images, label = (Path(os.path.realpath(folder / path)) for path in (*paths.images, paths.label))
        found = {str(channel): path for channel, path in enumerate(images) if _is_at(path, root)}
        cases[name] = _NnunetFiles(found, [label] if _is_at(label, root) else [])
    return cases


def _is_at(path: Path, root: Path) -> bool:
    return path.is_relative_to(root) and path.is_file()


def _colours(card: DatasetCard, names: dict[str, str], cases: Iterable[_NnunetFiles]) -> dict[str, str]:
    """Return the part of a picture that is each modality, where three channels are the colours of one file.

    Red, green and blue together are one picture, of which luminance is read; channels of other names, as stains have
    them, are modalities of their own. Empty if every channel has a file.
    """
    if len(names) != len(COLOURS) or any(set(found.images) - {"0"} for found in cases):
        return {}
    if card.files.channels:
        return {modality: channel for channel, modality in card.files.channels.items()}
    if sorted(name[:1].lower() for name in names.values()) == ["b", "g", "r"]:
        return {card.modality: ""}
    modalities = channel_modalities(card, names)
    return {modalities[str(number)]: colour for number, colour in enumerate(COLOURS)}


def _number(channel: str) -> str:
    return str(int(channel)) if channel.isdecimal() else channel


def read_description(folder: Path, model: type[Model]) -> Model:
    """Read what a layout needs of a dataset.json.

    Raises:
        ValueError: If it is missing or lacks something.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        msg = f"{folder.name} has no data: expected dataset.json, got none."
        raise ValueError(msg)
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors())
        msg = f"{path.name} is not as expected: {faults}."
        raise ValueError(msg) from error


def channel_modalities(card: DatasetCard, names: dict[str, str]) -> dict[str, str]:
    """Name the modality of each channel: as the card does, else the card's own with the channel's name."""
    if card.files.channels:
        return card.files.channels
    if len(names) == 1:
        return dict.fromkeys(names, card.modality)
    return {
        channel: name if NAMES_A_MODALITY.search(name) else f"{card.modality} {name}"
        for channel, name in sorted(names.items())
    }


def _problem(name: str, found: _NnunetFiles, channels: set[str]) -> str:
    """Say what a case lacks."""
    if missing := sorted(channels - set(found.images)):
        return f"case {name!r} lacks channels: expected {sorted(channels)}, got none for {missing}."
    return pairing_problem(name, ["image"], found.labels)


def _files(folder: Path, ending: str) -> Iterator[tuple[str, Path]]:
    """Yield the visible files of a folder that have an ending, in order, with their names without it."""
    ending = f".{ending.lower().removeprefix('.')}"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.lower().endswith(ending) and not path.name.startswith("."):
            yield path.name[: -len(ending)], path
