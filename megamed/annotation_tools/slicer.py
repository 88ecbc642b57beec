"""3D Slicer: a `.seg.nrrd` with named segments, in one label map or in several layers, often cropped.

Convention: as in every NRRD, the space origin is the centre of the first voxel. A cropped segmentation has an origin of
its own; `on_grid` puts it back onto its image.
"""

import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from megamed.annotation_tools.model import LabelClass, LabelLayers, colour_of, rgb
from megamed.files import replacing
from megamed.readers.faults import check_expansion, needs, one_error
from megamed.readers.nrrd import SHORT_SPACES, TOWARDS_RAS
from megamed.readers.volume import LPS_TO_RAS, check_header, laid_on

SUFFIXES = (".seg.nrrd", ".seg.nhdr", ".nrrd")
PEEK_BYTES = 2**16


def recognises(path: Path) -> bool:
    """Whether a file is a segmentation of Slicer's, which any `.nrrd` can be."""
    if not path.name.lower().endswith((".nrrd", ".nhdr")) or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(PEEK_BYTES)
    return head.startswith(b"NRRD") and re.search(rb"\nSegment\d+_", head) is not None


def numbers(segmentation: LabelLayers) -> dict[str, int]:
    """Return the value of each segment that `read` found, by its name; of several of one name, that of the last."""
    return {each.name: each.value or 1 for _, each in segmentation.classes}


def is_nameless(name: str) -> bool:
    """Whether a segment has the name that Slicer gives to every new one, or none."""
    return re.fullmatch(r"(?i)(segment[-_ ]?\d*)?", name) is not None


def names_in(path: Path) -> list[str]:
    """List the names that people gave to the segments of a file, from its header alone.

    Raises:
        ValueError: If the header cannot be read.
        ImportError: If pynrrd is not installed.
    """
    with needs("pynrrd", "NRRD"):
        import nrrd
    with one_error(path, OSError, EOFError, ValueError, KeyError, IndexError, nrrd.NRRDError):
        header = nrrd.read_header(str(path))
    stated = [str(value) for key, value in header.items() if re.fullmatch(r"Segment\d+_Name", str(key))]
    return [name for name in stated if not is_nameless(name)]


def read(path: Path) -> LabelLayers:
    """Read all segments, layers and values as the file has them; two segments of one name are one class.

    Raises:
        ValueError: If the file cannot be decoded, is too large, or has no three axes beside the layers.
        ImportError: If pynrrd is not installed.
    """
    with needs("pynrrd", "NRRD"):
        import nrrd
    errors = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, StopIteration, zlib.error)
    with one_error(path, *errors, nrrd.NRRDError):
        header = nrrd.read_header(str(path))
        sizes = tuple(int(size) for size in header["sizes"])
        dtype = np.dtype(nrrd.reader._determine_datatype(header))
        # layers, if there are several, are the first axis
        check_header((math.prod(sizes[:-2]), *sizes[-2:]), dtype)
        if dtype.kind not in "iu" or len(sizes) not in (3, 4):
            msg = f"expected whole numbers on three axes, or four with layers, got {dtype} on {len(sizes)}"
            raise ValueError(msg)
        if header.get("encoding") != "raw":
            check_expansion(path, math.prod(sizes) * dtype.itemsize)
        detached = str(header.get("data file", header.get("datafile", path.name)))
        if Path(detached).name != detached:
            msg = f"expected its data in the same folder, got {detached!r}"
            raise ValueError(msg)
        array, _ = nrrd.read(str(path))
        layers = tuple(array) if array.ndim == 4 else (array,)
        return LabelLayers(layers, "ijk", _classes(header, len(layers)), _affine(header))


def on_grid(
    segmentation: LabelLayers, shape: tuple[int, int, int], affine: Float[np.ndarray, "4 4"]
) -> dict[str, Bool[np.ndarray, "I J K"]]:
    """Put the segments of a segmentation, cropped or not, onto the grid of an image.

    Args:
        segmentation: The layers and segments that `read` returns.
        shape: Size of the image, in its file's own order of axes.
        affine: Matrix from the image's indices to millimetres towards right, front and head.

    Raises:
        ValueError: If the voxels of the two do not coincide.
    """
    placed = {}
    for name, mask in segmentation.labels().items():
        placed[name] = np.zeros(shape, bool)
        stated = affine if segmentation.affine is None else segmentation.affine
        inside, aligned = laid_on(mask, stated, shape, affine)
        placed[name][inside] = aligned
    return placed


def write(
    path: Path, masks: Mapping[str, Bool[np.ndarray, "I J K"]], affine: Float[np.ndarray, "4 4"] | None = None
) -> None:
    """Write masks as segments; those that overlap lie in layers of their own.

    Args:
        path: Ending in `.seg.nrrd`, which tells Slicer that it is a segmentation.
        masks: Masks by class, all on one grid.
        affine: Matrix from indices to millimetres towards right, front and head.

    Raises:
        ValueError: If there are no masks.
        ImportError: If pynrrd is not installed.
    """
    with needs("pynrrd", "NRRD"):
        import nrrd
    if not masks:
        msg = f"{path.name} would be empty: expected at least one mask, got none."
        raise ValueError(msg)
    layers, places = _layered(masks)
    geometry = LPS_TO_RAS @ (np.eye(4) if affine is None else affine)
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3,
        "space directions": geometry[:3, :3].T,
        "space origin": geometry[:3, 3],
        "encoding": "gzip",
        **_description(masks, places, layers[0].shape),
    }
    array = layers[0]
    if len(layers) > 1:
        array = np.stack(layers)
        header["kinds"] = ["list", *header["kinds"]]
        header["space directions"] = np.concatenate([np.full((1, 3), np.nan), header["space directions"]])
    with replacing(path) as partial:
        nrrd.write(str(partial), array, header)


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
        shares = [float(share) for share in str(stated["Color"] or "").split()]
        colour = "#" + bytes(round(255 * min(max(share, 0), 1)) for share in shares).hex() if len(shares) == 3 else None
        classes.append((layer, LabelClass(name, int(stated["LabelValue"] or 1), colour)))
    return tuple(classes)


def _affine(header: Mapping[str, Any]) -> Float[np.ndarray, "4 4"] | None:
    """Build the affine from the directions and the origin, if the header has them."""
    if header.get("space directions") is None or header.get("space") is None:
        return None
    affine = np.eye(4)
    directions = np.asarray(header["space directions"], float)
    affine[:3, :3] = directions[np.isfinite(directions).all(axis=1)].T
    affine[:3, 3] = header.get("space origin", [0.0, 0.0, 0.0])
    space = str(header["space"]).lower()
    signs = [TOWARDS_RAS.get(part) for part in SHORT_SPACES.get(space, space).split("-")]
    if len(signs) != 3 or None in signs:
        msg = f"expected an anatomical space, got {space!r}"
        raise ValueError(msg)
    return np.diag([*map(float, filter(None, signs)), 1.0]) @ affine


def _layered(masks: Mapping[str, Bool[np.ndarray, "I J K"]]) -> tuple[list[np.ndarray], list[int]]:
    """Put each mask into the first layer in which it covers no other: the layers, and the one of each mask."""
    layers: list[np.ndarray] = []
    places = []
    dtype = np.uint8 if len(masks) < 256 else np.uint16
    for value, mask in enumerate(masks.values(), start=1):
        place = next((number for number, layer in enumerate(layers) if not layer[mask].any()), len(layers))
        if place == len(layers):
            layers.append(np.zeros(mask.shape, dtype))
        layers[place][mask] = value
        places.append(place)
    return layers, places


def _description(
    masks: Mapping[str, Bool[np.ndarray, "I J K"]], places: list[int], shape: tuple[int, ...]
) -> dict[str, str]:
    """Describe the segments as Slicer does."""
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    extent = " ".join(f"0 {size - 1}" for size in shape)
    for index, (name, place) in enumerate(zip(masks, places, strict=True)):
        colour = " ".join(f"{each / 255:.6g}" for each in rgb(colour_of(index)))
        stated = {"ID": f"Segment_{index + 1}", "Name": name, "NameAutoGenerated": "0", "Color": colour}
        stated |= {"LabelValue": f"{index + 1}", "Layer": f"{place}", "Extent": extent, "Tags": "|"}
        fields |= {f"Segment{index}_{key}": value for key, value in stated.items()}
    return fields
