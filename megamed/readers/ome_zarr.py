"""Read OME-Zarr images, which are folders: at full resolution, or at the level of the pyramid that a path leads to."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megamed.readers import channels, pyramid
from megamed.readers.faults import needs, one_error
from megamed.readers.lengths import mm_per
from megamed.readers.memory import check_size
from megamed.readers.pyramid import Sides
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, StoredImage

SUFFIXES = (".zarr",)
"""Endings of the names of folders that are one image, as those of files are."""
GROUP_FILES = (".zattrs", "zarr.json")
ARRAY_FILES = (".zarray", "zarr.json")
AXES = "tczyx"
"""Axes of versions that do not name them, as many of the last ones as there are."""
FAULTS = (ValueError, OSError, KeyError, IndexError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Level:
    """One resolution of an image."""

    folder: Path
    axes: str
    scale: tuple[float, ...]
    """Size of a pixel along each axis, in the units of `units`."""
    units: tuple[str, ...]


def attributes(folder: Path) -> dict[str, Any]:
    """Read what a group says of itself; what version 0.5 says stands under `ome`.

    Raises:
        ValueError: If the text is damaged.
    """
    for name in GROUP_FILES:
        if (folder / name).is_file():
            with one_error(folder, ValueError, OSError):
                content = json.loads((folder / name).read_text(encoding="utf-8"))
            found = content.get("attributes", {}) if name == "zarr.json" else content
            return found.get("ome", found) if isinstance(found, dict) else {}
    return {}


def is_image(path: Path) -> bool:
    """Whether a folder is an image, or a level of one, or one array of which nothing is said."""
    if not any((path / name).is_file() for name in (*GROUP_FILES, ARRAY_FILES[0])):
        return False
    return (
        _is_array(path)
        or "multiscales" in attributes(path)
        or any(level.folder == path for level in levels(path.parent))
    )


def _is_array(path: Path) -> bool:
    """Whether a folder is an array outside of any image."""
    if not path.name.lower().endswith(SUFFIXES):
        return False
    if (path / ARRAY_FILES[0]).is_file():
        return True
    with one_error(path, ValueError, OSError, AttributeError):
        content = (path / ARRAY_FILES[1]).read_text(encoding="utf-8") if (path / ARRAY_FILES[1]).is_file() else "{}"
        return bool(json.loads(content).get("node_type") == "array")


def levels(group: Path) -> list[Level]:
    """List the resolutions of an image, the largest first; none if the folder is no image.

    Raises:
        ValueError: If its description is damaged.
    """
    with one_error(group, *FAULTS):
        scales = (attributes(group).get("multiscales") or [{}])[0]
        stated = [axis if isinstance(axis, dict) else {"name": axis} for axis in scales.get("axes") or ()]
        found = []
        for each in scales.get("datasets") or ():
            steps = [step["scale"] for step in each.get("coordinateTransformations") or () if "scale" in step]
            names = "".join(str(axis["name"])[0].lower() for axis in stated)
            units = tuple(str(axis.get("unit", "")) for axis in stated)
            found.append(Level(group / inside(str(each["path"])), names, tuple(map(float, (steps or [()])[0])), units))
        return found


def inside(name: str) -> str:
    """Refuse a name that leads out of the folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        msg = f"expected the name of a folder inside of the image, got {name!r}."
        raise ValueError(msg)
    return name


def read(source: Source, most_pixels: int) -> StoredImage:
    """Read an image as planes or as one; of several channels the one whose index or name `part` gives.

    A level of the source counts from the level that the path leads to, which is the full resolution unless it says so.

    Raises:
        ValueError: If it cannot be decoded, has several volumes or channels of which none is chosen, or is larger than
            `most_pixels`; the message then names the levels.
        ImportError: If zarr is not installed.
    """
    (path,) = source.files
    with needs("zarr", "OME-Zarr", extra="omezarr"):
        import zarr
    group = path if "multiscales" in attributes(path) else path.parent
    known = levels(group)
    if _is_array(path):
        return _array(path, zarr, most_pixels)
    with one_error(path, *FAULTS):
        below = _from(path, known)
        if source.level:
            pyramid.chosen(source.level, [_sides(each, zarr) for each in below])
        level = below[source.level]
        array = zarr.open_array(level.folder, mode="r")
        axes = level.axes or AXES[-array.ndim :]
        sides = dict(zip(axes, array.shape, strict=True))
        planes = [axis for axis in axes if axis not in "cyx" and sides[axis] > 1]
        region = pyramid.within(source.region, (sides["y"], sides["x"]))
        sides |= {"y": region.rows, "x": region.columns}
        if len(planes) > 1:
            msg = f"expected one axis of planes, got {axes} of {array.shape}. Save one time point as its own image"
            raise ValueError(msg)
        try:
            check_size((math.prod(sides[axis] for axis in planes), sides["y"], sides["x"]), 1, most_pixels)
        except ValueError as error:
            raise pyramid.too_large(error, source.level, [_sides(each, zarr) for each in below]) from error
        index = _channel(group, sides.get("c", 1), source.part)
        taken: dict[str, int | slice] = {"c": index or 0, **dict(zip("yx", region.parts, strict=True))}
        chosen = np.asarray(array[tuple(taken.get(axis, slice(None)) for axis in axes)])
        kept = [axis for axis in axes if axis in planes or axis in "yx"]
        order = [kept.index(axis) for axis in (*planes, "y", "x")]
        pixels = chosen.reshape([sides[axis] for axis in kept]).transpose(order)
        full_size = None if level is known[0] else _sides(known[0], zarr)
    geometry = Geometry(spacing=_spacing_mm(level, [*planes, "y", "x"]), full_size=full_size)
    return StoredImage(pixels, "Z" * len(planes) + "YX", geometry, has_part=index is not None)


def _array(path: Path, zarr: Any, most_pixels: int) -> StoredImage:
    """Read an array whose axes nobody names, as those of NumPy."""
    with one_error(path, *FAULTS):
        array = zarr.open_array(path, mode="r")
        check_size((math.prod(array.shape), 1, 1), 1, most_pixels)
        return StoredImage(np.asarray(array[...]))


def _channel(group: Path, count: int, part: str) -> int | None:
    """Find the channel that is meant, as `channels.chosen` does."""
    names = [str(each.get("label", "")) for each in (attributes(group).get("omero") or {}).get("channels") or ()]
    return channels.chosen(part, count, names if len(names) == count else [])


def sizes(path: Path) -> list[Sides]:
    """Return the sizes of the levels of an image, from the one on that a path leads to.

    Raises:
        ValueError: If its description is damaged.
        ImportError: If zarr is not installed.
    """
    with needs("zarr", "OME-Zarr", extra="omezarr"):
        import zarr
    group = path if "multiscales" in attributes(path) else path.parent
    with one_error(path, *FAULTS):
        return [] if _is_array(path) else [_sides(each, zarr) for each in _from(path, levels(group))]


def _from(path: Path, known: list[Level]) -> list[Level]:
    """Leave out the levels before the one that a path leads to, if it leads to one."""
    first = next((index for index, each in enumerate(known) if each.folder == path), 0)
    return known[first:]


def _sides(level: Level, zarr: Any) -> Sides:
    *_, rows, columns = zarr.open_array(level.folder, mode="r").shape
    return rows, columns


def _spacing_mm(level: Level, axes: list[str]) -> tuple[float, ...] | None:
    """Return the distances along some axes in millimetres; None if one is not stated."""
    if len(level.scale) != len(level.axes):
        return None
    places = [level.axes.index(axis) for axis in axes]
    units = [mm_per(level.units[place]) for place in places]
    steps = [level.scale[place] * unit for place, unit in zip(places, units, strict=True) if unit]
    return tuple(steps) if len(steps) == len(units) else None
