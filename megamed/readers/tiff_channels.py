"""Names of the channels of a TIFF file, as OME or ImageJ state them."""

import re
from typing import Any
from xml.etree import ElementTree

PLACE = re.compile(r"^(?:[czt]:\d+/\d+[ ;,]*)+(?:- )?", re.IGNORECASE)
"""Place of a plane, which ImageJ writes before the name in its label: `c:1/2 z:3/9 - DAPI`."""


def names_in(file: Any, series: Any, count: int) -> tuple[str, ...]:
    """Return the names of the channels of a series in their order; nothing where none has a name of its own.

    Args:
        file: The file, as tifffile opens it.
        series: The series of pages that is read.
        count: The number of channels.
    """
    if file.is_ome:
        names = ome_names(file.ome_metadata or "", file.series.index(series))
    elif file.is_imagej:
        names = _imagej_names((file.imagej_metadata or {}).get("Labels") or (), count)
    else:
        names = []
    return tuple(names) if len(names) == count and any(names) else ()


def ome_names(xml: str, index: int = 0) -> list[str]:
    """List the names of the channels of an image, "" where one has none; empty if the text states no channels."""
    if not xml or "<!ENTITY" in xml:
        return []
    images = [each for each in ElementTree.fromstring(xml).iter() if each.tag.endswith("}Image")]
    if index >= len(images):
        return []
    return [each.get("Name", "").strip() for each in images[index].iter() if each.tag.endswith("}Channel")]


def _imagej_names(labels: Any, count: int) -> list[str]:
    """List what the labels of planes call the channels, which change fastest; empty if they name planes or files."""
    texts = [PLACE.sub("", str(label)).strip() for label in ([labels] if isinstance(labels, str) else labels)]
    by_channel = [set(texts[channel::count]) for channel in range(count)]
    if not texts or len(texts) % count or any(len(names) > 1 for names in by_channel):
        return []
    names = [names.pop() for names in by_channel]
    return names if len(set(names)) == count else []
