"""OME-TIFF labels that tifffile wrote: maps with any axes, and channels with names."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from megamed.annotation_tools import ome_tiff


def test_a_map_keeps_values_and_axes(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 5000, (4, 9, 7)).astype(np.uint16)
    path = tmp_path / "a.OME.TIF"
    tifffile.imwrite(path, labels, ome=True, metadata={"axes": "ZYX"})
    assert ome_tiff.recognises(path)
    found = ome_tiff.read_labels(path)
    assert (found.axes, found.classes) == ("zyx", ())
    assert np.array_equal(found.layers[0], labels)


def test_channels_with_names_are_classes(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).integers(0, 2, (2, 9, 7)).astype(np.uint8) * 255
    names = {"Channel": {"Name": ["nucleus", "membrane"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", masks, ome=True, metadata={"axes": "CYX", **names})
    labels = ome_tiff.read_labels(tmp_path / "a.ome.tif").labels()
    assert np.array_equal(labels["nucleus"], masks[0] > 0)
    assert np.array_equal(labels["membrane"], masks[1] > 0)


def test_channels_of_numbered_objects_are_no_classes(tmp_path: Path) -> None:
    labels = np.arange(2 * 9 * 7).reshape(2, 9, 7).astype(np.uint16)
    names = {"Channel": {"Name": ["nuclei", "cells"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", labels, ome=True, metadata={"axes": "CYX", **names})
    found = ome_tiff.read_labels(tmp_path / "a.ome.tif")
    assert found.classes == ()
    assert np.array_equal(found.layers[1], labels[1])


@pytest.mark.parametrize(("axes", "shape"), [("yx", (9, 7)), ("zyx", (4, 9, 7))])
def test_masks_come_back_exactly(tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    masks = {"organ": rng.random(shape) > 0.5, "tumour": rng.random(shape) > 0.9}
    ome_tiff.write(tmp_path / "a.ome.tif", masks, axes)
    found = ome_tiff.read_labels(tmp_path / "a.ome.tif")
    assert found.axes == axes
    assert all(np.array_equal(found.labels()[name], mask) for name, mask in masks.items())


def test_what_is_no_label_map_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match=r"a.ome.tif cannot be read: expected whole numbers, got float32"):
        ome_tiff.read_labels(tmp_path / "a.ome.tif")
    (tmp_path / "b.ome.tif").write_bytes(b"II*\0no")
    with pytest.raises(ValueError, match=r"b.ome.tif cannot be read"):
        ome_tiff.read_labels(tmp_path / "b.ome.tif")
