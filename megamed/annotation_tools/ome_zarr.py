"""OME-Zarr labels: label maps in the group `labels` of an image, with names and colours of their values.

Both versions of the format that are in use are read, 0.4 on Zarr 2 and 0.5 on Zarr 3, at full resolution.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer

from megamed.annotation_tools.model import LabelClass, LabelLayers, file_name_of, hex_colour
from megamed.files import replacing
from megamed.label_colours import colour_of, rgb
from megamed.label_values import distinct
from megamed.readers.faults import needs, one_error
from megamed.readers.memory import check_room
from megamed.readers.ome_zarr import AXES, FAULTS, GROUP_FILES, attributes, inside, levels
from megamed.readers.stored import Canvas, DrawnLabel, Geometry, Segment

MAX_VALUES = 2**30
SAME_FIELD = 0.05
"""Largest difference of the factors between the sides of two levels of one image, which rounding makes."""
MOST_SHOWN = 5
NAMES = ("class", "name", "label")
"""Properties of a value that name it, the likeliest first."""


def recognises(path: Path) -> bool:
    """Whether a folder is an OME-Zarr image with labels, its group of labels, or one of them."""
    group = path / "labels" if (path / "labels").is_dir() else path
    if not any((group / name).is_file() for name in GROUP_FILES):
        return False
    stated = attributes(group)
    return bool(stated.get("labels")) or "image-label" in stated or (group != path and bool(_label_maps_in(group)))


def read_labels(path: Path, shape: tuple[int, ...] | None = None) -> dict[str, LabelLayers]:
    """Read the label maps of an image, by name.

    Args:
        path: The image, its group `labels`, or one of the label maps in it.
        shape: Size of the level to read, without axes of length 1; by default, or if there is none, full resolution.

    Raises:
        ValueError: If the folder holds no labels, or they cannot be decoded or are too large.
        ImportError: If zarr is not installed.
    """
    with needs("zarr", "OME-Zarr", extra="omezarr"):
        import zarr
    return {folder.name: _read_one(folder, zarr, shape) for folder in _label_folders(path)}


def names_in(path: Path) -> dict[int, str]:
    """Return the names of the structures by number: those of values, and of label maps whose values have none.

    Raises:
        ValueError: If the folder holds no labels, or they are damaged.
    """
    return dict(enumerate(_structures(path), start=1))


def read_drawn(path: Path, canvas: Canvas) -> DrawnLabel:
    """Read the labels of an image, at the level that has its size.

    A label map whose values have no names numbers objects of one class, which is called as the map.

    Raises:
        ValueError: If they cannot be read, or no level has the size of the image.
        ImportError: If zarr is not installed.
    """
    found = read_labels(path, canvas.shape)
    masks: dict[str, Bool[np.ndarray, ...]] = {}
    for name, layers in found.items():
        drawn = layers.labels() if layers.classes else {name: layers.layers[0] > 0}
        for each, mask in drawn.items():
            masks[each] = masks[each] | mask if each in masks else mask
    notes = [f"{path.name}: {note}" for name, layers in found.items() for note in _nameless(name, layers)]
    for name, mask in masks.items():
        own = mask.reshape(_without_ones(mask.shape))
        if own.shape != canvas.shape:
            masks[name] = _scaled(own, canvas.shape, path.name)
            scaled = f"{path.name}: labels have {_sides(own.shape)} pixels, of which the nearest count"
            notes += [scaled] if scaled not in notes else []
    planes = (-1, *canvas.shape[-2:])
    segments = tuple(
        Segment(number, name, functools.partial(np.reshape, masks[name].astype(np.uint8), planes))
        for number, name in names_in(path).items()
        if name in masks
    )
    colours = {each.name: each.colour for layers in found.values() for _, each in layers.classes if each.colour}
    return DrawnLabel(Geometry(), segments, names_in(path), notes, is_complete=True, colours=colours)


def _nameless(name: str, layers: LabelLayers) -> list[str]:
    """Tell of the values of a label map that have no name, where others have one."""
    named = {each.value for _, each in layers.classes}
    others = sorted({*distinct(layers.layers[0]).tolist()} - {0, *named}) if named else []
    shown = ", ".join(map(str, others[:MOST_SHOWN])) + (", …" if len(others) > MOST_SHOWN else "")
    return [f"values of {name} without a name are read as background: {shown}"] if others else []


def _scaled(mask: Bool[np.ndarray, "*stored"], shape: tuple[int, ...], name: str) -> Bool[np.ndarray, "*grid"]:
    """Bring a mask to the grid of its image, which shows the same field in other pixels.

    Raises:
        ValueError: If the image has another field, or planes that the mask has not.
    """
    factors = np.divide(shape, mask.shape) if len(shape) == mask.ndim else np.zeros(2)
    if not np.allclose(factors[-2:], factors[-1], rtol=SAME_FIELD) or not factors[-1]:
        msg = (
            f"{name} does not match its image: expected labels of {shape}, got {mask.shape}. "
            "Pass the image at the level of its labels."
        )
        raise ValueError(msg)
    places = [((np.arange(side) + 0.5) / factor).astype(int) for side, factor in zip(shape, factors, strict=True)]
    return mask[np.ix_(*(each.clip(0, side - 1) for each, side in zip(places, mask.shape, strict=True)))]


def _sides(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


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
        value = np.min_scalar_type(each.value or 1).type(each.value or 1)
        write_labels(path, names[-1], masks[each.name] * value, [each], axes)


def replace(
    path: Path, masks: Mapping[str, Bool[np.ndarray, "..."]], axes: str = "yx", classes: Sequence[LabelClass] = ()
) -> None:
    """Put a folder with the label maps of masks at a path when it is whole. Arguments are those of `write`."""
    with replacing(path) as partial:
        write(partial, masks, axes, classes)


def _label_folders(path: Path) -> list[Path]:
    """List the folders of the label maps.

    Raises:
        ValueError: If there are none.
    """
    group = path / "labels" if (path / "labels").is_dir() else path
    stated = attributes(group)
    names = [inside(str(name)) for name in stated.get("labels") or []]
    there = [group / name for name in names] if names else _label_maps_in(group) if group != path else []
    folders = [group] if "multiscales" in stated else [folder for folder in there if levels(folder)]
    if not folders:
        got = f"{len(there)} that are not there" if there else "none"
        msg = f"{path.name} holds no labels: expected label maps in its group labels, got {got}."
        raise ValueError(msg)
    return folders


def _label_maps_in(group: Path) -> list[Path]:
    """List the label maps of a group that does not list them itself."""
    return [folder for folder in sorted(group.iterdir()) if folder.is_dir() and "multiscales" in attributes(folder)]


def _structures(path: Path) -> list[str]:
    """List the names of the structures in their order, each once."""
    named = {folder.name: _classes(attributes(folder).get("image-label") or {}) for folder in _label_folders(path)}
    names = (each.name for folder, classes in named.items() for each in classes or [LabelClass(folder)])
    return list(dict.fromkeys(names))


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without axes of length 1 before rows and columns."""
    return (*(side for side in shape[:-2] if side > 1), *shape[-2:])


def _read_one(folder: Path, zarr: Any, shape: tuple[int, ...] | None) -> LabelLayers:
    with one_error(folder, *FAULTS):
        arrays = [zarr.open_array(level.folder, mode="r") for level in levels(folder)]
        array = next((each for each in arrays if _without_ones(each.shape) == shape), arrays[0])
        if math.prod(array.shape) > MAX_VALUES or array.dtype.kind not in "biu":
            msg = f"expected at most {MAX_VALUES} whole numbers, got {array.dtype} {array.shape}"
            raise ValueError(msg)
        check_room(math.prod(array.shape), f"{array.dtype} {array.shape}")
        axes = levels(folder)[0].axes
        labels = np.asarray(array[...])
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels
    classes = tuple((0, each) for each in _classes(attributes(folder).get("image-label") or {}))
    return LabelLayers((labels,), axes or AXES[-labels.ndim :], classes)


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
