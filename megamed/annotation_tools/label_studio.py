"""Label Studio: JSON and JSON-MIN of many tasks, with polygons, boxes, ellipses and brush strokes.

Convention: coordinates are per cent of the image's width and height, as are radii and sides. A brush stroke is the
whole picture of it, at the image's size.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from megamed.annotation_tools.model import AnnotatedImage, Outline, Patch, SegmentedImage, Shape, Size
from megamed.annotation_tools.run_lengths import RunMask, brush_of_mask, mask_of_brush
from megamed.annotation_tools.shapes import ShapeCollector, box, ellipse, ring
from megamed.annotation_tools.text_files import has_keys, mapping, objects, peek, read_json, size_of, write_json

SUFFIXES = (".json",)
UPLOAD_MARK = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""Mark that Label Studio puts before the name of an uploaded file."""
WITHOUT_INSIDE = frozenset({"keypoint", "relation", "choices", "textarea", "rating", "vector", "number", "taxonomy"})


def recognises(path: Path) -> bool:
    """Whether a file looks like Label Studio's."""
    text = peek(path, *SUFFIXES)
    return text.lstrip().startswith(("[", "{")) and (
        has_keys(text, "annotations", "data") or has_keys(text, "original_width", "original_height")
    )


def read(path: Path) -> list[AnnotatedImage]:
    """Read all annotations of all tasks; a task that several people annotated gives several images.

    Raises:
        ValueError: If the file is no list of tasks.
    """
    return [image for task in _tasks(path) for image in _images(task)]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of images as brush strokes, as a file that Label Studio imports as predictions."""
    write_json(path, [_task(image) for image in images])


def update(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of images into a file, if there is one, whose other tasks stay as they are.

    Raises:
        ValueError: If the file is no list of tasks.
    """
    written = {image.file_name for image in images}
    known = _tasks(path) if path.exists() else []
    kept = [task for task in known if written.isdisjoint(_file_names(task))]
    write_json(path, [*kept, *map(_task, images)])


def images_in(path: Path) -> list[str]:
    """List the images of a file, as their addresses stand there and as the files that they mean.

    Raises:
        ValueError: If the file is no list of tasks.
    """
    return [name for task in _tasks(path) for name in _file_names(task)]


def _file_names(task: dict[str, Any]) -> list[str]:
    data = mapping(task.get("data"))
    return [str(data.get("image")), file_name_of(data)]


def _task(image: SegmentedImage) -> dict[str, Any]:
    """Describe an image."""
    return {"data": {"image": image.file_name}, "predictions": [{"result": regions_of(image)}]}


def regions_of(image: SegmentedImage, control: str = "tag", shown: str = "image") -> list[dict[str, Any]]:
    """Describe the masks of an image as brush strokes, a region for each class that is there.

    Args:
        image: The image.
        control: Name of the control that holds brush labels, in the configuration of the project.
        shown: Name of the control that shows the image.
    """
    height, width = image.size
    return [
        {
            "id": f"mask{index}",
            "type": "brushlabels",
            "from_name": control,
            "to_name": shown,
            "origin": "prediction",
            "image_rotation": 0,
            "original_width": width,
            "original_height": height,
            "value": {"format": "rle", "rle": brush_of_mask(mask), "brushlabels": [name]},
        }
        for index, (name, mask) in enumerate(image.masks.items())
        if mask.any()
    ]


def _tasks(path: Path) -> list[dict[str, Any]]:
    """Read a list of tasks, or one task."""
    content = read_json(path)
    tasks = content if isinstance(content, list) else [content]
    if not all(isinstance(task, dict) for task in tasks):
        msg = f"{path.name} is malformed: expected a list of tasks, got other entries. Export it as JSON."
        raise ValueError(msg)
    return tasks


def _images(task: dict[str, Any]) -> Iterator[AnnotatedImage]:
    """Read the annotations of a task, or of one that has none the predictions; nothing of one that nobody has done."""
    file_name = file_name_of(mapping(task.get("data")) or task)
    annotations = objects(task.get("annotations") or task.get("completions"))
    annotations = [each for each in annotations if not each.get("was_cancelled")]
    if "data" not in task:  # JSON-MIN: results under the names of their controls
        annotations = [{"result": [each | {"value": each} for each in _minimal(task)], "completed_by": ""}]
    annotations = annotations or objects(task.get("predictions"))
    several = len(annotations) > 1
    for annotation in annotations:
        who = annotation.get("completed_by", "")
        who = who.get("email") or who.get("id", "") if isinstance(who, dict) else who
        yield _image(file_name, objects(annotation.get("result")), str(who) if several else "")


def _minimal(task: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for values in task.values() for each in objects(values) if "original_width" in each]


def _image(file_name: str, results: list[dict[str, Any]], annotator: str) -> AnnotatedImage:
    collector, size = ShapeCollector(), None
    names = {
        str(each.get("id")): _names(mapping(each.get("value"))) for each in results if each.get("type") == "labels"
    }
    for result in results:
        value = mapping(result.get("value"))
        kind = str(result.get("type") or _kind(value)).removesuffix("labels")
        if not kind or kind in WITHOUT_INSIDE:
            if kind:
                collector.note(f"{kind} left out: it has no inside")
            continue
        if result.get("image_rotation"):
            collector.note(f"{kind}: drawn while the image was turned by {result['image_rotation']} degrees; check it")
        size = size or size_of(result.get("original_height"), result.get("original_width"))
        for name in _names(value) or names.get(str(result.get("id"))) or [kind]:
            collector.add(kind, _shape, value, kind, name, size)
    return collector.onto(AnnotatedImage(file_name, size, annotator=annotator))


def _kind(value: dict[str, Any]) -> str:
    return next((key for key in value if key.endswith("labels") and key != "labels"), "")


def _names(value: dict[str, Any]) -> list[str]:
    """List the labels of a region; there may be several."""
    lists = [labels for key, labels in value.items() if key.endswith("labels") and isinstance(labels, list)]
    return [str(name) for labels in lists for name in labels]


def _shape(value: dict[str, Any], kind: str, name: str, size: Size | None) -> Shape:
    if size is None:
        msg = "expected original_width and original_height, got none"
        raise ValueError(msg)
    height, width = size
    scale = np.array([width, height]) / 100
    if kind == "brush" or "rle" in value:
        return Patch(name, RunMask.of_mask(mask_of_brush(value["rle"], size)))
    if kind == "polygon":
        return Outline(name, (ring(value["points"]) * scale,))
    turned = float(value.get("rotation") or 0)
    x, y = np.array([value["x"], value["y"]], float) * scale
    if kind == "rectangle":
        sides = np.array([value["width"], value["height"]], float) * scale
        return Outline(name, (box(x, y, sides[0], sides[1], turned, about=(x, y)),))
    if kind == "ellipse":
        radii = np.array([value["radiusX"], value["radiusY"]], float) * scale
        return Outline(name, (ellipse((x, y), (radii[0], radii[1]), turned),))
    msg = "it is of a type that is not known"
    raise ValueError(msg)


def file_name_of(data: dict[str, Any]) -> str:
    """Find the image's name in its address: a path, an upload, a local file or an object in a cloud.

    Args:
        data: Data of a task.
    """
    texts = [value for value in data.values() if isinstance(value, str)]
    address = str(data.get("image") or data.get("img") or next(iter(texts), ""))
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    path = local[0] if local else unquote(parts.path if parts.scheme else address)
    if "/upload/" in path:
        return UPLOAD_MARK.sub("", path.rsplit("/", 1)[1])
    return path.lstrip("/")
