"""COCO: one JSON for many images, with polygons and run lengths.

Convention: polygon coordinates are pixels from the corner of the first one, as `pycocotools` draws them. COCO has no
holes: the polygons of an annotation are united, but here one inside another is taken for a hole, since writers
that have holes put them so. Run lengths go down the columns.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from megamed.annotation_tools.model import (
    AnnotatedImage,
    LabelClass,
    Outline,
    Patch,
    SegmentedImage,
    Shape,
    Size,
    classes_of,
    hex_colour,
)
from megamed.annotation_tools.run_lengths import RunMask, counts_of_text, text_of_counts
from megamed.annotation_tools.shapes import ShapeCollector, pairs
from megamed.annotation_tools.text_files import has_keys, list_of, objects, peek, read_json, size_of, write_json
from megamed.label_colours import rgb
from megamed.outlines import trace

SUFFIXES = (".json",)


def recognises(path: Path) -> bool:
    """Whether a file looks like COCO's."""
    text = peek(path, *SUFFIXES)
    return has_keys(text, "image_id", "category_id") or has_keys(text, "images", "annotations", "categories")


def read(path: Path) -> list[AnnotatedImage]:
    """Read the annotations of all images, those without any included.

    Raises:
        ValueError: If the file is no JSON object with a list of images.
    """
    content = read_json(path)
    images = objects(list_of(content, "images", path))
    if not images:
        msg = f"{path.name} names no images: expected the key images with an entry for each, got none."
        raise ValueError(msg)
    classes = {
        str(each["id"]): LabelClass(str(each.get("name", each["id"])), _number(each["id"]), _colour(each.get("color")))
        for each in objects(list_of(content, "categories", path))
        if "id" in each
    }
    collectors = {str(image.get("id")): (image, ShapeCollector()) for image in images}
    for annotation in objects(list_of(content, "annotations", path)):
        if (key := str(annotation.get("image_id"))) in collectors:
            _collect(annotation, classes, collectors[key])
    stated = tuple(classes.values())
    return [
        collector.onto(AnnotatedImage(str(image.get("file_name", "")), _size(image), classes=stated))
        for image, collector in collectors.values()
    ]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of images, one annotation for each class and image.

    A class without holes is written as polygons, one with holes as compressed run lengths, because COCO's polygons are
    united by other readers.
    """
    write_json(path, _updated({}, images))


def update(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of images into a file, if there is one, whose other images and categories stay as they are.

    Raises:
        ValueError: If the file is no JSON object with a list of images.
    """
    content = read_json(path) if path.exists() else {}
    list_of(content, "images", path)
    write_json(path, _updated(content, images))


def _updated(content: dict[str, Any], images: Sequence[SegmentedImage]) -> dict[str, Any]:
    """Return a document in which images have been added or replaced."""
    written = {image.file_name for image in images}
    entries = [each for each in objects(content.get("images")) if each.get("file_name") not in written]
    kept = [each.get("id") for each in entries]
    annotations = [each for each in objects(content.get("annotations")) if each.get("image_id") in kept]
    categories = _categories(objects(content.get("categories")), classes_of(images))
    by_name = {each["name"]: each["id"] for each in categories if "name" in each}
    next_image, next_annotation = _highest(entries) + 1, _highest(annotations) + 1
    for image in images:
        height, width = image.size
        entries.append({"id": next_image, "file_name": image.file_name, "height": height, "width": width})
        for name, mask in image.masks.items():
            if mask.any():
                known = {"id": next_annotation, "image_id": next_image, "category_id": by_name[name]}
                annotations.append(known | _drawn(mask))
                next_annotation += 1
        next_image += 1
    return content | {"images": entries, "annotations": annotations, "categories": categories}


def _categories(known: list[dict[str, Any]], classes: Mapping[str, LabelClass]) -> list[dict[str, Any]]:
    """Add the classes that are new to the categories, numbered by their values where these are free."""
    categories = list(known)
    for each in classes.values():
        if each.name not in [category.get("name") for category in categories]:
            is_free = each.value not in [category.get("id") for category in categories]
            number = each.value if is_free else _highest(categories) + 1
            categories.append({"id": number, "name": each.name, "color": rgb(each.colour or "")})
    return categories


def _highest(entries: Sequence[Mapping[str, Any]]) -> int:
    return max((each["id"] for each in entries if isinstance(each.get("id"), int)), default=0)


def _drawn(mask: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    """Describe a mask."""
    y, x = mask.nonzero()
    bounds = [int(x.min()), int(y.min()), int(x.max() - x.min() + 1), int(y.max() - y.min() + 1)]
    return {"segmentation": _segmentation(mask), "area": int(mask.sum()), "bbox": bounds, "iscrowd": 0}


def _collect(
    annotation: dict[str, Any],
    classes: dict[str, LabelClass],
    image_and_collector: tuple[dict[str, Any], ShapeCollector],
) -> None:
    """Add an annotation to its image."""
    image, collector = image_and_collector
    category = str(annotation.get("category_id"))
    name = classes[category].name if category in classes else f"category {category}"
    if annotation.get("iscrowd"):
        collector.note("crowd, a group of objects that nobody outlined: its pixels are unknown")
    if not annotation.get("segmentation"):
        collector.note("annotation without segmentation, left out: a bounding box only")
        return
    instance = str(annotation.get("id", ""))
    shape = (_shape, annotation["segmentation"], name, instance, _size(image))
    collector.add("segmentation", *shape, judged=not annotation.get("iscrowd"))


def _size(image: dict[str, Any]) -> Size | None:
    return size_of(image.get("height"), image.get("width"))


def _shape(segmentation: Any, name: str, instance: str, size: Size | None) -> Shape:
    if isinstance(segmentation, list):
        polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
        return Outline(name, tuple(pairs(polygon) for polygon in polygons), instance, nested=False)
    height, width = segmentation["size"]
    if size not in (None, (height, width)):
        msg = f"expected run lengths of {size}, as the image, got {(height, width)}"
        raise ValueError(msg)
    counts = segmentation["counts"]
    counts = counts_of_text(counts) if isinstance(counts, str) else counts
    return Patch(name, RunMask.of_counts(counts, (int(height), int(width)), "F"), instance=instance)


def _segmentation(mask: Any) -> list[list[int]] | dict[str, Any]:
    polygons = trace(mask)
    if any(polygon.holes for polygon in polygons):
        counts = RunMask.of_mask(mask, "F").counts.tolist()
        return {"size": list(mask.shape), "counts": text_of_counts(counts)}
    return [polygon.outer.ravel().tolist() for polygon in polygons]


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _colour(value: Any) -> str | None:
    """Read a colour as exporters add it: three numbers or `#rrggbb`."""
    if isinstance(value, str) and value.startswith("#"):
        return value.lower()
    return hex_colour(value)
