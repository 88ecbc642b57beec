"""Aperio ImageScope: an XML for each image, whose layers are classes, with regions drawn freely, boxes and ellipses.

Convention: coordinates are pixels of the full resolution from the corner of the first one. A negative region is a hole
of the smallest region around it. The image's size and name stand nowhere; the file's own name is taken.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

import numpy as np
from jaxtyping import Float

from megamed.annotation_tools.model import AnnotatedImage, LabelClass, Outline, SegmentedImage, Shape, only
from megamed.annotation_tools.shapes import ShapeCollector, box, ellipse, ring
from megamed.annotation_tools.text_files import peek, read_xml
from megamed.files import replacing
from megamed.outlines import trace

SUFFIXES = (".xml",)
UNCLASSIFIED = "annotation"
FREE, BOX, ELLIPSE = "0", "1", "2"
WITHOUT_INSIDE = {"3": "arrow", "4": "ruler"}
DESCRIPTION = "Description"
"""Name of the attribute of a layer whose value says what it shows; other attributes do by their names."""


def recognises(path: Path) -> bool:
    """Whether a file looks like ImageScope's."""
    text = peek(path, *SUFFIXES)
    return "<Annotations" in text and "<Annotation " in text and "<Regions" in text


def read(path: Path) -> list[AnnotatedImage]:
    """Read the regions of an image.

    Raises:
        ValueError: If the file is no XML of ImageScope.
    """
    root = read_xml(path)
    if root.tag != "Annotations":
        msg = f"{path.name} is no file of ImageScope: expected <Annotations>, got <{root.tag}>. Export it again."
        raise ValueError(msg)
    collector = ShapeCollector()
    classes: dict[str, LabelClass] = {}
    for layer in root.iterfind("Annotation"):
        name = _name(layer)
        classes.setdefault(name, LabelClass(name, colour=_colour(layer.get("LineColor", ""))))
        for region in layer.iterfind("Regions/Region"):
            kind = region.get("Type", FREE)
            if kind in WITHOUT_INSIDE:
                collector.note(f"{WITHOUT_INSIDE[kind]} left out: it has no inside")
            else:
                collector.add("region", _shape, region, kind, name, judged=region.get("NegativeROA") != "1")
    collector.shapes, collector.unknown = _with_holes(collector.shapes, collector.unknown), []
    return [collector.onto(AnnotatedImage(path.stem, classes=tuple(classes.values())))]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of an image, each piece as a region and its holes as negative ones, at full resolution.

    Raises:
        ValueError: If it is not one image.
    """
    image = only(images, "ImageScope")
    root = Element("Annotations")
    for number, label_class in enumerate(image.classes, start=1):
        red, green, blue = bytes.fromhex((label_class.colour or "#000000").removeprefix("#"))
        stated = {"Id": f"{number}", "Name": label_class.name, "Type": "4", "Visible": "1"}
        layer = SubElement(root, "Annotation", {**stated, "LineColor": f"{red + (green << 8) + (blue << 16)}"})
        regions = SubElement(layer, "Regions")
        for polygon in trace(image.masks[label_class.name]):
            for place, corners in enumerate(polygon.rings):
                kind = {"Id": f"{len(regions) + 1}", "Type": FREE, "NegativeROA": f"{int(place > 0)}"}
                vertices = SubElement(SubElement(regions, "Region", kind), "Vertices")
                for x, y in (corners * image.magnification).tolist():
                    SubElement(vertices, "Vertex", {"X": f"{x}", "Y": f"{y}"})
    with replacing(path) as partial:
        ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)


def _name(layer: Element) -> str:
    """Return the name of a layer, else what its attributes say of it."""
    attributes = [(each.get("Name", ""), each.get("Value", "")) for each in layer.iterfind("Attributes/Attribute")]
    said = (value if name == DESCRIPTION else name for name, value in attributes)
    return next(filter(None, (layer.get("Name"), *said)), UNCLASSIFIED)


def _colour(number: str) -> str | None:
    """Write a number whose lowest byte is red, and the next ones green and blue, as `#rrggbb`."""
    return f"#{(int(number) & 0xFFFFFF).to_bytes(3, 'little').hex()}" if number.isdecimal() else None


def _shape(region: Element, kind: str, name: str) -> Outline:
    points = [(float(each.attrib["X"]), float(each.attrib["Y"])) for each in region.iterfind("Vertices/Vertex")]
    if kind in (BOX, ELLIPSE) and len(points) == 2:
        corner, size = np.min(points, axis=0), np.ptp(points, axis=0)
        (x, y), (width, height) = corner.tolist(), size.tolist()
        middle, radii = (x + width / 2, y + height / 2), (width / 2, height / 2)
        return Outline(name, (box(x, y, width, height) if kind == BOX else ellipse(middle, radii),))
    return Outline(name, (ring(points),))


def _with_holes(regions: Sequence[Shape], holes: Sequence[Shape]) -> list[Shape]:
    """Give each hole to the smallest region of its class that most of its corners lie in."""
    outlines = [each for each in regions if isinstance(each, Outline)]
    order = sorted(range(len(outlines)), key=lambda place: np.ptp(outlines[place].rings[0], axis=0).prod())
    for hole in (each for each in holes if isinstance(each, Outline)):
        around = (place for place in order if outlines[place].class_name == hole.class_name)
        for place in around:
            if _share_inside(outlines[place].rings[0], hole.rings[0]) >= 0.5:
                outlines[place] = replace(outlines[place], rings=(*outlines[place].rings, *hole.rings))
                break
    return [*outlines]


def _share_inside(contour: Float[np.ndarray, "_ 2"], points: Float[np.ndarray, "_ 2"]) -> float:
    """Measure which share of points a contour surrounds, by even-odd."""
    (x, y), (next_x, next_y) = contour.T[:, :, None], np.roll(contour, -1, axis=0).T[:, :, None]
    crosses = (y > points[:, 1]) != (next_y > points[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x + (points[:, 1] - y) * (next_x - x) / (next_y - y)
    return float(np.mean(np.count_nonzero(crosses & (at > points[:, 0]), axis=0) % 2))
