"""CVAT for images 1.1: one XML for many images, with polygons, boxes, ellipses and masks.

Convention: coordinates are pixels from the corner of the first one, on the image turned by its orientation tag. The
runs of a mask go along the rows of its box, whose corner is a whole pixel.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

import numpy as np
from jaxtyping import Bool

from megamed.annotation_tools.model import (
    AnnotatedImage,
    LabelClass,
    Outline,
    Patch,
    SegmentedImage,
    Shape,
    classes_of,
)
from megamed.annotation_tools.run_lengths import RunMask
from megamed.annotation_tools.shapes import ShapeCollector, box, ellipse, ring
from megamed.annotation_tools.text_files import peek, read_xml, size_of
from megamed.files import replacing

SUFFIXES = (".xml",)
WITHOUT_INSIDE = frozenset({"polyline", "points", "cuboid", "skeleton", "tag"})


def recognises(path: Path) -> bool:
    """Whether a file looks like CVAT's."""
    text = peek(path, *SUFFIXES)
    return "<annotations" in text and ("<image " in text or "<track " in text)


def read(path: Path) -> list[AnnotatedImage]:
    """Read the annotations of all images, those without any included.

    Raises:
        ValueError: If the file is no XML of CVAT for images.
    """
    root = read_xml(path)
    if root.tag != "annotations" or root.find("track") is not None:
        got = "tracks of a video" if root.tag == "annotations" else f"<{root.tag}>"
        msg = f"{path.name} is no CVAT for images: expected <annotations> with <image>, got {got}. Export it so."
        raise ValueError(msg)
    labels = {each.findtext("name", ""): each.findtext("color") for each in root.iterfind("meta//labels/label")}
    classes = tuple(LabelClass(name, colour=colour) for name, colour in labels.items())
    return [_image(each, classes) for each in root.iterfind("image")]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of images as masks, since polygons of CVAT have no holes."""
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    _write(path, root, images)


def update(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of images into a file, if there is one, whose other images stay as they are.

    Raises:
        ValueError: If the file is no XML of CVAT.
    """
    if not path.exists():
        return write(path, images)
    root = read_xml(path)
    if root.tag != "annotations":
        msg = f"{path.name} is no CVAT for images: expected <annotations> with <image>, got <{root.tag}>. Move it away."
        raise ValueError(msg)
    written = {image.file_name for image in images}
    for element in root.findall("image"):
        if element.get("name") in written:
            root.remove(element)
    return _write(path, root, images)


def _write(path: Path, root: Element, images: Sequence[SegmentedImage]) -> None:
    """Add the masks of images to a document and write it."""
    labels = root
    for tag in ("meta", "task", "labels"):
        found = labels.find(tag)
        labels = SubElement(labels, tag) if found is None else found
    known = {each.findtext("name") for each in labels}
    for label_class in classes_of(images).values():
        if label_class.name not in known:
            label = SubElement(labels, "label")
            SubElement(label, "name").text = label_class.name
            SubElement(label, "color").text = label_class.colour
    ids = [int(stated) for each in root.iterfind("image") if (stated := each.get("id", "")).isdecimal()]
    for number, image in enumerate(images, start=max(ids, default=-1) + 1):
        height, width = image.size
        attributes = {"id": f"{number}", "name": image.file_name, "width": f"{width}", "height": f"{height}"}
        element = SubElement(root, "image", attributes)
        for name, mask in image.masks.items():
            if mask.any():
                SubElement(element, "mask", {"label": name, "source": "auto", "occluded": "0", **_runs(mask)})
    with replacing(path) as partial:
        ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)


def _image(element: Element, classes: tuple[LabelClass, ...]) -> AnnotatedImage:
    collector = ShapeCollector()
    for shape in element:
        if shape.tag in WITHOUT_INSIDE:
            collector.note(f"{shape.tag} left out: it has no inside")
            continue
        if shape.tag == "box":
            collector.note("box: a bounding box, filled")
        collector.add(shape.tag, _shape, shape)
    size = size_of(element.get("height"), element.get("width"))
    return collector.onto(AnnotatedImage(element.get("name", ""), size, classes=classes))


def _shape(element: Element) -> Shape:
    name, group = element.attrib["label"], element.get("group_id") or "0"
    instance = "" if group == "0" else group
    if element.tag == "mask":
        counts = [int(count) for count in element.attrib["rle"].split(",")]
        left, top, width, height = (int(float(element.attrib[key])) for key in ("left", "top", "width", "height"))
        return Patch(name, RunMask.of_counts(counts, (height, width), "C"), top, left, instance)
    if element.tag == "polygon":
        points = [pair.split(",") for pair in element.attrib["points"].split(";")]
        return Outline(name, (ring(points),), instance)
    turned = float(element.get("rotation") or 0)
    if element.tag == "box":
        x, y, right, bottom = (float(element.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return Outline(name, (box(x, y, right - x, bottom - y, turned),), instance)
    if element.tag == "ellipse":
        x, y, x_radius, y_radius = (float(element.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
        return Outline(name, (ellipse((x, y), (x_radius, y_radius), turned),), instance)
    msg = "it is of a type that is not known"
    raise ValueError(msg)


def _runs(mask: Bool[np.ndarray, "H W"]) -> dict[str, str]:
    """Store a mask within its box."""
    rows, columns = np.nonzero(mask)
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    runs = RunMask.of_mask(mask[top:bottom, left:right])
    return {
        "rle": ", ".join(map(str, runs.counts.tolist())),
        "left": f"{left}",
        "top": f"{top}",
        "width": f"{right - left}",
        "height": f"{bottom - top}",
        "z_order": "0",
    }
