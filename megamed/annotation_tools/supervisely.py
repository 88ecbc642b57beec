"""Supervisely: a JSON for each image, called as it with `.json` behind, with polygons, boxes and bitmaps.

Convention: coordinates count pixels as NumPy does, so that (0, 0) is the *centre* of the first one; a box covers its
last row and column. A bitmap is a PNG, compressed once more by zlib and written in base64, whose first pixel lies at
its origin; where it has an opacity, that is the mask.
"""

import base64
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from megamed.annotation_tools.model import AnnotatedImage, Outline, Patch, SegmentedImage, Shape, only
from megamed.annotation_tools.run_lengths import RunMask, check_pixels
from megamed.annotation_tools.shapes import ShapeCollector, box, ring
from megamed.annotation_tools.text_files import has_keys, list_of, mapping, peek, read_json, size_of, write_json

SUFFIXES = (".json",)
WITHOUT_INSIDE = frozenset({"point", "line", "graph", "cuboid", "cuboid_3d", "polyline"})
MOST_BYTES = 2**28
"""Size of a PNG beyond which none is expanded."""


def recognises(path: Path) -> bool:
    """Whether a file looks like Supervisely's."""
    text = peek(path, *SUFFIXES)
    return has_keys(text, "objects", "size") and (has_keys(text, "classTitle") or has_keys(text, "tags", "height"))


def read(path: Path) -> list[AnnotatedImage]:
    """Read the annotation of an image.

    Raises:
        ValueError: If the file is no JSON object with a list of objects.
    """
    content = read_json(path)
    collector = ShapeCollector()
    for drawn in map(mapping, list_of(content, "objects", path)):
        kind = str(drawn.get("geometryType") or ("bitmap" if drawn.get("bitmap") else "polygon"))
        if kind in WITHOUT_INSIDE:
            collector.note(f"{kind} left out: it has no inside")
            continue
        if kind == "rectangle":
            collector.note("rectangle: a box, filled")
        collector.add(kind, _shape, drawn, kind)
    stated = mapping(content.get("size"))
    size = size_of(stated.get("height"), stated.get("width"))
    return [collector.onto(AnnotatedImage(path.stem, size))]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of one image as bitmaps.

    Raises:
        ValueError: If it is not one image.
    """
    image = only(images, "Supervisely")
    drawn = [
        {"classTitle": name, "geometryType": "bitmap", "tags": [], "bitmap": _encoded(mask)}
        for name, mask in image.masks.items()
        if mask.any()
    ]
    size = {"height": image.size[0], "width": image.size[1]}
    write_json(path, {"description": "", "tags": [], "size": size, "objects": drawn})


def _shape(drawn: dict[str, Any], kind: str) -> Shape:
    name = str(drawn["classTitle"])
    if kind == "bitmap":
        left, top = map(int, drawn["bitmap"]["origin"])
        return Patch(name, _decoded(drawn["bitmap"]["data"]), top, left)
    if kind == "polygon":
        points = [drawn["points"]["exterior"], *(drawn["points"].get("interior") or ())]
        return Outline(name, tuple(ring(each) + 0.5 for each in points))
    if kind == "rectangle":
        corners = np.array(drawn["points"]["exterior"], float)
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        return Outline(name, (box(left, top, right - left + 1, bottom - top + 1),))
    msg = "it is of a type that is not known"
    raise ValueError(msg)


def _decoded(text: str) -> RunMask:
    """Read a mask that is stored as a compressed PNG in base64."""
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(base64.b64decode(text), MOST_BYTES)
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        check_pixels((picture.height, picture.width))
        has_opacity = picture.mode in ("RGBA", "LA") or "transparency" in picture.info
        pixels = np.asarray(picture.convert("RGBA").getchannel("A") if has_opacity else picture.convert("L")) > 0
    return RunMask.of_mask(pixels)


def _encoded(mask: np.ndarray) -> dict[str, Any]:
    """Store a mask as a compressed PNG of what it covers, and the place of that."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    file = io.BytesIO()
    Image.fromarray(part).save(file, "PNG")
    data = base64.b64encode(zlib.compress(file.getvalue())).decode()
    return {"data": data, "origin": [int(columns[0]), int(rows[0])]}
