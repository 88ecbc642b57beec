"""OME-Zarr labels: label maps in the group `labels` of an image, with names and colours of their values.

Both versions of the format that are in use are read, 0.4 on Zarr 2 and 0.5 on Zarr 3, at full resolution.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer

from megamed.annotation_tools.model import LabelClass, LabelLayers, file_name_of, hex_colour
from megamed.files import replacing
from megamed.label_colours import colour_of, rgb
from megamed.readers.faults import needs, one_error
from megamed.readers.memory import check_room

SUFFIXES = (".zarr",)
MAX_VALUES = 2**30
GROUP_FILES = (".zattrs", "zarr.json")
NAMES = ("class", "name", "label")
"""Properties of a value that name it, the likeliest first."""


def recognises(path: Path) -> bool:
    """Whether a folder is an OME-Zarr image with labels, its group of labels, or one of them."""
    group = path / "labels" if (path / "labels").is_dir() else path
    return any((group / name).is_file() for name in GROUP_FILES) and (
        bool(_attributes(group).get("labels")) or "image-label" in _attributes(group)
    )


def read_labels(path: Path) -> dict[str, LabelLayers]:
    """Read the label maps of an image, by name.

    Args:
        path: The image, its group `labels`, or one of the label maps in it.

    Raises:
        ValueError: If the folder holds no labels, or they cannot be decoded or are too large.
        ImportError: If zarr is not installed.
    """
    with needs("zarr", "OME-Zarr", extra="omezarr"):
        import zarr
    group = path / "labels" if (path / "labels").is_dir() else path
    attributes = _attributes(group)
    names = [_inside(str(name)) for name in attributes.get("labels") or []]
    folders = [group] if "multiscales" in attributes else [group / name for name in names]
    if not folders:
        msg = f"{path.name} holds no labels: expected a group labels that lists them, got none."
        raise ValueError(msg)
    return {folder.name: _read_one(folder, zarr) for folder in folders}


def write_labels(
    path: Path, name: str, labels: Integer[np.ndarray, "..."], classes: Sequence[LabelClass], axes: str = "yx"
) -> None:
    """Add a label map to an image, or to a folder that becomes one, as version 0.4.

    Args:
        path: The image.
        name: Name of the label map.
        labels: The label map, with the values that the classes state.
        classes: Names and, if wanted, colours of the values.
        axes: A letter for each axis, of t, z, y and x.

    Raises:
        ImportError: If zarr is not installed.
    """
    with needs("zarr", "OME-Zarr", extra="omezarr"):
        import zarr
    group = zarr.open_group(path, mode="a", zarr_format=2).require_group("labels")
    known = group.attrs.asdict().get("labels")
    others = [each for each in known if each != name] if isinstance(known, list) else []
    group.attrs["labels"] = [*others, name]
    image = group.require_group(name)
    image.create_array("0", data=labels, chunks=tuple(min(size, 512) for size in labels.shape), overwrite=True)
    image.attrs.update(_description(name, classes, axes))


def write(
    path: Path,
    masks: Mapping[str, Bool[np.ndarray, "..."]],
    axes: str = "yx",
    classes: Sequence[LabelClass] | None = None,
) -> None:
    """Add each mask to an image as a label map of its own, so that those which overlap stay whole.

    Args:
        path: The image.
        masks: Masks by class.
        axes: A letter for each axis, of t, z, y and x.
        classes: Value and colour of each class, in the order of the masks; by default the value is 1.

    Raises:
        ImportError: If zarr is not installed.
    """
    classes = classes or [LabelClass(name, 1, colour_of(place)) for place, name in enumerate(masks, start=1)]
    names: list[str] = []
    for each in classes:
        names.append(file_name_of(each.name, names))
        write_labels(path, names[-1], masks[each.name] * np.uint8(each.value or 1), [each], axes)


def replace(
    path: Path, masks: Mapping[str, Bool[np.ndarray, "..."]], axes: str = "yx", classes: Sequence[LabelClass] = ()
) -> None:
    """Put a folder with the label maps of masks at a path when it is whole. Arguments are those of `write`."""
    with replacing(path) as partial:
        write(partial, masks, axes, classes)


def _attributes(folder: Path) -> dict[str, Any]:
    """Read what a group says of itself; those of version 0.5 stand under `ome`."""
    for name in GROUP_FILES:
        if (folder / name).is_file():
            with one_error(folder, ValueError, OSError):
                content = json.loads((folder / name).read_text(encoding="utf-8"))
            found = content.get("attributes", {}) if name == "zarr.json" else content
            return found.get("ome", found) if isinstance(found, dict) else {}
    return {}


def _inside(name: str) -> str:
    """Refuse a name that leads out of the folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        msg = f"expected the name of a folder inside of the image, got {name!r}."
        raise ValueError(msg)
    return name


def _read_one(folder: Path, zarr: Any) -> LabelLayers:
    attributes = _attributes(folder)
    with one_error(folder, ValueError, OSError, KeyError, IndexError, TypeError, RuntimeError):
        scales = attributes["multiscales"][0]
        array = zarr.open_array(folder / _inside(scales["datasets"][0]["path"]), mode="r")
        if math.prod(array.shape) > MAX_VALUES or array.dtype.kind not in "biu":
            msg = f"expected at most {MAX_VALUES} whole numbers, got {array.dtype} {array.shape}"
            raise ValueError(msg)
        check_room(math.prod(array.shape), f"{array.dtype} {array.shape}")
        axes = "".join(str(axis["name"] if isinstance(axis, dict) else axis)[0] for axis in scales.get("axes", ()))
        labels = np.asarray(array[...])
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels
    classes = tuple((0, each) for each in _classes(attributes.get("image-label") or {}))
    return LabelLayers((labels,), axes or "tczyx"[-labels.ndim :], classes)


def _classes(description: Mapping[str, Any]) -> list[LabelClass]:
    """Read the names and colours of values; one without a name is no class, but an object."""
    colours = {
        each["label-value"]: hex_colour(each.get("rgba", ())[:3])
        for each in description.get("colors") or []
        if "label-value" in each
    }
    classes = []
    for each in description.get("properties") or []:
        name = next((str(each[key]) for key in NAMES if each.get(key)), None)
        if name and "label-value" in each:
            value = int(each["label-value"])
            classes.append(LabelClass(name, value, colours.get(value)))
    return classes


def _description(name: str, classes: Sequence[LabelClass], axes: str) -> dict[str, Any]:
    transformation = {"type": "scale", "scale": [1.0] * len(axes)}
    kinds = [{"name": axis, "type": "time" if axis == "t" else "space"} for axis in axes]
    datasets = [{"path": "0", "coordinateTransformations": [transformation]}]
    colours = [{"label-value": each.value, "rgba": [*rgb(each.colour), 255]} for each in classes if each.colour]
    properties = [{"label-value": each.value, "class": each.name} for each in classes]
    return {
        "multiscales": [{"version": "0.4", "name": name, "axes": kinds, "datasets": datasets}],
        "image-label": {"version": "0.4", "colors": colours, "properties": properties, "source": {"image": "../../"}},
    }
