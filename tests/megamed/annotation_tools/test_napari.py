"""napari: tables of shapes as its writer makes them, whose pixels have whole centres, and labels as TIFF and npy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from megamed.annotation_tools import napari
from megamed.annotation_tools.model import SegmentedImage

HEAD = "index,shape-type,vertex-index,axis-0,axis-1\n"


def table(folder: Path, shapes: list[tuple[str, list[tuple[float, ...]]]], head: str = HEAD) -> Path:
    lines = [
        ",".join(map(str, (index, kind, vertex, *point)))
        for index, (kind, points) in enumerate(shapes)
        for vertex, point in enumerate(points)
    ]
    (folder / "cells.CSV").write_text(head + "\n".join(lines) + "\n")
    return folder / "cells.CSV"


def test_whole_coordinates_are_pixel_centres(tmp_path: Path) -> None:
    around = [(1.5, 2.5), (1.5, 6.5), (4.5, 6.5), (4.5, 2.5)]
    (image,) = napari.read(table(tmp_path, [("polygon", around)]))
    assert (image.file_name, image.size) == ("cells", None)
    assert np.argwhere(image.labels((9, 9))["cells"])[[0, -1]].tolist() == [[2, 3], [4, 6]]


def test_an_ellipse_is_stored_by_its_box(tmp_path: Path) -> None:
    corners = [(10.0, 10.0), (10.0, 50.0), (30.0, 50.0), (30.0, 10.0)]
    labels = napari.read(table(tmp_path, [("ellipse", corners)]))[0].labels((60, 60))["cells"]
    assert labels.sum() == pytest.approx(np.pi * 20 * 10, rel=0.02)
    assert np.ptp(np.nonzero(labels)[1]) > np.ptp(np.nonzero(labels)[0])


def test_planes_are_kept_apart(tmp_path: Path) -> None:
    square = [(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (4.0, 0.0)]
    shapes = [("polygon", [(float(z), *point) for point in square]) for z in (2, 5)]
    images = napari.read(table(tmp_path, shapes, HEAD.replace("axis-1", "axis-1,axis-2")))
    assert [image.plane for image in images] == [2, 5]
    assert images[0].labels((9, 9))["cells"].sum() == 16


def test_paths_are_noted(tmp_path: Path) -> None:
    line = [(0.0, 0.0), (0.0, 4.0)]
    (image,) = napari.read(table(tmp_path, [("path", line), ("polygon", line), ("star", [*line, (3.0, 3.0)])]))
    assert not image.shapes
    assert len(image.notes) == 3


def test_a_table_that_is_not_one_of_shapes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,label\n")
    with pytest.raises(ValueError, match=r"a.csv is no table of shapes"):
        napari.read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text(HEAD + "0,polygon,0,x,1\n")
    with pytest.raises(ValueError, match=r"a.csv is malformed: expected numbers on line 2"):
        napari.read(tmp_path / "a.csv")


def test_shapes_have_no_classes(tmp_path: Path, draw: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"expected one mask, got \['a', 'b'\]"):
        napari.write(tmp_path / "a.csv", [SegmentedImage("a", (45, 60), {"a": draw(0), "b": draw(1)})])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, bool])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_labels_are_exact(tmp_path: Path, dtype: type, suffix: str) -> None:
    labels = np.random.default_rng(0).integers(0, 200, (3, 9, 7)).astype(dtype)
    if suffix == ".npy":
        np.save(tmp_path / "labels.npy", labels)
    else:
        tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    found = napari.read_labels(tmp_path / f"labels{suffix}")
    assert np.array_equal(found.layers[0], labels)
    assert found.classes == ()
    if dtype not in (bool, np.int64):
        napari.write_labels(tmp_path / f"ours{suffix}", labels)
        assert np.array_equal(napari.read_labels(tmp_path / f"ours{suffix}").layers[0], labels)


def test_labels_are_whole_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"a.npy is no label map: expected whole numbers, got float64"):
        napari.read_labels(tmp_path / "a.npy")
