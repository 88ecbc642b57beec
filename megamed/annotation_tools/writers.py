"""The table of the annotation tools whose files can be written, and masks of images → a folder of such files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np

from megamed import formats
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
from megamed.annotation_tools.model import ImageKind, SegmentedImage, label_map, only
from megamed.vocabulary import WrittenTool

PLANES: frozenset[ImageKind] = frozenset({"image"})
STACKS: frozenset[ImageKind] = frozenset({"image", "stack"})
VOLUMES: frozenset[ImageKind] = frozenset({"volume"})
KINDS: dict[ImageKind, str] = {"image": "a picture", "stack": "a stack of planes", "volume": "a volume"}
"""The kinds as messages call them."""


@dataclass(frozen=True)
class ToolWriter:
    """An annotation tool whose files can be written."""

    title: str
    suffix: str
    """Ending of its files."""
    write: Callable[[Path, Sequence[SegmentedImage]], None]
    """Writes the masks of one image, or of several into a file that may have been there."""
    holds: frozenset[ImageKind] = PLANES
    """Kinds of the images whose masks it can hold."""
    images_in: Callable[[Path], Sequence[str]] | None = None
    """Returns the names of the images in a file; None if each image has a file of its own."""
    overlap: bool = True
    """Whether a pixel may be of several classes."""
    keeps_suffix: bool = False
    """Whether its files are called as their images with these' own endings."""


def _names(read: Callable[[Path], Sequence]) -> Callable[[Path], Sequence[str]]:
    return lambda path: [image.file_name for image in read(path)]


def _to_yolo(path: Path, images: Sequence[SegmentedImage]) -> None:
    yolo.start_list(path, list(only(images, "YOLO").masks))
    yolo.write(path, images)


def _to_slicer(path: Path, images: Sequence[SegmentedImage]) -> None:
    image = only(images, "3D Slicer")
    slicer.write(path, image.masks, image.affine, image.classes)


def _to_napari(path: Path, images: Sequence[SegmentedImage]) -> None:
    napari.write_labels(path, label_map(only(images, "napari"), "napari"))


def _to_ome_tiff(path: Path, images: Sequence[SegmentedImage]) -> None:
    image = only(images, "OME-TIFF")
    ome_tiff.write(path, image.masks, "zyx"[-len(image.size) :])


def _to_ome_zarr(path: Path, images: Sequence[SegmentedImage]) -> None:
    image = only(images, "OME-Zarr")
    ome_zarr.replace(path, image.masks, "zyx"[-len(image.size) :], image.classes)


WRITERS: Mapping[WrittenTool, ToolWriter] = {
    "coco": ToolWriter("COCO", ".json", coco.update, images_in=_names(coco.read)),
    "labelme": ToolWriter("LabelMe", ".json", labelme.write),
    "cvat": ToolWriter("CVAT", ".xml", cvat.update, images_in=_names(cvat.read)),
    "labelstudio": ToolWriter("Label Studio", ".json", label_studio.update, images_in=label_studio.images_in),
    "supervisely": ToolWriter("Supervisely", ".json", supervisely.write, keeps_suffix=True),
    "yolo": ToolWriter("YOLO", ".txt", _to_yolo),
    "qupath": ToolWriter("QuPath", ".geojson", qupath.write, STACKS),
    "imagej": ToolWriter("ImageJ", ".zip", imagej.write, STACKS),
    "imagescope": ToolWriter("ImageScope", ".xml", imagescope.write),
    "via": ToolWriter("VIA", ".json", via.update, images_in=_names(via.read)),
    "slicer": ToolWriter("3D Slicer", ".seg.nrrd", _to_slicer, VOLUMES),
    "itksnap": ToolWriter("ITK-SNAP", ".nii.gz", itksnap.write, VOLUMES, overlap=False),
    "napari": ToolWriter("napari", ".tif", _to_napari, STACKS, overlap=False),
    "ome-tiff": ToolWriter("OME-TIFF", ".ome.tif", _to_ome_tiff, STACKS),
    "ome-zarr": ToolWriter("OME-Zarr", ".zarr", _to_ome_zarr, STACKS),
}
"""Tools by the name that a user gives them."""


def path_in(folder: Path, tool: WrittenTool, file_name: str) -> Path:
    """Return the path of the file of a tool that holds an image: `coco.json`, or `labelme/a.json` for `a.png`."""
    writer = WRITERS[tool]
    if writer.images_in:
        return folder / f"{tool}{writer.suffix}"
    name = PurePosixPath(file_name)
    stem = name.name if writer.keeps_suffix else formats.stem(name.name)
    return folder / tool / name.parent / f"{stem}{writer.suffix}"


def held(folder: Path, tool: WrittenTool, file_names: Sequence[str]) -> set[str]:
    """Return which images of some names have their masks in the files of a tool already."""
    images_in = WRITERS[tool].images_in
    if images_in is None:
        return {name for name in file_names if path_in(folder, tool, name).exists()}
    path = path_in(folder, tool, "")
    return {*images_in(path)} & {*file_names} if path.exists() else set()


def write_files(folder: Path, tool: WrittenTool, images: Sequence[SegmentedImage]) -> list[Path]:
    """Write the masks of images in the files of a tool, each at once or not at all.

    Entries of other images in a file that holds several stay as they are.

    Args:
        folder: Folder to write into: one file such as `coco.json`, or files such as `labelme/a.json` for `a.png`.
        tool: Name of the tool.
        images: Images with their masks, of different names; they may be made one by one, when they are asked for.

    Returns:
        Paths of the files.

    Raises:
        ValueError: If the tool cannot hold an image's masks, or a file that is there cannot be read.
        ImportError: If the library for the tool's files is not installed; the message has the command.
    """
    return list(dict.fromkeys(_write(folder, tool, images)))


def _write(folder: Path, tool: WrittenTool, images: Sequence[SegmentedImage]) -> Iterator[Path]:
    writer = WRITERS[tool]
    places: dict[object, str] = {}
    for image in images:
        check_kind(tool, image.kind, image.file_name)
        path = path_in(folder, tool, image.file_name)
        _take(places, image.file_name if writer.images_in else path, image.file_name, tool)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not writer.images_in:
            writer.write(path, [image])
        yield path
    if writer.images_in:
        writer.write(path_in(folder, tool, ""), images)


def _take(places: dict[object, str], place: object, file_name: str, tool: WrittenTool) -> None:
    """Refuse an image that would take the place of another."""
    if place in places:
        msg = (
            f"{places[place]} and {file_name} would have one place in the files of {WRITERS[tool].title}: expected "
            "images of different names. Rename one, or write them into different folders."
        )
        raise ValueError(msg)
    places[place] = file_name


def check_library(tool: WrittenTool) -> None:
    """Try to write a mask of one pixel, so that a missing library is noticed before there is any work to lose.

    Raises:
        ImportError: If the library for the tool's files is not installed; the message has the command.
    """
    writer = WRITERS[tool]
    size, affine = ((1, 1), None) if "image" in writer.holds else ((1, 1, 1), np.eye(4))
    image = SegmentedImage("a", size, {"a": np.zeros(size, bool)}, affine=affine)
    with TemporaryDirectory() as folder:
        writer.write(Path(folder) / f"a{writer.suffix}", [image])


def check_kind(tool: WrittenTool, kind: ImageKind, file_name: str) -> None:
    """Refuse an image whose masks a tool cannot hold.

    Raises:
        ValueError: If its files are not for images of this kind.
    """
    if kind not in WRITERS[tool].holds:
        others = ", ".join(name for name, other in WRITERS.items() if kind in other.holds)
        expected = " or ".join(word for held, word in KINDS.items() if held in WRITERS[tool].holds)
        msg = (
            f"{WRITERS[tool].title} cannot hold the mask of {file_name}: expected {expected}, got {KINDS[kind]}. "
            f"Write it for {others}."
        )
        raise ValueError(msg)
