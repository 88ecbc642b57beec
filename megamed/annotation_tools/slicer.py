"""3D Slicer: a `.seg.nrrd` with named segments, in one label map or in several layers, often cropped.

Convention: as in every NRRD, the space origin is the centre of the first voxel. A cropped segmentation has an origin of
its own; `on_grid` puts it back onto its image.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from megamed.annotation_tools.model import LabelClass, LabelLayers
from megamed.annotation_tools.text_files import peek, read_text
from megamed.files import replace_file
from megamed.label_colours import colour_of, rgb
from megamed.label_values import whole_numbers
from megamed.readers import nrrd
from megamed.readers.faults import one_error
from megamed.readers.stored import Canvas, DrawnLabel, Segment
from megamed.readers.volume import LPS_TO_RAS, laid_on, looked_up

SUFFIXES = (".seg.nrrd", ".seg.nhdr", ".nrrd")
RESAMPLED = "segments have other voxels than the image: of each voxel, the nearest one counts"
PEEK_BYTES = 2**16
TABLE_SUFFIXES = (".ctbl", ".txt")
TABLE_ROW = re.compile(r"^\s*(\d+)\s+(\S.*?)((?:\s+\d+){4})\s*$")
"""A value, its name, and red, green, blue and opacity."""


def recognises(path: Path) -> bool:
    """Whether a file is a segmentation of Slicer's, which any `.nrrd` can be."""
    if not path.name.lower().endswith((".nrrd", ".nhdr")) or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(PEEK_BYTES)
    return head.startswith(b"NRRD") and re.search(rb"\nSegment\d+_", head) is not None


def is_nameless(name: str) -> bool:
    """Whether a segment has the name that Slicer gives to every new one, or none."""
    return re.fullmatch(r"(?i)(segment[-_ ]?\d*)?", name) is not None


def read(path: Path) -> LabelLayers:
    """Read all segments, layers and values as the file has them; two segments of one name are one class.

    Raises:
        ValueError: If the file cannot be decoded, is too large, or has no three axes beside the layers.
        ImportError: If pynrrd is not installed.
    """
    header, array = nrrd.load(path, layers=True)
    with one_error(path, ValueError):
        array = whole_numbers(array, path.name)
        layers = tuple(array) if array.ndim == 4 else (array,)
        is_placed = header.get("space directions") is not None and header.get("space") is not None
        return LabelLayers(layers, "ijk", _classes(header, len(layers)), nrrd.affine_of(header) if is_placed else None)


def read_drawn(path: Path, canvas: Canvas) -> DrawnLabel:
    """Read the segments of a volume, each with the value that the file gives it.

    Raises:
        ValueError: If the file cannot be read, or its voxels do not coincide with those of the volume.
        ImportError: If pynrrd is not installed.
    """
    segmentation = read(path)
    affine, (rows, columns, slices) = canvas.geometry.affine, canvas.shape
    assert affine is not None

    def drawn(name: str) -> UInt8[np.ndarray, "I J K"]:
        classes = tuple(each for each in segmentation.classes if each[1].name == name)
        segment = replace(segmentation, classes=classes)
        return on_grid(segment, (rows, columns, slices), affine)[name].astype(np.uint8)

    names = _by_value(segmentation.classes)
    has_own_grid = segmentation.affine is not None and not _have_one_spacing(segmentation.affine, affine)
    segments = (Segment(number, name, functools.partial(drawn, name)) for number, name in names.items())
    colours = {each.name: each.colour for _, each in segmentation.classes if each.colour}
    notes = [RESAMPLED] if has_own_grid else []
    return DrawnLabel(canvas.geometry, tuple(segments), names, notes, colours=colours)


def _have_one_spacing(affine: Float[np.ndarray, "4 4"], other: Float[np.ndarray, "4 4"]) -> bool:
    one, two = (np.sort(np.linalg.norm(each[:3, :3], axis=0)) for each in (affine, other))
    return np.allclose(one, two, rtol=1e-3)


def names_in(path: Path) -> dict[int, str]:
    """Return the segments' names by their values, from the header alone; numbered by place if layers share a value.

    Raises:
        ValueError: If the header cannot be read.
        ImportError: If pynrrd is not installed.
    """
    header = nrrd.read_header(path)
    layer_count = int(header["sizes"][0]) if len(header.get("sizes", ())) == 4 else 1
    with one_error(path, ValueError):
        return _by_value(_classes(header, layer_count))


def is_colour_table(path: Path) -> bool:
    """Whether a file looks like a colour table, as Slicer saves beside a label map."""
    lines = [line.strip() for line in peek(path, *TABLE_SUFFIXES).splitlines()[:50]]
    rows = [line for line in lines if line and not line.startswith("#")]
    is_marked = path.suffix.lower() == TABLE_SUFFIXES[0] or any("color table" in line.lower() for line in lines[:3])
    return is_marked and bool(rows) and all(TABLE_ROW.match(row) for row in rows[:-1] or rows)


def names_in_table(path: Path) -> dict[int, str]:
    """Return the names of a colour table by value; the background, 0, is left out, and spaces stand again.

    Raises:
        ValueError: If the file is no text.
    """
    rows = filter(None, map(TABLE_ROW.match, read_text(path).splitlines()))
    return {int(row[1]): row[2].replace("_", " ") for row in rows if int(row[1])}


def on_grid(
    segmentation: LabelLayers, shape: tuple[int, int, int], affine: Float[np.ndarray, "4 4"]
) -> dict[str, Bool[np.ndarray, "I J K"]]:
    """Put the segments of a segmentation, cropped or not, onto the grid of an image.

    Args:
        segmentation: The layers and segments that `read` returns.
        shape: Size of the image, in its file's own order of axes.
        affine: Matrix from the image's indices to millimetres towards right, front and head.

    Raises:
        ValueError: If the voxels of the two neither coincide nor lie on parallel axes at other distances.
    """
    placed = {}
    stated = affine if segmentation.affine is None else segmentation.affine
    for name, mask in segmentation.labels().items():
        if not _have_one_spacing(stated, affine):
            placed[name] = looked_up(mask, stated, shape, affine)
            continue
        placed[name] = np.zeros(shape, bool)
        inside, aligned = laid_on(mask, stated, shape, affine)
        placed[name][inside] = aligned
    return placed


def write(
    path: Path,
    masks: Mapping[str, Bool[np.ndarray, "I J K"]],
    affine: Float[np.ndarray, "4 4"] | None = None,
    classes: Sequence[LabelClass] | None = None,
) -> None:
    """Write masks as segments; those that overlap lie in layers of their own.

    Args:
        path: Ending in `.seg.nrrd`, which tells Slicer that it is a segmentation.
        masks: Masks by class, all on one grid.
        affine: Matrix from indices to millimetres towards right, front and head.
        classes: Value and colour of each class, in the order of the masks; by default they are numbered from 1.

    Raises:
        ValueError: If there are no masks.
        ImportError: If pynrrd is not installed.
    """
    if not masks:
        msg = f"{path.name} would be empty: expected at least one mask, got none."
        raise ValueError(msg)
    classes = classes or [LabelClass(name, value, colour_of(value)) for value, name in enumerate(masks, start=1)]
    layers, places = _layered(masks, [each.value or 0 for each in classes])
    geometry = LPS_TO_RAS @ (np.eye(4) if affine is None else affine)
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3,
        "space directions": geometry[:3, :3].T,
        "space origin": geometry[:3, 3],
        "encoding": "gzip",
        **_description(classes, places, layers[0].shape),
    }
    array = layers[0]
    if len(layers) > 1:
        array = np.stack(layers)
        header["kinds"] = ["list", *header["kinds"]]
        header["space directions"] = np.concatenate([np.full((1, 3), np.nan), header["space directions"]])
    replace_file(path, nrrd.encoded(array, header))


def _classes(header: Mapping[str, Any], layer_count: int) -> tuple[tuple[int, LabelClass], ...]:
    """Read the segments that a header states; older files give each a layer and the value 1."""
    numbers = sorted({int(found[1]) for key in header if (found := re.fullmatch(r"Segment(\d+)_\w+", str(key)))})
    classes = []
    for place, number in enumerate(numbers):
        stated = {key: header.get(f"Segment{number}_{key}") for key in ("Name", "ID", "LabelValue", "Layer", "Color")}
        layer = int(stated["Layer"] or (place if stated["LabelValue"] is None and layer_count > 1 else 0))
        if not 0 <= layer < layer_count:
            msg = f"expected segments in {layer_count} layers, got one in {layer}"
            raise ValueError(msg)
        name = str(stated["Name"] or stated["ID"] or f"Segment_{number + 1}")
        value = int(stated["LabelValue"] or 1)
        if value:  # 0 is the background
            classes.append((layer, LabelClass(name, value, _colour(str(stated["Color"] or "")))))
    return tuple(classes)


def _colour(text: str) -> str | None:
    """Return the colour of a segment, which its file gives as three shares of 1; None if it is none."""
    try:
        shares = [float(share) for share in text.split()]
    except ValueError:
        return None
    return "#" + bytes(round(255 * min(max(share, 0), 1)) for share in shares).hex() if len(shares) == 3 else None


def _by_value(classes: tuple[tuple[int, LabelClass], ...]) -> dict[int, str]:
    """Name each value once; of several segments of one name the last one's value counts."""
    values = {each.name: each.value or 1 for _, each in classes}
    if len(set(values.values())) < len(values):
        return dict(enumerate(values, start=1))
    return {value: name for name, value in values.items()}


def _layered(
    masks: Mapping[str, Bool[np.ndarray, "I J K"]], values: Sequence[int]
) -> tuple[list[np.ndarray], list[int]]:
    """Put each mask into the first layer in which it covers no other: the layers, and the one of each mask."""
    layers: list[np.ndarray] = []
    places = []
    dtype = np.uint8 if max(values) < 256 else np.uint16
    for value, mask in zip(values, masks.values(), strict=True):
        place = next((number for number, layer in enumerate(layers) if not layer[mask].any()), len(layers))
        if place == len(layers):
            layers.append(np.zeros(mask.shape, dtype))
        layers[place][mask] = value
        places.append(place)
    return layers, places


def _description(classes: Sequence[LabelClass], places: list[int], shape: tuple[int, ...]) -> dict[str, str]:
    """Describe the segments as Slicer does."""
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    extent = " ".join(f"0 {size - 1}" for size in shape)
    for index, (each, place) in enumerate(zip(classes, places, strict=True)):
        colour = " ".join(f"{part / 255:.6g}" for part in rgb(each.colour or colour_of(index + 1)))
        stated = {"ID": f"Segment_{index + 1}", "Name": each.name, "NameAutoGenerated": "0", "Color": colour}
        stated |= {"LabelValue": f"{each.value}", "Layer": f"{place}", "Extent": extent, "Tags": "|"}
        fields |= {f"Segment{index}_{key}": value for key, value in stated.items()}
    return fields
