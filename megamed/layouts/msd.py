"""The layout `msd`: the Medical Segmentation Decathlon, listed in dataset.json, channels on the fourth axis."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ConfigDict

from megamed import formats
from megamed.layouts.cases import Case, LabelSource, below
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
        image, label = (below(folder, relative) for relative in (pair.image, pair.label))
        images = _images(image, channels, several=len(description.modality) > 1)
        files = (*(source.files[0] for source in images.values()), label)
        if missing := [path.name for path in files if not path.is_file()]:
            yield Case(name, problem=f"case {name!r} is not a pair: expected {missing}, got none.")
        else:
            yield Case(name, images, (LabelSource(Source((label,))),))


def _images(image: Path, channels: dict[str, str], *, several: bool) -> dict[str, Source]:
    """Return the source of each modality: a channel of the image, or a file of its own, as the first nnU-Net had."""
    stem = formats.stem(image.name)
    apart = {
        modality: image.with_name(f"{stem}_{int(channel):04d}{image.name.removeprefix(stem)}")
        for channel, modality in channels.items()
        if channel.isdecimal()
    }
    if not image.is_file() and any(path.is_file() for path in apart.values()):
        return {modality: Source((path,)) for modality, path in apart.items()}
    return {modality: Source((image,), channel if several else "") for channel, modality in channels.items()}
