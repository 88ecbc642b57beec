"""The layout `nnunet`: raw data of nnU-Net v2, a file per channel, `imagesTr/<case>_0000` and `labelsTr/<case>`."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, Field, JsonValue, ValidationError

from megamed.layouts.cases import Case, LabelSource, pairing_problem
from megamed.readers.source import Source
from megamed.schema import DatasetCard, Frozen

Model = TypeVar("Model", bound=Frozen)
IGNORE = "ignore"
NAMES_A_MODALITY = re.compile(r"\b(CT|MRI?|PET|US)\b")


class NnunetDescription(Frozen):
    """Fields of an nnU-Net `dataset.json` that tell channels, suffix of the files, and values of labels."""

    model_config = ConfigDict(extra="ignore")
    channel_names: dict[str, str]
    file_ending: str
    labels: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def unknown(self) -> tuple[int, ...]:
        """Values of the pixels that nobody judged: that of the label `ignore`, a name that nnU-Net reserves."""
        value = self.labels.get(IGNORE)
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
    ending, channels = description.file_ending, channel_modalities(card, description.channel_names)
    images: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in _files(folder / "imagesTr", ending):
        case, _, channel = path.name.removesuffix(ending).rpartition("_")
        images[case][str(int(channel)) if channel.isdecimal() else channel] = path
    if _are_colours(description.channel_names) and not any(set(found) - {"0"} for found in images.values()):
        channels = card.files.channels or {"0": card.modality}
    labels = {path.name.removesuffix(ending): path for path in _files(folder / "labelsTr", ending)}
    for case in sorted({*images, *labels}):
        if problem := _problem(case, images[case], labels, channels):
            yield Case(case, problem=problem)
        else:
            sources = {modality: Source((images[case][channel],)) for channel, modality in channels.items()}
            yield Case(case, sources, (LabelSource(Source((labels[case],)), unknown=description.unknown),))


def _are_colours(names: dict[str, str]) -> bool:
    """Whether channels are red, green and blue, which pictures hold in one file."""
    return sorted(name[:1].lower() for name in names.values()) == ["b", "g", "r"]


def read_description(folder: Path, model: type[Model]) -> Model:
    """Read what a layout needs of a dataset.json.

    Raises:
        ValueError: If it is missing or lacks something.
    """
    path = folder / "dataset.json"
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


def _problem(case: str, images: dict[str, Path], labels: dict[str, Path], channels: dict[str, str]) -> str:
    """Say what a case lacks."""
    if missing := sorted(set(channels) - set(images)):
        return f"case {case!r} lacks channels: expected {sorted(channels)}, got none for {missing}."
    return pairing_problem(case, ["image"], [labels[case]] if case in labels else [])


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.endswith(ending) and not path.name.startswith("."))
