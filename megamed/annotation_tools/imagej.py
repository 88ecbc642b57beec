"""ImageJ and Fiji: a `.roi`, or a RoiSet `.zip` of them, for each image.

Convention: coordinates are pixels from the corner of the first one, so that a traced selection runs along pixel edges.
Paths of a composite selection count by even-odd. The image's size and name stand nowhere; the file's own name is
taken, without `RoiSet`.
"""

import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from megamed.annotation_tools.model import (
    AnnotatedImage,
    Outline,
    SegmentedImage,
    Shape,
    file_name_of,
    only,
    planes_of,
)
from megamed.annotation_tools.shapes import FAULTS, ShapeCollector, ring
from megamed.files import replacing
from megamed.label_colours import rgb
from megamed.outlines import TracedPolygon, trace
from megamed.readers.faults import needs

SUFFIXES = (".roi", ".zip")
MAGIC = b"Iout"
MAX_MEMBERS = 2**17
MAX_MEMBER_BYTES = 2**26
MAX_ALL_BYTES = 2**29
WITH_INSIDE = frozenset({"POLYGON", "RECT", "OVAL", "FREEHAND", "TRACED"})
AUTOMATIC = re.compile(r"^\d{4,}(-\d{4,}){0,3}(-\d+)?$|^[0-9a-f]{8}-[0-9a-f-]{27}$")
"""Names that ImageJ makes of a position, or roifile at random: they name no class."""
UNNAMED = "roi"
MARK = re.compile(r"[ _-]*RoiSet$", re.IGNORECASE)
MOVE, LINE, CLOSE = 0.0, 1.0, 4.0
"""Commands of the path of a composite selection."""


def recognises(path: Path) -> bool:
    """Whether a file looks like ImageJ's."""
    if not path.name.lower().endswith(SUFFIXES) or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            if file.read(4) == MAGIC:
                return True
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(".roi") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return False


def read(path: Path) -> list[AnnotatedImage]:
    """Read the selections of an image, plane by plane if they have positions in a stack.

    A selection's class is its property `class`, else its name, else its group.

    Raises:
        ValueError: If the file is no selection and no archive of them, or is too large.
        ImportError: If roifile is not installed.
    """
    with needs("roifile", "ImageJ ROI"):
        import roifile
    planes: dict[int | None, ShapeCollector] = defaultdict(ShapeCollector)
    members = dict(_members(path))
    for name, content in members.items():
        try:
            roi = roifile.ImagejRoi.frombytes(content)
        except FAULTS as error:
            planes[None].note(f"selection left out: {error}")
            continue
        collector = planes[_plane(roi)]
        if roi.roitype.name in WITH_INSIDE:
            collector.add("selection", _shape, roi, _class(roi, Path(name).stem, members))
        else:
            collector.note(f"{roi.roitype.name.lower()} left out: it has no inside")
    stem = MARK.sub("", path.stem) or path.stem
    return [each.onto(AnnotatedImage(stem, plane=plane)) for plane, each in planes.items()] or [AnnotatedImage(stem)]


def write(path: Path, images: Sequence[SegmentedImage]) -> None:
    """Write the masks of one image or stack as a RoiSet, one selection for each class and plane.

    Raises:
        ValueError: If it is not one image.
        ImportError: If roifile is not installed.
    """
    with needs("roifile", "ImageJ ROI"):
        import roifile
    rois = []
    image = only(images, "ImageJ")
    height, width = image.size[-2:]
    for label_class in image.classes:
        for plane, mask in planes_of(image.masks[label_class.name]):
            if polygons := trace(mask):
                roi = roifile.ImagejRoi(
                    roitype=roifile.ROI_TYPE.RECT, name=label_class.name, right=width, bottom=height
                )
                roi.multi_coordinates = _path(polygons)
                roi.shape_roi_size = roi.multi_coordinates.size
                roi.props = f"class: {label_class.name}\n"
                roi.stroke_color = b"\xff" + bytes(rgb(label_class.colour or ""))
                roi.position = 0 if plane is None else plane + 1
                rois.append(roi)
    names: list[str] = []
    for roi in rois:
        names.append(file_name_of(f"{f'{roi.position:04}-' * (roi.position > 0)}{roi.name}", names))
    with replacing(path) as partial:
        roifile.roiwrite(partial, rois, name=names, mode="w")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the selections of a file, having checked that they fit into memory."""
    try:
        with path.open("rb") as file:
            if file.read(4) == MAGIC:
                file.seek(0)
                yield path.name, file.read(MAX_MEMBER_BYTES)
                return
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if info.filename.lower().endswith(".roi")]
            sizes = [info.file_size for info in infos]
            if len(infos) > MAX_MEMBERS or max(sizes, default=0) > MAX_MEMBER_BYTES or sum(sizes) > MAX_ALL_BYTES:
                msg = f"expected at most {MAX_MEMBERS} selections of {MAX_ALL_BYTES} bytes, got {len(infos)}"
                raise ValueError(msg)
            for info in infos:
                yield info.filename, archive.read(info)
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        msg = f"{path.name} holds no selections of ImageJ: expected .roi or a .zip of them, got {error}."
        raise ValueError(msg) from error


def _plane(roi: Any) -> int | None:
    """Return the plane of a selection: its slice, else its frame, else its position; they count from 1."""
    return next((place - 1 for place in (roi.z_position, roi.t_position, roi.position) if place > 0), None)


def _class(roi: Any, member: str, members: Collection[str]) -> str:
    """Find the class of a selection; `nucleus-1` beside `nucleus` is of the same class."""
    if stated := roi.properties.get("class"):
        return str(stated)
    name = str(roi.name or member)
    if AUTOMATIC.match(name):
        return f"group {roi.group}" if roi.group else UNNAMED
    base = re.sub(r"-\d+$", "", name)
    return base if any(Path(other).stem == base for other in members) else name


def _shape(roi: Any, name: str) -> Shape:
    paths = [np.asarray(path, float) for path in roi.coordinates(multi=True)]
    return Outline(name, tuple(ring(path) for path in paths))


def _path(polygons: Sequence[TracedPolygon]) -> Float32[np.ndarray, " commands"]:
    """Join all rings to one path of commands."""
    numbers: list[float] = []
    for ring_ in (each for polygon in polygons for each in polygon.rings):
        for index, (x, y) in enumerate(ring_.tolist()):
            numbers += [LINE if index else MOVE, x, y]
        numbers.append(CLOSE)
    return np.array(numbers, np.float32)
