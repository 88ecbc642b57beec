"""The table of annotation tools, and which of them wrote a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from megamed.annotation_tools import (
    coco,
    cvat,
    imagej,
    imagescope,
    itksnap,
    label_studio,
    labelme,
    napari,
    ome_tiff,
    ome_zarr,
    qupath,
    slicer,
    supervisely,
    via,
    yolo,
)
from megamed.annotation_tools.model import AnnotatedImage, SegmentedImage


@dataclass(frozen=True)
class AnnotationTool:
    """A tool whose files hold shapes."""

    title: str
    suffixes: tuple[str, ...]
    """Endings of its files; the first is that of a file which is written."""
    recognises: Callable[[Path], bool]
    read: Callable[[Path], list[AnnotatedImage]]
    write: Callable[[Path, Sequence[SegmentedImage]], None]
    many_images: bool = False
    """Whether one file holds several images, else it lies beside each and has its name."""
    names_classes: bool = True
    """Whether a file says the class of each shape; if not, its own name may."""
    at_full_resolution: bool = False
    """Whether coordinates are those of full resolution, whichever level of it was looked at."""
    names_beside: Callable[[Path], Path | None] | None = None
    """Finds the file that names the classes of another, where tools keep them apart."""


TOOLS = {
    "coco": AnnotationTool("COCO", coco.SUFFIXES, coco.recognises, coco.read, coco.write, many_images=True),
    "labelme": AnnotationTool("LabelMe", labelme.SUFFIXES, labelme.recognises, labelme.read, labelme.write),
    "cvat": AnnotationTool("CVAT", cvat.SUFFIXES, cvat.recognises, cvat.read, cvat.write, many_images=True),
    "via": AnnotationTool("VIA", via.SUFFIXES, via.recognises, via.read, via.write, many_images=True),
    "label-studio": AnnotationTool(
        "Label Studio",
        label_studio.SUFFIXES,
        label_studio.recognises,
        label_studio.read,
        label_studio.write,
        many_images=True,
    ),
    "supervisely": AnnotationTool(
        "Supervisely", supervisely.SUFFIXES, supervisely.recognises, supervisely.read, supervisely.write
    ),
    "yolo": AnnotationTool("YOLO", yolo.SUFFIXES, yolo.recognises, yolo.read, yolo.write, names_beside=yolo.names_file),
    "qupath": AnnotationTool(
        "QuPath", qupath.SUFFIXES, qupath.recognises, qupath.read, qupath.write, at_full_resolution=True
    ),
    "imagej": AnnotationTool(
        "ImageJ", imagej.SUFFIXES[::-1], imagej.recognises, imagej.read, imagej.write, names_classes=False
    ),
    "imagescope": AnnotationTool(
        "ImageScope",
        imagescope.SUFFIXES,
        imagescope.recognises,
        imagescope.read,
        imagescope.write,
        at_full_resolution=True,
    ),
    "napari": AnnotationTool(
        "napari", napari.SUFFIXES, napari.recognises, napari.read, napari.write, names_classes=False
    ),
}
"""Tools by the name that a user gives them. Of two that could recognise a file, the stricter comes first."""

RECOGNISERS: dict[str, Callable[[Path], bool]] = {
    **{tool.title: tool.recognises for tool in TOOLS.values()},
    "3D Slicer": slicer.recognises,
    "ITK-SNAP": itksnap.recognises,
    "OME-TIFF": ome_tiff.recognises,
    "OME-Zarr": ome_zarr.recognises,
}


def recognise(path: Path) -> str | None:
    """Return the title of the tool that wrote a file, having read no more than its two ends."""
    return next((title for title, recognises in RECOGNISERS.items() if recognises(path)), None)
