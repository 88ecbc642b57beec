"""VGG Image Annotator 1 and 2: one JSON or CSV for many images, with polygons, boxes, circles and ellipses.

Convention: coordinates are pixels from the corner of the first one. Polygons have no holes. The images' sizes stand
nowhere.
"""

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from megamed.annotation_tools.model import AnnotatedImage, Outline, SegmentedImage, Shape
from megamed.annotation_tools.shapes import ShapeCollector, box, ellipse, ring
from megamed.annotation_tools.text_files import has_keys, mapping, peek, read_json, read_text, write_json
from megamed.files import replacing
from megamed.outlines import keyhole, trace

SUFFIXES = (".json", ".csv")
COLUMNS = (
    *("filename", "file_size", "file_attributes", "region_count", "region_id"),
    *("region_shape_attributes", "region_attributes"),
)
WITHOUT_INSIDE = frozenset({"point", "polyline", "line"})
ATTRIBUTES = ("class", "label", "name", "type", "category", "object")
"""Attributes of a region that name its class, the likeliest first."""
UNNAMED = "region"
PROJECT = "_via_img_metadata"
"""Key of the entries in a saved project."""


def recognises(path: Path) -> bool:
    """Whether a file looks like VIA's."""
    text = peek(path, *SUFFIXES)
    return has_keys(text, "shape_attributes") or "region_shape_attributes" in text or PROJECT in text


def read(path: Path) -> list[AnnotatedImage]:
    """Read the regions of all images, those without any included.

    Raises:
        ValueError: If the file is no project and no annotations of VIA 1 or 2.
    """
    is_table = path.suffix.lower() == ".csv"
    regions: dict[str, list[Any]] = defaultdict(list)
    for name, found in _rows(path) if is_table else _entries(path):
        regions[name] += found
    return [_image(name, found) for name, found in regions.items()]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of images, holes joined to their outlines by cuts of no width: JSON, or CSV by the suffix.

    VIA knows an image by its name and its length in bytes; where the image's file is not given, it is looked for beside
    the one that is written.
    """
    entries = {f"{each['filename']}{each['size']}": each for each in (_entry(path, image) for image in images)}
    if path.suffix.lower() == ".csv":
        _write_table(path, entries)
    else:
        write_json(path, entries)


def update(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of images into a JSON file, if there is one, whose other images stay as they are.

    Raises:
        ValueError: If the file is no project and no annotations of VIA 1 or 2.
    """
    content = read_json(path) if path.exists() else {}
    kept = list(_checked(path, content))
    written = {image.file_name for image in images}
    entries = [*(each for each in kept if each["filename"] not in written), *(_entry(path, image) for image in images)]
    by_key = {f"{each['filename']}{each.get('size', -1)}": each for each in entries}
    write_json(path, content | {PROJECT: by_key} if PROJECT in content else by_key)


def _entry(path: Path, image: SegmentedImage) -> dict[str, Any]:
    """Describe an image."""
    file = image.source or path.parent / image.file_name
    size = file.stat().st_size if file.is_file() else -1
    regions = [_region(name, keyhole(each)) for name, mask in image.masks.items() for each in trace(mask)]
    return {"filename": image.file_name, "size": size, "regions": regions, "file_attributes": {}}


def _entries(path: Path) -> Iterator[tuple[str, list[Any]]]:
    """Yield name and regions of each image of a JSON file."""
    for entry in _checked(path, read_json(path)):
        regions = entry.get("regions")
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        yield str(entry["filename"]), regions if isinstance(regions, list) else []


def _checked(path: Path, content: Any) -> Iterable[dict[str, Any]]:
    """Return the entries of a JSON file."""
    entries = content.get(PROJECT, content) if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not all(
        isinstance(each, dict) and "filename" in each for each in entries.values()
    ):
        msg = f"{path.name} is no VIA file: expected entries with a filename, got others. Export it by VIA 2 as JSON."
        raise ValueError(msg)
    return entries.values()


def _rows(path: Path) -> Iterator[tuple[str, list[Any]]]:
    """Yield name and region of each row of a table; a row without region is an image without any."""
    try:
        # read as a whole, so that a line break within a cell counts as any other fault
        head, *rows = csv.reader(io.StringIO(read_text(path), newline=""))
        names = [name.lstrip("#").strip() for name in head]
        name, shape, attributes = (names.index(column) for column in (COLUMNS[0], *COLUMNS[-2:]))
    except (ValueError, csv.Error) as error:
        msg = f"{path.name} is no VIA table: expected the columns {COLUMNS}, got others ({error})."
        raise ValueError(msg) from error
    for row in (row for row in rows if len(row) > name):
        try:
            region = {"shape_attributes": json.loads(row[shape]), "region_attributes": json.loads(row[attributes])}
        except (ValueError, IndexError):
            region = {"shape_attributes": {"name": "row that is cut off"}}
        yield row[name], [region] if region["shape_attributes"] else []


def _image(file_name: str, regions: list[Any]) -> AnnotatedImage:
    collector = ShapeCollector()
    for region in regions:
        shape = mapping(region).get("shape_attributes")
        kind = str(mapping(shape).get("name") or "region")
        if kind in WITHOUT_INSIDE:
            collector.note(f"{kind} left out: it has no inside")
            continue
        if kind == "rect":
            collector.note("rect: a box, filled")
        collector.add(kind, _shape, shape, kind, _names(region, collector))
    return collector.onto(AnnotatedImage(file_name))


def _names(region: Any, collector: ShapeCollector) -> str:
    """Find the class of a region among its attributes, whose names the user chose."""
    attributes = mapping(mapping(region).get("region_attributes"))
    lower = {str(key).lower(): key for key in attributes}
    ordered = [lower[name] for name in ATTRIBUTES if name in lower]
    ordered += [key for key in attributes if key not in ordered]
    for key in ordered:
        value = attributes[key]
        if isinstance(value, dict):  # a checkbox: what is ticked
            value = " ".join(name for name, is_on in value.items() if is_on)
        if value not in ("", None):
            if len(attributes) > 1:
                collector.note(f"region with several attributes: its class is {key!r}")
            return str(value)
    return UNNAMED


def _shape(shape: Mapping[str, Any], kind: str, name: str) -> Shape:
    if kind in ("polygon", "freehand"):
        points = list(zip(shape["all_points_x"], shape["all_points_y"], strict=True))
        return Outline(name, (ring(points),))
    if kind == "rect":
        x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
        return Outline(name, (box(x, y, width, height),))
    if kind == "circle":
        radius = float(shape["r"])
        return Outline(name, (ellipse((float(shape["cx"]), float(shape["cy"])), (radius, radius)),))
    if kind == "ellipse":
        x, y, x_radius, y_radius = (float(shape[key]) for key in ("cx", "cy", "rx", "ry"))
        degrees = math.degrees(float(shape.get("theta") or 0))
        return Outline(name, (ellipse((x, y), (x_radius, y_radius), degrees),))
    msg = "it is of a type that is not known"
    raise ValueError(msg)


def _region(name: str, corners: Any) -> dict[str, Any]:
    x, y = corners.T.tolist()
    shape = {"name": "polygon", "all_points_x": x, "all_points_y": y}
    return {"shape_attributes": shape, "region_attributes": {"class": name}}


def _write_table(path: Path, entries: Mapping[str, Any]) -> None:
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for entry in entries.values():
            regions = entry["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
            for number, region in enumerate(regions):
                shape, attributes = (json.dumps(region[key]) for key in ("shape_attributes", "region_attributes"))
                start = (entry["filename"], entry["size"], "{}", len(entry["regions"]))
                table.writerow([*start, number, shape, attributes])
