"""OME-Zarr images and their labels by path."""

from pathlib import Path

import numpy as np
import pytest

from incontext.images.source_image import read_label_image, read_source_image
from tests.megamed.readers.test_ome_zarr import NUCLEI, STAINS, write

pytest.importorskip("zarr")


@pytest.mark.parametrize(("level", "step"), [("", 1), ("1", 2)])
@pytest.mark.parametrize("label", ["", "labels/nuclei"])
def test_an_image_and_its_labels_lie_on_one_grid(tmp_path: Path, level: str, step: int, label: str) -> None:
    path = write(tmp_path / "a.zarr")
    image = read_source_image(path / level, "image", channel="DAPI")
    assert image.kind == "stack"
    assert np.array_equal(image.planes, STAINS[0, 0, :, ::step, ::step])
    assert image.spacing_mm == pytest.approx((2e-3, 5e-4 * step, 2.5e-4 * step))
    read = read_label_image(path / label, "label", image)
    assert read.names == {1: "nuclei"}
    assert np.array_equal(read.planes, NUCLEI[:, ::step, ::step] > 0)
