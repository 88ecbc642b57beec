"""COCO: one JSON for many images, with polygons and run lengths.

Convention: polygon coordinates are pixels from the corner of the first one, as `pycocotools` draws them. COCO has no
holes: the polygons of an annotation are united, but here one inside another is taken for a hole, since writers
that have holes put them so. Run lengths go down the columns.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megamed.annotation_tools.model import (
    AnnotatedImage,
    LabelClass,
    Outline,
    Patch,
    SegmentedImage,
    Shape,
    Size,
    class_names,
    hex_colour,
)
from megamed.annotation_tools.run_lengths import RunMask, counts_of_text, text_of_counts
from megamed.annotation_tools.shapes import ShapeCollector, pairs
from megamed.annotation_tools.text_files import has_keys, list_of, objects, peek, read_json, size_of, write_json
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
    names = class_names(images)
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        for name, mask in image.masks.items():
            if mask.any():
                y, x = mask.nonzero()
                bounds = [int(x.min()), int(y.min()), int(x.max() - x.min() + 1), int(y.max() - y.min() + 1)]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": names.index(name) + 1,
                        "segmentation": _segmentation(mask),
                        "area": int(mask.sum()),
                        "bbox": bounds,
                        "iscrowd": 0,
                    }
                )
    content = {
        "images": [
            {"id": number, "file_name": image.file_name, "height": image.size[0], "width": image.size[1]}
            for number, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }
    write_json(path, content)


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
        collector.note("crowd: a group of objects, drawn as one")
    if not annotation.get("segmentation"):
        collector.note("annotation without segmentation, left out: a bounding box only")
        return
    instance = str(annotation.get("id", ""))
    collector.add("segmentation", _shape, annotation["segmentation"], name, instance, _size(image))


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
