"""Size of pixels, as other programs state it in TIFF files."""

from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.pixels import read_image
from megamed.readers.orientation_tag import TAG
from megamed.readers.source import Source
from megamed.readers.stored import Geometry, MaskImage
from megamed.readers.volume import Volume, on_grid

tifffile = pytest.importorskip("tifffile")

PLANE, STACK = np.zeros((6, 8), np.uint16), np.zeros((3, 6, 8), np.uint16)


def spacing_of(path: Path) -> tuple[float, ...] | None:
    return formats.read(Source((path,))).geometry.spacing


@pytest.mark.parametrize(
    ("unit", "mm"),
    [("um", 1e-3), ("micron", 1e-3), ("\\u00B5m", 1e-3), ("nm", 1e-6), ("mm", 1), ("cm", 10), ("inch", 25.4)],
)
def test_imagej_states_a_unit(tmp_path: Path, unit: str, mm: float) -> None:
    facts = {"unit": unit, "spacing": 3.0, "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(4.0, 2.0), metadata=facts)
    assert spacing_of(tmp_path / "a.tif") == pytest.approx((3 * mm, mm / 2, mm / 4))


def test_planes_that_go_down_have_a_distance(tmp_path: Path) -> None:
    facts = {"unit": "mm", "spacing": -3.0, "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(4.0, 2.0), metadata=facts)
    assert spacing_of(tmp_path / "a.tif") == pytest.approx((3, 0.5, 0.25))


@pytest.mark.parametrize(("unit", "mm"), [("µm", 1e-3), ("nm", 1e-6), ("mm", 1), (None, 1e-3)])
def test_ome_states_a_unit(tmp_path: Path, unit: str | None, mm: float) -> None:
    facts = {"axes": "ZYX"} | {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (0.5, 0.25, 2.0), strict=True)}
    facts |= {f"PhysicalSize{axis}Unit": unit for axis in "XYZ" if unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=facts)
    assert spacing_of(tmp_path / "a.ome.tif") == pytest.approx((2 * mm, 0.25 * mm, 0.5 * mm))


@pytest.mark.parametrize(
    ("unit", "per_unit", "spacing_mm"),
    [
        ("CENTIMETER", 20_000, (5e-4, 5e-4)),
        ("INCH", 50_800, (5e-4, 5e-4)),
        ("CENTIMETER", 0, None),
        ("CENTIMETER", 118, None),  # 300 dots per inch: how large to print it
        ("INCH", 72, None),
        ("INCH", 1200, None),
        ("NONE", 20_000, None),
    ],
)
def test_resolution_tags_count_where_no_printer_is_meant(
    tmp_path: Path, unit: str, per_unit: float, spacing_mm: tuple[float, ...] | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE, resolution=(per_unit, per_unit), resolutionunit=unit, metadata=None)
    assert spacing_of(tmp_path / "a.tif") == (spacing_mm and pytest.approx(spacing_mm))


def test_pixels_are_turned_with_their_picture(tmp_path: Path) -> None:
    facts = {"resolution": (20_000, 10_000), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", PLANE, **facts, extratags=[(TAG, "H", 1, 6, True)])
    assert spacing_of(tmp_path / "a.tif") == pytest.approx((5e-4, 1e-3))


@pytest.mark.parametrize("spacing", [(0.25e-3, 0.5e-3), (2e-3, 0.25e-3, 0.5e-3), (3.0, 0.5, 0.25)])
def test_a_mask_states_the_size_of_its_pixels(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    mask = STACK[: 1 if len(spacing) == 2 else 3].astype(np.uint8)
    (tmp_path / "a.tif").write_bytes(formats.encode(MaskImage(mask, Geometry(spacing=spacing)), ".tif"))
    assert spacing_of(tmp_path / "a.tif") == pytest.approx(spacing)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].resolutionunit == 3
        assert file.imagej_metadata["unit"] == "cm"


@pytest.mark.parametrize(("stated", "voxel_mm"), [({"spacing": 3.0}, (0.25, 0.5, 3.0)), ({}, (1.0, 1.0, 1.0))])
def test_planes_of_a_collection_have_their_distances(
    tmp_path: Path, stated: dict[str, float], voxel_mm: tuple[float, float, float]
) -> None:
    """Thick sections are not cut across, and their label need not be calibrated; nothing is known without their gap."""
    facts = {"unit": "mm", "axes": "ZYX", **stated}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(4.0, 2.0), metadata=facts)
    tifffile.imwrite(tmp_path / "label.tif", STACK, imagej=True, metadata={"axes": "ZYX"})
    image, label = (read_image(Source((tmp_path / name,))) for name in ("a.tif", "label.tif"))
    assert isinstance(image, Volume)
    assert isinstance(label, Volume)
    assert image.spacing_mm == pytest.approx(voxel_mm)
    assert on_grid(label, image).shape == image.array.shape
