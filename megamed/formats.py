"""The table of file formats: by what name each is known, and what reads and writes it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from megamed.annotation_tools import bids_names, drawn, itksnap, ome_tiff, slicer, tools
from megamed.annotation_tools import ome_zarr as ome_zarr_labels
from megamed.readers import (
    arrays,
    dicom,
    dicom_folder,
    dicom_headers,
    dicom_labels,
    dicom_seg,
    metaimage,
    nifti,
    nifti_layers,
    nifti_pair,
    nrrd,
    ome_zarr,
    picture,
    remembered,
    slide,
    tiff,
    video,
)
from megamed.readers.faults import check_no_stream
from megamed.readers.pyramid import Sides
from megamed.readers.source import SERIES, Source
from megamed.readers.stored import Canvas, DrawnLabel, MaskImage, StoredImage
from megamed.readers.volume import MAX_VOXELS
from megamed.unchanged import while_unchanged

Kind = Literal["image", "stack", "placed", "series"]
"""Kind of image that a mask lies on: one plane, ordered planes, a volume placed in the patient, a DICOM series."""


@dataclass(frozen=True)
class FileFormat:
    """One format of files. A further one is a module that reads it and a line in `FORMATS`.

    Readers and writers import their libraries when they are called.
    """

    name: str
    suffixes: tuple[str, ...]
    """Endings of file names, in lower case, the longest first."""
    read: Callable[[Source, int], StoredImage]
    """Reads a source; the number is the most pixels that a picture may have."""
    write: Callable[[MaskImage, str], bytes] | None = None
    """Returns the content of a file with one of the suffixes in `writes`."""
    writes: tuple[str, ...] = ()
    """Endings of the masks that it writes, the preferred one first."""
    holds: frozenset[Kind] = frozenset()
    """Kinds of images whose masks it can write."""
    has_mark: Callable[[Path], bool] | None = None
    """Tells a file of the format by its content."""
    find: Callable[[Path], Source] | None = None
    """Finds the files of one image in a folder."""
    is_part: Callable[[Path], bool] | None = None
    """Tells a path that is none of a file, but means one of several images in a folder."""
    is_folder: Callable[[Path], bool] | None = None
    """Tells a folder that is one image of the format, whatever it is called."""
    channels: Callable[[Path], tuple[str, ...]] | None = None
    """Returns the names or indices of a file's channels, if it has several that are no colours."""
    sizes: Callable[[Path], list[Sides]] | None = None
    """Returns rows and columns of the levels of an image's resolution, the full one first, if it may have several."""
    has_parts: bool = False
    """Whether a file holds any number of arrays or images, so that it is not by itself one image of a folder."""
    holds_none: Callable[[Path], bool] | None = None
    """Tells a file that holds no image, by its header."""


FORMATS = (
    FileFormat(
        "DICOM", dicom_headers.SUFFIXES, dicom.read, dicom_seg.write, (".dcm",),
        frozenset({"series"}), has_mark=dicom_headers.has_mark, find=dicom_folder.find_series,
        is_part=dicom_folder.is_one_of_several,
    ),
    FileFormat("NIfTI", (".nii.gz", ".nii"), nifti.read, nifti.write, (".nii.gz", ".nii"), frozenset({"placed"})),
    # masks of pairs are single files
    FileFormat(
        "NIfTI pair", nifti_pair.SUFFIXES, nifti_pair.read, nifti.write, (".nii.gz", ".nii"), frozenset({"placed"}),
    ),
    FileFormat("NRRD", (".nrrd", ".nhdr"), nrrd.read, nrrd.write, (".nrrd",), frozenset({"placed"})),
    FileFormat("MetaImage", (".mha", ".mhd"), metaimage.read, metaimage.write, (".mha",), frozenset({"placed"})),
    FileFormat(
        "picture", (".png", ".bmp", ".gif", ".jpeg", ".jfif", ".jpg", ".jpe", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"),
        picture.read, picture.write, (".png", ".bmp"), frozenset({"image"}),
    ),
    FileFormat(
        "TIFF", (".tiff", ".tif"), tiff.read, tiff.write, (".tif", ".tiff"), frozenset({"image", "stack"}),
        channels=tiff.channels_in, sizes=tiff.sizes,
    ),
    # masks of slides are TIFF files, which state the size of their pixels
    FileFormat("whole slide", slide.SUFFIXES, slide.read, tiff.write, (".tif",), sizes=slide.sizes),
    FileFormat("OME-Zarr", ome_zarr.SUFFIXES, ome_zarr.read, is_folder=ome_zarr.is_image, sizes=ome_zarr.sizes),
    FileFormat("NumPy array", (".npy",), arrays.read, holds_none=arrays.holds_objects),
    FileFormat("NumPy archive", (".npz",), arrays.read, has_parts=True),
    FileFormat(
        "video", (".webm", ".mpeg", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg"), video.read, has_parts=True,
    ),
)  # fmt: skip


NOT_LISTED = (
    *(".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".avif", ".heic", ".heif", ".tga", ".psd", ".pcx", ".svg"),
    *(".czi", ".lif", ".lsm", ".stk", ".nd2", ".oib", ".oif", ".oir", ".vsi", ".ims", ".dv", ".mrxs", ".bif", ".vms"),
    *(".mat", ".h5", ".hdf5", ".nc", ".mgz", ".mgh", ".mnc", ".par", ".fits"),
)
"""Endings of images that folders are not searched for, which is told: no reader is known, or none that is tested."""


@dataclass(frozen=True)
class DrawnFormat:
    """One format of labels whose structures have names and which need the image that they were drawn on."""

    name: str
    has_mark: Callable[[Path], bool]
    """Tells a file of the format by its content."""
    names: Callable[[Path], Mapping[int, str]]
    """Returns the names of a file's structures by number, without drawing them."""
    read: Callable[[Path, Canvas], DrawnLabel]
    fits: Callable[[Canvas], bool] = lambda _: True
    """Whether labels of the format are drawn on such an image."""
    has_images: bool = False
    """Whether one file may hold labels of several images."""
    is_class: bool = False
    """Whether the name of a file may be that of its class."""

    def names_for(self, path: Path, image: Path | None) -> Mapping[int, str]:
        """Return the names of a file's structures by number, as they are called on an image."""
        names = self.names(path)
        return {number: drawn.own_name(name, path, image) for number, name in names.items()} if self.is_class else names


def _may_be_dicom(path: Path) -> bool:
    """Whether the suffix leaves open that a file is one of DICOM, as that of a pair does, which old scanners used."""
    named = _named(path)
    return named is None or named.find is not None or named.name == "NIfTI pair"


def _is_dicom_label(path: Path) -> bool:
    return _may_be_dicom(path) and dicom_labels.recognises(path)


def _read_dicom(path: Path, canvas: Canvas) -> DrawnLabel:
    return dicom_labels.read_drawn(Source((path, *canvas.geometry.files)))


DRAWN_FORMATS = (
    DrawnFormat("OME-Zarr", ome_zarr_labels.recognises, ome_zarr_labels.names_in, ome_zarr_labels.read_drawn),
    DrawnFormat(
        "DICOM",
        _is_dicom_label,
        dicom_labels.names_in,
        _read_dicom,
        fits=lambda canvas: bool(canvas.geometry.files),
    ),
    DrawnFormat(
        "3D Slicer",
        slicer.recognises,
        slicer.names_in,
        slicer.read_drawn,
        fits=lambda canvas: canvas.geometry.affine is not None and len(canvas.shape) == 3,
    ),
    DrawnFormat("NIfTI", nifti_layers.recognises, nifti_layers.names_in, nifti_layers.read_drawn),
    DrawnFormat("OME-TIFF", ome_tiff.has_named_channels, ome_tiff.names_in, ome_tiff.read_drawn),
    *(
        DrawnFormat(
            tool.title,
            partial(drawn.is_of, tool),
            drawn.names_in,
            drawn.read_drawn,
            has_images=tool.many_images,
            is_class=not tool.names_classes,
        )
        for tool in tools.TOOLS.values()
    ),
)
"""Formats of drawn labels. A further one is a module that reads it and a line here."""


@dataclass(frozen=True)
class NameList:
    """One format of texts that name the values of label maps."""

    name: str
    has_mark: Callable[[Path], bool]
    """Tells a file of the format by its content."""
    read: Callable[[Path], Mapping[int, str]]
    is_of: Callable[[Path, Path], bool] = lambda *_: True
    """Whether a list may hold for a label map, as their names tell."""
    folders: Callable[[Path], int] = lambda _: 2
    """Number of folders, from that of a label map upwards, in which its list may lie."""


NAME_LISTS = (
    NameList("ITK-SNAP", itksnap.recognises, itksnap.names_in),
    NameList("3D Slicer", slicer.is_colour_table, slicer.names_in_table),
    NameList("BIDS", bids_names.recognises, bids_names.names_in, bids_names.is_of, bids_names.folders_around),
)
"""Formats of lists of names, the stricter first."""


def format_of(path: Path) -> FileFormat | None:
    """Return the format of a file by its suffix, or by its mark if that is of no format; None if it has neither."""
    name, is_bare = path.name.lower(), not path.suffix.strip(".0123456789")
    if (is_bare or name.endswith(ome_zarr.SUFFIXES)) and path.is_dir():
        return next((each for each in FORMATS if each.is_folder and each.is_folder(path)), None)
    return _named(path) or next((each for each in FORMATS if each.has_mark and each.has_mark(path)), None)


def _named(path: Path) -> FileFormat | None:
    """Return the format that the suffix of a file names."""
    name = path.name.lower()
    return next((each for each in FORMATS if name.endswith(each.suffixes)), None)


def is_image(path: Path) -> bool:
    """Whether a file, or a folder that is searched for marks, is taken for an image or a label."""
    if path.is_dir():
        return any(map(is_slice, path.rglob("*")))
    found = format_of(path)
    return found is not None and not found.has_parts


def is_series(path: Path) -> bool:
    """Whether a path is a folder of files that make an image together, and not one that is an image by itself.

    So is a path that means one of several such images in a folder.
    """
    return (path.is_dir() and format_of(path) is None) or is_part(path)


def is_part(path: Path) -> bool:
    """Whether a path is none of a file or folder, but means one of several images in a folder."""
    return any(each.is_part(path) for each in FORMATS if each.is_part)


def is_slice(path: Path) -> bool:
    """Whether a file may be one of several that make an image together."""
    return _may_be_dicom(path) and any(each.has_mark(path) for each in FORMATS if each.find and each.has_mark)


def is_not_listed(path: Path) -> bool:
    """Whether a file holds images by its ending, but is none of those that a folder is searched for."""
    found = format_of(path)
    return found.has_parts if found else path.suffix.lower() in NOT_LISTED


def image_suffixes() -> tuple[str, ...]:
    """Return the endings of files that hold one image each."""
    return tuple(suffix for each in FORMATS if not each.has_parts for suffix in each.suffixes)


def stem(name: str) -> str:
    """Return a file name without the ending that tells its format; other endings, as those of UIDs, stay.

    >>> stem("scan.1.nii.gz"), stem("1.2.840.10008")
    ('scan.1', '1.2.840.10008')
    """
    lower = name.lower()
    known = (suffix for each in FORMATS for suffix in each.suffixes if lower.endswith(suffix))
    return name[: len(name) - max(map(len, known), default=0)]


def source_at(path: Path) -> Source:
    """Return the source that a path means: a file, a folder that is one image, or a series in a folder.

    Raises:
        ValueError: If a folder holds none or several.
        ImportError: If the library for the format is not installed.
    """
    if not is_series(path):
        return Source((nifti_pair.header_of(path),))
    return next(each.find for each in FORMATS if each.find)(path)


def read(source: Source, most_pixels: int = MAX_VOXELS) -> StoredImage:
    """Read an image or a label as its file holds it, within `remembering` once; a file of unknown suffix as a picture.

    Args:
        source: Where it lies.
        most_pixels: The size above which a picture is refused before it is decoded.

    Raises:
        ValueError: If it cannot be decoded or is too large, or has one resolution where a level or a
            region of it is asked for.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    for path in source.files:
        check_no_stream(path)
    found = None if source.part == SERIES else format_of(source.files[0])
    if (source.level or source.region) and not (found and found.sizes):
        msg = f"{source.name} has no level {source.level}: expected a slide or a pyramid, got one resolution. Drop it."
        raise ValueError(msg)
    reader = dicom.read if source.part == SERIES else found.read if found else picture.read
    return remembered.once(source, partial(reader, source, most_pixels))


def channels_in(source: Source) -> tuple[str, ...]:
    """Return the names or indices of the channels of an image among which one has to be chosen; nothing without choice.

    Raises:
        ValueError: If it is damaged.
        ImportError: If the library for its format is not installed.
    """
    found = None if source.part else format_of(source.files[0])
    return found.channels(source.files[0]) if found and found.channels else ()


def sizes_in(path: Path) -> list[Sides]:
    """Return rows and columns of the levels of an image's resolution, the full one first; nothing of other formats.

    Raises:
        ValueError: If it is damaged.
        ImportError: If the library for its format is not installed.
    """
    found = format_of(path)
    return found.sizes(path) if found and found.sizes else []


def drawn_format(path: Path, canvas: Canvas | None = None) -> DrawnFormat | None:
    """Return the format of a label that was drawn on an image; None for label maps.

    Args:
        path: The label.
        canvas: The image, on which no labels of some formats can be drawn; None if it is not known yet.
    """
    return next((each for each in DRAWN_FORMATS if (not canvas or each.fits(canvas)) and each.has_mark(path)), None)


def names_beside(path: Path) -> tuple[Mapping[int, str], Path | None]:
    """Find the names of a label map's values in a list of them: beside it, else in a folder above, the nearest.

    Several lists in a folder hold for the label map that is called as one of them, and for no others.

    Returns:
        The names and the list; nothing if there is none.

    Raises:
        ValueError: If the list is damaged.
    """
    for above, folder in enumerate(path.absolute().parents):
        kinds = [each for each in NAME_LISTS if above < each.folders(path)]
        if not kinds:
            break
        found = {file: kind for file, kind in _lists_in(folder) if kind in kinds}
        lists = [file for file, kind in found.items() if kind.is_of(file, path)]
        named = [each for each in lists if path.name.startswith(f"{each.stem}.")]
        if chosen := named or (lists if len(lists) == 1 else ()):
            return found[chosen[0]].read(chosen[0]), chosen[0]
    return {}, None


def is_name_list(path: Path) -> bool:
    """Whether a file names the values of label maps."""
    return _name_list(path) is not None


def _name_list(path: Path) -> NameList | None:
    return next((each for each in NAME_LISTS if each.has_mark(path)), None)


@while_unchanged(most=256)
def _lists_in(folder: Path) -> tuple[tuple[Path, NameList], ...]:
    """List the files of names in a folder, and their formats; none of a folder that may not be read."""
    with suppress(PermissionError):
        return tuple((path, kind) for path in sorted(folder.iterdir()) if (kind := _name_list(path)))
    return ()


def mask_suffixes(kinds: set[Kind]) -> tuple[str, ...]:
    """Return the endings of files that can hold masks of an image of these kinds, the most suitable first."""
    return tuple(dict.fromkeys(suffix for each in FORMATS if each.holds & kinds for suffix in each.writes))


def like(path: Path, suffixes: tuple[str, ...]) -> str:
    """Return, of endings that a mask can have, the one of its image; the first where it has no such ending."""
    found = format_of(path)
    own = [suffix for suffix in found.writes if suffix in suffixes] if found else []
    named = [suffix for suffix in own if path.name.lower().endswith(suffix)]
    return [*named, *own, *suffixes][0]


def encode(mask: MaskImage, suffix: str) -> bytes:
    """Return the content of the file of a mask.

    Raises:
        ValueError: If the format cannot hold the mask.
        ImportError: If the library for its format is not installed; the message has the command.
    """
    write = next(each.write for each in FORMATS if suffix in each.writes)
    assert write
    return write(mask, suffix)
