"""The look at the images of a folder: which channel, and which level of the resolution is drawn on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from incontext.folders.file_facts import look_at
from incontext.images import channels
from incontext.images.channels import Channel
from incontext.images.source_image import SourceImage, read_source_image
from megamed import formats
from megamed.failures import Attempt
from megamed.files import make_folder, read_json, replace_file
from megamed.pairing import ImagePair
from megamed.readers import pyramid
from megamed.readers.pyramid import Region, Sides
from megamed.readers.stored import StoredImage

FILE = "look.json"
SMALL_BYTES = 2**20
"""Size of a file up to which it is no slide."""


@dataclass(frozen=True)
class Look:
    """Choice of what is looked at of images that have several channels, or several levels of their resolution.

    Attributes:
        channel: The channel; None where images are to have one, or colours.
        level: The level that is drawn on: 0 is the full resolution.
    """

    channel: Channel = None
    level: int = 0

    def read(self, pair: ImagePair) -> SourceImage:
        """Read an image.

        Raises:
            ValueError: If it cannot be used.
            OSError: If it cannot be read.
        """
        return read_source_image(pair.image, pair.name, None, self.channel, self.level)

    def stored(self, path: Path, region: Region | None = None) -> StoredImage:
        """Read what the file of an image holds, or a region of it, as it is displayed.

        Raises:
            ValueError: If it cannot be read.
        """
        source = replace(channels.asked(formats.source_at(path), self.channel, self.level), region=region)
        return channels.of_stored(formats.read(source).filled(), path.name, self.channel)

    @property
    def told(self) -> str:
        """Options by which other commands look at the images in this way; empty if they do so anyway."""
        channel = [] if self.channel is None else [f"--channel {self.channel}"]
        return " ".join([*channel, *([f"--level {self.level}"] if self.level else [])])


PLAIN = Look()
"""Full resolution, and colours as they are."""


def reduced(sizes: Sequence[Sides], side_px: int) -> int:
    """Return the coarsest level whose sides both have some pixels at least; the full resolution if none has."""
    return max((level for level, sides in enumerate(sizes) if min(sides) >= side_px), default=0)


def decided(
    store: Path, pairs: Sequence[ImagePair], channel: Channel, level: int | None, is_drawn: bool, stated: int = 0
) -> Look:
    """Decide how the images of a folder are looked at, and keep that for the next time.

    A level that nobody names is that of the folder's card, by which other commands read it, else that of the labels
    that are there, else the first that is workable for all slides.

    Args:
        store: Hidden folder of the folder.
        pairs: The images and their labels.
        channel: The channel that is asked for, if any.
        level: The level that is asked for, if any.
        is_drawn: Whether anything was drawn, which holds for what was looked at then.
        stated: The level that the folder's card states; 0 if it states none.

    Raises:
        ValueError: If something was drawn on another channel or level, or what was kept is damaged.
        Unwritable: If the system refuses to keep it.
    """
    kept = PLAIN if is_drawn else None
    if (store / FILE).is_file():
        found = read_json(store / FILE, "Delete it to choose anew.")
        kept = Look(found.get("channel"), int(found.get("level", 0)))
    if level is None:
        level = kept.level if kept and (is_drawn or not stated) else stated or _level_of(pairs)
    wanted = Look(channel if channel is not None or kept is None else kept.channel, level)
    if kept and is_drawn and wanted != kept:
        msg = (
            f"{store.parent} was drawn on otherwise: expected {kept.told or '--level 0'}, got {wanted.told or 'none'}. "
            "Say the same, or begin in a folder of its own."
        )
        raise ValueError(msg)
    if wanted != (kept or PLAIN):
        make_folder(store)
        replace_file(store / FILE, json.dumps(vars(wanted)) + "\n")
    return wanted


def _level_of(pairs: Sequence[ImagePair]) -> int:
    found = 0
    for pair in pairs:
        with Attempt():
            sizes = formats.sizes_in(pair.image) if _may_be_slide(pair.image) else []
            if sizes and pair.labels and (size := look_at(pair.files[1]).size_px) in sizes:
                return sizes.index((size[0], size[1]))
            found = max(found, pyramid.workable(sizes))
    return found


def _may_be_slide(path: Path) -> bool:
    return not path.is_file() or path.stat().st_size > SMALL_BYTES
