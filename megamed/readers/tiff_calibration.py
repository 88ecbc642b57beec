"""Size of the pixels of a TIFF file, as OME, ImageJ or the resolution tags state it, and tags that state it."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import Any

from megamed.readers.lengths import mm_per

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, DESCRIPTION = 282, 283, 296, 270
INCH, CENTIMETRE = 2, 3
MM_PER_TAG = {INCH: 25.4, CENTIMETRE: 10.0}
"""Millimetres of the unit of the resolution tags, by its code."""
MOST_PRINTED = 100.0
"""Pixels in a millimetre above which the resolution tags are those of a microscope: below, they mostly say for which
printer or screen a picture was made."""


@dataclass(frozen=True)
class PixelSize:
    """Distances of neighbouring pixels."""

    row_mm: float
    column_mm: float
    plane_mm: float | None = None
    """Distance of planes, if it is stated."""

    def reduced(self, rows: float, columns: float) -> "PixelSize":
        """Return the size of the pixels of a copy of which each is as many rows high and columns wide."""
        return PixelSize(self.row_mm * rows, self.column_mm * columns, self.plane_mm)


def pixel_size(file: Any, series: Any) -> PixelSize | None:
    """Find the size of pixels on the grid as it is seen; None if the file does not tell or its numbers make no sense.

    Args:
        file: The file, as tifffile opens it.
        series: The series of pages that is read.
    """
    if file.is_ome:
        found = _of_ome(file.ome_metadata, file.series.index(series))
    elif file.is_imagej:
        found = _of_imagej(file.imagej_metadata or {}, series.keyframe)
    else:
        found = _of_tags(series.keyframe)
    if found is None or min(found.row_mm, found.column_mm) <= 0:
        return None
    is_turned = series.keyframe.tags.valueof(274, 1) > 4
    return PixelSize(found.column_mm, found.row_mm, found.plane_mm) if is_turned else found


def tags(spacing_mm: tuple[float, ...], planes: int) -> dict[int, Any]:
    """Return tags that state the size of pixels, in centimetres as all readers know them.

    Args:
        spacing_mm: Distances of planes, if there are several, rows and columns.
        planes: Number of planes.
    """
    row_mm, column_mm = spacing_mm[-2:]
    lines = ["ImageJ=1.54f", f"images={planes}", *([f"slices={planes}"] if planes > 1 else []), "unit=cm"]
    if len(spacing_mm) > 2:
        lines.append(f"spacing={spacing_mm[0] / MM_PER_TAG[CENTIMETRE]:.9g}")
    return {
        X_RESOLUTION: MM_PER_TAG[CENTIMETRE] / column_mm,
        Y_RESOLUTION: MM_PER_TAG[CENTIMETRE] / row_mm,
        RESOLUTION_UNIT: CENTIMETRE,
        DESCRIPTION: "\n".join(lines) + "\n",
    }


def _of_ome(text: str, index: int) -> PixelSize | None:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    images = [each for each in root.iter() if each.tag.endswith("}Pixels") or each.tag == "Pixels"]
    if index >= len(images):
        return None
    stated = images[index].attrib
    sizes = []
    for axis in "YXZ":
        unit = mm_per(stated.get(f"PhysicalSize{axis}Unit", "µm"))
        size = _number(stated.get(f"PhysicalSize{axis}"))
        sizes.append(None if unit is None or not size else abs(size) * unit)
    row_mm, column_mm, plane_mm = sizes
    return None if row_mm is None or column_mm is None else PixelSize(row_mm, column_mm, plane_mm)


def _of_imagej(metadata: dict[str, Any], page: Any) -> PixelSize | None:
    if (mm := mm_per(str(metadata.get("unit", "")))) is None:
        return _of_tags(page)
    across, down = (_per_unit(page, tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
    spacing = abs(_number(metadata.get("spacing")) or 0)  # negative where planes go down
    return PixelSize(mm / down, mm / across, mm * spacing or None) if across and down else None


def _of_tags(page: Any) -> PixelSize | None:
    mm = MM_PER_TAG.get(int(page.tags.valueof(RESOLUTION_UNIT, 0)))
    across, down = (_per_unit(page, tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
    if mm is None or not across or not down or min(across, down) / mm < MOST_PRINTED:
        return None
    return PixelSize(mm / down, mm / across)


def _per_unit(page: Any, tag: int) -> float:
    """Read the number of pixels in a unit; 0 if it is not stated."""
    above, below = page.tags.valueof(tag, (0, 1))
    return above / below if below else 0.0


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
