"""The layout `msd`: the Medical Segmentation Decathlon, listed in dataset.json, channels on the fourth axis."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ConfigDict

from megamed import formats
from megamed.layouts.cases import Case, LabelSource
from megamed.layouts.nnunet import channel_modalities, read_description
from megamed.readers.source import Source
from megamed.schema import DatasetCard, Frozen


class Pair(Frozen):
    """Relative paths of an image and its label."""

    image: str
    label: str


class MsdDescription(Frozen):
    """Fields of a Medical Segmentation Decathlon `dataset.json` by which images and labels are found."""

    model_config = ConfigDict(extra="ignore")
    modality: dict[str, str]
    training: tuple[Pair, ...]


def find_cases(folder: Path, card: DatasetCard) -> Iterator[Case]:
    """Yield the training cases.

    Raises:
        ValueError: If there is no readable dataset.json.
    """
    description = read_description(folder, MsdDescription)
    channels = channel_modalities(card, description.modality)
    for pair in description.training:
        name = formats.stem(Path(pair.image).name)
        paths = [below(folder, relative) for relative in (pair.image, pair.label)]
        if missing := [path.name for path in paths if not path.is_file()]:
            yield Case(name, problem=f"case {name!r} is not a pair: expected {missing}, got none.")
        else:
            image, label = paths
            parts = {
                modality: channel if len(description.modality) > 1 else "" for channel, modality in channels.items()
            }
            images = {modality: Source((image,), part) for modality, part in parts.items()}
            yield Case(name, images, (LabelSource(Source((label,))),))


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
