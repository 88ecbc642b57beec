"""LabelMe: a JSON beside each image, with polygons, boxes, circles and masks.

Convention: coordinates are pixels from the corner of the first one, on the image turned by its orientation tag. A
mask lies with its first pixel at the first of its two points, rounded down, and reaches to the second, that one
included.
"""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from megamed.annotation_tools.model import AnnotatedImage, Outline, Patch, SegmentedImage, Shape, only
from megamed.annotation_tools.run_lengths import RunMask, check_pixels
from megamed.annotation_tools.shapes import ShapeCollector, box, ellipse, ring
from megamed.annotation_tools.text_files import has_keys, list_of, peek, read_json, size_of, write_json
from megamed.outlines import TracedPolygon, trace
from megamed.rasterise import fill_rings

SUFFIXES = (".json",)
WITHOUT_INSIDE = frozenset({"point", "points", "line", "linestrip"})
IGNORED, BACKGROUND = "__ignore__", "_background_"
"""Labels that name no class, as in LabelMe's own converters: pixels that nobody judged, and those of no object."""


def recognises(path: Path) -> bool:
    """Whether a file looks like LabelMe's."""
    text = peek(path, *SUFFIXES)
    return has_keys(text, "shapes") and (has_keys(text, "imagePath") or has_keys(text, "shape_type"))


def read(path: Path) -> list[AnnotatedImage]:
    """Read the annotation of an image.

    Raises:
        ValueError: If the file is no JSON object with a list of shapes.
    """
    content = read_json(path)
    collector = ShapeCollector()
    for shape in list_of(content, "shapes", path):
        kind = str(shape.get("shape_type") or "polygon") if isinstance(shape, dict) else "shape"
        if kind in WITHOUT_INSIDE:
            collector.note(f"{kind} left out: it has no inside")
            continue
        name = shape.get("label") if isinstance(shape, dict) else None
        if name == BACKGROUND:
            collector.note(f"{kind} left out: it is of {BACKGROUND}")
            continue
        if kind == "rectangle":
            collector.note("rectangle: a box, filled")
        collector.add(kind, _shape, shape, kind, judged=name != IGNORED)
    name = PureWindowsPath(str(content.get("imagePath") or path.stem)).as_posix()
    size = size_of(content.get("imageHeight"), content.get("imageWidth"))
    return [collector.onto(AnnotatedImage(name, size))]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of one image: pieces without holes as polygons, others as masks, since its polygons have none.

    Raises:
        ValueError: If it is not one image.
    """
    image = only(images, "LabelMe")
    shapes: list[dict[str, Any]] = []
    for name, mask in image.masks.items():
        for polygon in trace(mask):
            common: dict[str, Any] = {"label": name, "group_id": None, "description": "", "flags": {}}
            if polygon.holes:
                shapes.append(common | _drawn_mask(polygon))
            else:
                shapes.append(common | {"shape_type": "polygon", "points": polygon.outer.tolist(), "mask": None})
    drawn: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image.base_name,
        "imageData": None,
        "imageHeight": image.size[0],
        "imageWidth": image.size[1],
    }
    write_json(path, drawn)


def _shape(shape: dict[str, Any], kind: str) -> Shape:
    if not (name := str(shape["label"] or "").strip()):
        msg = "it has no label"
        raise ValueError(msg)
    points = np.array(shape["points"], float)
    instance = "" if shape.get("group_id") is None else str(shape["group_id"])
    if kind == "mask":
        left, top = map(math.floor, points[0].tolist())
        return Patch(name, _decoded(shape["mask"]), top, left, instance)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return Outline(name, (box(left, top, right - left, bottom - top),), instance)
    if kind == "circle":
        radius = float(np.linalg.norm(points[1] - points[0]))
        return Outline(name, (ellipse((points[0, 0], points[0, 1]), (radius, radius)),), instance)
    if kind in ("polygon", "rectangle", "oriented_rectangle", "rotation"):
        return Outline(name, (ring(points),), instance)
    msg = "it is of a type that is not known"
    raise ValueError(msg)


def _decoded(text: str) -> RunMask:
    """Read a mask that is stored as a PNG in base64."""
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as picture:
        check_pixels((picture.height, picture.width))
        pixels = np.asarray(picture.convert("L")) > 0
    return RunMask.of_mask(pixels)


def _drawn_mask(polygon: TracedPolygon) -> dict[str, Any]:
    """Store a piece of a mask as a shape of the type mask."""
    left, top = polygon.outer.min(axis=0).tolist()
    right, bottom = polygon.outer.max(axis=0).tolist()
    corner = np.array([left, top])
    rings = [(each - corner)[:, ::-1] - 0.5 for each in polygon.rings]
    file = io.BytesIO()
    Image.fromarray(fill_rings(rings, (bottom - top, right - left))).save(file, "PNG")
    return {
        "shape_type": "mask",
        "points": [[left, top], [right - 1, bottom - 1]],
        "mask": base64.b64encode(file.getvalue()).decode(),
    }
