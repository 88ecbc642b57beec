"""OME-Zarr images as zarr writes them, by the path of the image or of one of its levels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megamed import formats
from megamed.readers.pyramid import Region
from megamed.readers.source import Source
from megamed.readers.stored import Canvas, StoredImage

zarr = pytest.importorskip("zarr")

STAINS = np.random.default_rng(0).integers(0, 4000, (1, 2, 3, 20, 30)).astype(np.uint16)
NUCLEI = np.zeros((3, 20, 30), np.int32)
NUCLEI[1, 4:10, 4:12], NUCLEI[1, 12:18, 20:28] = 1, 2
KINDS = {"t": "time", "c": "channel"}


def multiscales(axes: str, count: int) -> dict[str, Any]:
    """A description of levels, each half as large along rows and columns as the one before."""
    named = [
        {"name": axis, "type": KINDS.get(axis, "space"), **({} if axis in KINDS else {"unit": "micrometer"})}
        for axis in axes
    ]
    sizes = {"z": 2.0, "y": 0.5, "x": 0.25}
    scales = [[sizes.get(axis, 1.0) * (1 if axis in "tcz" else 2**level) for axis in axes] for level in range(count)]
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for level, scale in enumerate(scales)
    ]
    return {"multiscales": [{"axes": named, "datasets": datasets}]}


def write(path: Path, version: str = "0.4") -> Path:
    """An image of two stains in a z-stack at two levels, with numbered nuclei at both."""
    zarr_format: Any = 2 if version == "0.4" else 3
    image = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    nuclei = image.create_group("labels").create_group("nuclei")
    channels = {"omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}}
    for place, said in (
        (image, multiscales("tczyx", 2) | channels),
        (image["labels"], {"labels": ["nuclei"]}),
        (nuclei, multiscales("zyx", 2) | {"image-label": {}}),
    ):
        place.attrs.update(said if version == "0.4" else {"ome": said})
    for level in (0, 1):
        image.create_array(str(level), data=STAINS[..., :: level + 1, :: level + 1])
        nuclei.create_array(str(level), data=NUCLEI[:, :: level + 1, :: level + 1])
    return path


def read(path: Path, channel: str = "", most_pixels: int = 10**6) -> StoredImage:
    source = formats.source_at(path)
    return formats.read(Source(source.files, channel), most_pixels)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("level", [0, 1])
def test_levels_and_channels(tmp_path: Path, version: str, level: int) -> None:
    path = write(tmp_path / "a.zarr", version)
    step = level + 1
    for place in (path, path / "0") if level == 0 else (path / "1",):
        stored = read(place, "gfp")
        assert stored.axes == "ZYX"
        assert np.array_equal(stored.array, STAINS[0, 1, :, ::step, ::step])
        assert stored.geometry.spacing == pytest.approx((2e-3, 5e-4 * step, 2.5e-4 * step))
        assert stored.geometry.full_size == ((20, 30) if level else None)
        chosen = formats.read(Source((path,), "gfp", level=level))
        assert np.array_equal(chosen.array, stored.array)
        part = formats.read(Source((path,), "gfp", level=level, region=Region(2, 3, 5, 6)))
        assert np.array_equal(part.array, stored.array[:, 2:7, 3:9])
        assert formats.sizes_in(place) == [(20, 30), (10, 15)][level if place == path / "1" else 0 :]


def test_what_is_left_open_is_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=r"it holds 2 channels: expected one, or the choice of 0 'DAPI', 1 'GFP'"):
        read(path)
    with pytest.raises(ValueError, match=r"it has no channel 'CD8': expected 0 'DAPI', 1 'GFP'"):
        read(path, "CD8")
    with pytest.raises(ValueError, match=r"expected at most 1000 pixels, got 3 × 20 × 30.* level: 1 \(10 × 15\)"):
        read(path, "0", most_pixels=1000)


@pytest.mark.parametrize("level", ["", "1"])
def test_labels_lie_on_the_level_of_their_image(tmp_path: Path, level: str) -> None:
    path = write(tmp_path / "a.zarr")
    shape = (3, 20, 30) if not level else (3, 10, 15)
    found = formats.drawn_format(path)
    assert found is not None
    assert found.names(path) == {1: "nuclei"}
    (segment,) = found.read(path, Canvas(path / level, shape)).segments
    step = 2 if level else 1
    assert segment.name == "nuclei"
    assert np.array_equal(segment.draw(), NUCLEI[:, ::step, ::step] > 0)
    with pytest.raises(ValueError, match=r"a\.zarr does not match its image: expected labels of \(3, 7, 7\)"):
        found.read(path, Canvas(path, (3, 7, 7)))


def test_a_folder_of_something_else_is_no_image(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2).create_array("0", data=NUCLEI)
    for place in (tmp_path, tmp_path / "a.zarr", tmp_path / "a.zarr/0"):
        assert formats.format_of(place) is None


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_array_of_which_nothing_is_said_is_read_as_one_of_numpy(tmp_path: Path, zarr_format: Any) -> None:
    array = np.random.default_rng(0).integers(0, 9, (12, 14)).astype(np.int32)
    zarr.create_array(tmp_path / "a.zarr", data=array, zarr_format=zarr_format)
    assert formats.format_of(tmp_path / "a.zarr")
    stored = formats.read(formats.source_at(tmp_path / "a.zarr"))
    assert stored.axes == ""
    assert np.array_equal(stored.array, array)
