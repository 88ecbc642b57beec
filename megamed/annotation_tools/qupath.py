"""QuPath: a GeoJSON for each image, with polygons that have holes.

Convention: coordinates are pixels of the full resolution from the corner of the first one. Rings after the first of a
polygon are its holes. The image's size and name stand nowhere; the file's own name is taken.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from megamed.annotation_tools.model import (
    AnnotatedImage,
    LabelClass,
    Outline,
    SegmentedImage,
    Shape,
    hex_colour,
    only,
    planes_of,
)
from megamed.annotation_tools.shapes import ShapeCollector, ring
from megamed.annotation_tools.text_files import has_keys, mapping, objects, peek, read_json, write_json
from megamed.label_colours import rgb
from megamed.outlines import trace

SUFFIXES = (".geojson", ".json")
NOTHING_DRAWN = re.compile(r'"features"\s*:\s*\[\s*\]')
UNCLASSIFIED = "annotation"
IGNORED = "Ignore*"
"""The class of what shall not count, such as folds in a tissue."""
WITHOUT_INSIDE = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString"})


def recognises(path: Path) -> bool:
    """Whether a file looks like QuPath's."""
    text = peek(path, *SUFFIXES)
    return '"Feature' in text and (has_keys(text, "geometry", "coordinates") or bool(NOTHING_DRAWN.search(text)))


def read(path: Path) -> list[AnnotatedImage]:
    """Read the annotations of an image, plane by plane if they lie on several.

    Raises:
        ValueError: If the file holds no features.
    """
    content = read_json(path)
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(features, list) or not all(
        isinstance(each, dict) and each.get("type") == "Feature" for each in features
    ):
        msg = f"{path.name} is no GeoJSON of features: expected a list of them, got another document. Export it again."
        raise ValueError(msg)
    planes: dict[int, ShapeCollector] = defaultdict(ShapeCollector)
    classes: dict[str, LabelClass] = {}
    for number, feature in enumerate(features):
        label_class = _class(mapping(feature.get("properties")))
        is_judged = label_class.name != IGNORED
        if is_judged:
            classes.setdefault(label_class.name, label_class)
        geometry = mapping(feature.get("geometry"))
        collector = planes[_plane(geometry)]
        instance = str(feature.get("id") or number)
        for kind, rings in _polygons(geometry):
            if kind in WITHOUT_INSIDE:
                collector.note(f"{kind} left out: it has no inside")
            else:
                name = label_class.name if is_judged else ""
                collector.add(kind, _shape, rings, name, f"{instance} {number}", judged=is_judged)
    if not planes:
        planes[0] = ShapeCollector()
    stated = tuple(classes.values())
    several = len(planes) > 1 or any(planes)
    return [
        collector.onto(AnnotatedImage(path.stem, classes=stated, plane=plane if several else None))
        for plane, collector in sorted(planes.items())
    ]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of one image or stack, each piece on a plane as an annotation of its own, at full resolution.

    Raises:
        ValueError: If it is not one image.
    """
    image = only(images, "QuPath")
    features = [
        _feature([ring * image.magnification for ring in polygon.rings], plane, label_class)
        for label_class in image.classes
        for plane, mask in planes_of(image.masks[label_class.name])
        for polygon in trace(mask)
    ]
    write_json(path, {"type": "FeatureCollection", "features": features})


def _feature(rings: Sequence[Float[np.ndarray, "_ 2"]], plane: int | None, label_class: LabelClass) -> dict[str, Any]:
    """Describe a piece of a mask."""
    closed = [[*each.tolist(), each[0].tolist()] for each in rings]
    geometry: dict[str, Any] = {"type": "Polygon", "coordinates": closed}
    if plane is not None:
        geometry["plane"] = {"c": -1, "z": plane, "t": 0}
    classification = {"name": label_class.name, "color": rgb(label_class.colour or "")}
    properties = {"objectType": "annotation", "classification": classification}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _class(properties: dict[str, Any]) -> LabelClass:
    """Read the classification, else the name; the colour stands as three numbers or as one, with opacity first.

    One that is derived of others, as that of a cell with several markers, is called by all their names.
    """
    found = properties.get("classification") or {}
    found = found if isinstance(found, dict) else {"name": found}
    parts = found.get("names")
    joined = ": ".join(map(str, parts)) if isinstance(parts, list) else ""
    name = str(found.get("name") or joined or properties.get("name") or UNCLASSIFIED)
    colour = found.get("color")
    if isinstance(found.get("colorRGB"), int):
        colour = list((found["colorRGB"] & 0xFFFFFF).to_bytes(3, "big"))
    return LabelClass(name, colour=hex_colour(colour))


def _plane(geometry: dict[str, Any]) -> int:
    index = mapping(geometry.get("plane")).get("z", 0)
    return index if isinstance(index, int) else 0


def _polygons(geometry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the polygons of a geometry, and of others what they are."""
    kind, coordinates = str(geometry.get("type")), geometry.get("coordinates")
    if kind == "MultiPolygon" and isinstance(coordinates, list):
        yield from (("Polygon", rings) for rings in coordinates)
    elif kind == "GeometryCollection":
        for part in objects(geometry.get("geometries")):
            yield from _polygons(part)
    else:
        yield kind, coordinates


def _shape(rings: Any, name: str, instance: str) -> Shape:
    return Outline(name, tuple(ring([point[:2] for point in each]) for each in rings), instance)
