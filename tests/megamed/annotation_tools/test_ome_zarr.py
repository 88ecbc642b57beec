"""OME-Zarr labels of both versions that are in use, made with zarr as the specification shows."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megamed.annotation_tools import ome_zarr
from megamed.annotation_tools.model import LabelClass
from megamed.readers.stored import Canvas

zarr = pytest.importorskip("zarr")

DESCRIPTION = {
    "colors": [{"label-value": 1, "rgba": [255, 0, 16, 255]}, {"label-value": 4, "rgba": [0, 255, 255, 128]}],
    "properties": [{"label-value": 1, "class": "nucleus", "area": 12}, {"label-value": 4, "area": 3}],
}


def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 5, (3, 20, 30)).astype(np.int32)


def write(path: Path, version: str) -> Path:
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    scales = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    described: dict[str, Any] = {"multiscales": scales, "image-label": DESCRIPTION}
    listed: dict[str, Any] = {"labels": ["cells"]}
    zarr_format: Any = 2 if version == "0.4" else 3
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format).create_group("labels")
    cells = group.create_group("cells")
    cells.create_array("0", data=labels(), chunks=(1, 8, 8))
    for place, said in ((group, listed), (cells, described)):
        place.attrs.update(said if version == "0.4" else {"ome": {"version": "0.5", **said}})
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("inside", ["", "labels", "labels/cells"])
def test_labels_with_their_names(tmp_path: Path, version: str, inside: str) -> None:
    path = write(tmp_path / "image.zarr", version) / inside
    assert ome_zarr.recognises(path)
    (found,) = ome_zarr.read_labels(path).values()
    assert np.array_equal(found.layers[0], labels())
    assert found.axes == "zyx"
    assert found.classes == ((0, LabelClass("nucleus", 1, "#ff0010")),)
    assert np.array_equal(found.labels()["nucleus"], labels() == 1)


def test_masks_come_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    masks = {"organ": rng.random((9, 700)) > 0.5, "tumour": rng.random((9, 700)) > 0.9}
    ome_zarr.write(tmp_path / "image.zarr", masks)
    found = ome_zarr.read_labels(tmp_path / "image.zarr")
    assert list(found) == ["organ", "tumour"]
    assert all(np.array_equal(found[name].labels()[name], mask) for name, mask in masks.items())


def test_what_holds_no_labels(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "image.zarr", mode="w", zarr_format=2)
    assert not ome_zarr.recognises(tmp_path / "image.zarr")
    with pytest.raises(ValueError, match=r"image.zarr holds no labels"):
        ome_zarr.read_labels(tmp_path / "image.zarr")


@pytest.mark.parametrize("damage", ["outside", "no scales", "no json", "huge"])
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path / "image.zarr", "0.4") / "labels"
    if damage == "outside":
        (path / ".zattrs").write_text(json.dumps({"labels": ["../../elsewhere"]}))
    elif damage == "huge":
        header = json.loads((path / "cells" / "0" / ".zarray").read_text())
        header["shape"] = [10**6, 10**6, 10**6]
        (path / "cells" / "0" / ".zarray").write_text(json.dumps(header))
    else:
        (path / "cells" / ".zattrs").write_text("{}" if damage == "no scales" else "{")
    with pytest.raises(ValueError, match=r"expected|cannot be read"):
        ome_zarr.read_labels(tmp_path / "image.zarr")


def test_the_extra_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"needs zarr: .*pip install \"incontext-seg\[omezarr\]\""):
        ome_zarr.read_labels(tmp_path)


def test_labels_that_no_list_names_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "image.zarr", "0.4")
    del zarr.open_group(path / "labels").attrs["labels"]
    assert ome_zarr.recognises(path)
    assert list(ome_zarr.read_labels(path)) == ["cells"]


def test_a_label_map_that_is_listed_but_not_there_costs_no_other(tmp_path: Path) -> None:
    path = write(tmp_path / "image.zarr", "0.4")
    zarr.open_group(path / "labels").attrs["labels"] = ["gone", "cells"]
    assert list(ome_zarr.read_labels(path)) == ["cells"]
    zarr.open_group(path / "labels").attrs["labels"] = ["gone"]
    with pytest.raises(ValueError, match=r"expected label maps in its group labels, got 1 that are not there"):
        ome_zarr.read_labels(path)


@pytest.mark.parametrize("size", [(20, 30), (40, 60), (10, 15)])
def test_labels_of_another_scale_are_looked_up(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write(tmp_path / "image.zarr", "0.5")
    drawn = ome_zarr.read_drawn(path, Canvas(None, (3, *size)))
    rows, columns = (((np.arange(side) + 0.5) * 20 / size[0]).astype(int) for side in size)
    (segment,) = drawn.segments
    assert np.array_equal(segment.draw(), (labels() == 1)[:, rows][:, :, columns])
    assert drawn.notes[1:] == (
        [] if size == (20, 30) else ["image.zarr: labels have 3 × 20 × 30 pixels, of which the nearest count"]
    )


def test_labels_of_another_field_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "image.zarr", "0.5")
    with pytest.raises(ValueError, match=r"expected labels of \(3, 30, 30\), got \(3, 20, 30\)"):
        ome_zarr.read_drawn(path, Canvas(None, (3, 30, 30)))


def test_values_without_a_name_beside_named_ones_are_told(tmp_path: Path) -> None:
    drawn = ome_zarr.read_drawn(write(tmp_path / "a.zarr", "0.4"), Canvas(None, (3, 20, 30)))
    assert [segment.name for segment in drawn.segments] == ["nucleus"]
    assert drawn.notes == ["a.zarr: values of cells without a name are read as background: 2, 3, 4"]
