"""napari: shapes as CSV, and labels as TIFF or npy.

Convention: coordinates are indices of rows and columns, where (0, 0) is the *centre* of the first pixel, so half a
pixel is added. Labels are numbers of objects or of classes; the file does not say which, nor their names.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer

from megamed.annotation_tools import ome_tiff
from megamed.annotation_tools.model import AnnotatedImage, LabelLayers, Outline, SegmentedImage, Shape, only
from megamed.annotation_tools.shapes import ShapeCollector, ellipse, ring
from megamed.annotation_tools.text_files import peek, read_text
from megamed.files import replacing
from megamed.outlines import keyhole, trace
from megamed.readers.arrays import read_array

SUFFIXES = (".csv",)
LABEL_SUFFIXES = (".tif", ".tiff", ".npy")
INDEX, KIND, VERTEX, AXIS = "index", "shape-type", "vertex-index", "axis-"
WITHOUT_INSIDE = frozenset({"line", "path"})


def recognises(path: Path) -> bool:
    """Whether a file looks like napari's shapes."""
    head = peek(path, *SUFFIXES).split("\n", 1)[0]
    return KIND in head and VERTEX in head and f"{AXIS}1" in head


def read(path: Path) -> list[AnnotatedImage]:
    """Read the shapes of a layer, plane by plane if it has more than two axes; the file's name is that of the class.

    Raises:
        ValueError: If the file is no table of shapes.
    """
    planes: dict[int | None, ShapeCollector] = defaultdict(ShapeCollector)
    for kind, points in _shapes(path):
        plane = round(float(points[0, -3])) if points.shape[1] > 2 else None
        if kind in WITHOUT_INSIDE:
            planes[plane].note(f"{kind} left out: it has no inside")
        else:
            planes[plane].add(kind, _shape, points, kind, path.stem)
    return [each.onto(AnnotatedImage(path.stem, plane=plane)) for plane, each in planes.items()] or [
        AnnotatedImage(path.stem)
    ]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the one mask of one image as polygons, holes joined to their outlines by cuts of no width.

    Raises:
        ValueError: If it is not one image with one mask, for shapes have no classes.
    """
    image = only(images, "napari")
    if len(image.masks) != 1:
        msg = f"napari's shapes have no classes: expected one mask, got {sorted(image.masks)}. Write a file for each."
        raise ValueError(msg)
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([INDEX, KIND, VERTEX, f"{AXIS}0", f"{AXIS}1"])
        for index, polygon in enumerate(trace(next(iter(image.masks.values())))):
            corners = keyhole(polygon)[:, ::-1] - 0.5
            table.writerows([index, "polygon", vertex, *corner] for vertex, corner in enumerate(corners.tolist()))


def read_labels(path: Path) -> LabelLayers:
    """Read labels as they are.

    Raises:
        ValueError: If the file cannot be decoded, is too large or holds no whole numbers.
        ImportError: If tifffile is not installed.
    """
    if path.suffix.lower() != ".npy":
        return ome_tiff.read_labels(path)
    labels = read_array(path)
    if labels.dtype.kind not in "biu":
        msg = f"{path.name} is no label map: expected whole numbers, got {labels.dtype}."
        raise ValueError(msg)
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels
    return LabelLayers((labels,), "tzyx"[-labels.ndim :] if labels.ndim <= 4 else "?" * labels.ndim)


def write_labels(path: Path, labels: Integer[np.ndarray, "..."]) -> None:
    """Write labels as TIFF or npy, by the suffix.

    Raises:
        ImportError: If tifffile is not installed.
    """
    if path.suffix.lower() == ".npy":
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, labels)
    else:
        ome_tiff.write_plain(path, labels)


def _shapes(path: Path) -> list[tuple[str, Float[np.ndarray, "points axes"]]]:
    """Gather the vertices of each shape."""
    try:
        # read as a whole, so that a line break within a cell counts as any other fault
        head, *rows = csv.reader(io.StringIO(read_text(path), newline=""))
        axes = [column for column, name in enumerate(head) if name.startswith(AXIS)]
        index, kind, _ = head.index(INDEX), head.index(KIND), axes[1]
    except (ValueError, IndexError, csv.Error) as error:
        expected = f"the columns {INDEX}, {KIND}, {AXIS}0, {AXIS}1, …"
        msg = f"{path.name} is no table of shapes: expected {expected}, got others ({error})."
        raise ValueError(msg) from error
    shapes: dict[str, tuple[str, list[list[float]]]] = {}
    for number, row in enumerate(filter(None, rows), start=2):
        try:
            points = shapes.setdefault(row[index], (row[kind], []))[1]
            points.append([float(row[axis]) for axis in axes])
        except (ValueError, IndexError) as error:
            msg = f"{path.name} is malformed: expected numbers on line {number}, got {error}."
            raise ValueError(msg) from error
    return [(what, np.array(points)) for what, points in shapes.values()]


def _shape(points: Float[np.ndarray, "points axes"], kind: str, name: str) -> Shape:
    """Make a shape; an ellipse is stored as the corners of the box around it, which may be turned."""
    corners = ring(points[:, :-3:-1] + 0.5)
    if kind == "ellipse":
        centre = corners.mean(axis=0)
        first, second = corners[1] - corners[0], corners[2] - corners[1]
        radii = (float(np.linalg.norm(first)) / 2, float(np.linalg.norm(second)) / 2)
        degrees = float(np.degrees(np.arctan2(first[1], first[0])))
        return Outline(name, (ellipse((centre[0], centre[1]), radii, degrees),))
    if kind in ("polygon", "rectangle"):
        return Outline(name, (corners,))
    msg = "it is of a type that is not known"
    raise ValueError(msg)
