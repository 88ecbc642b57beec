"""Arrays of npy and npz files: values are kept, lies are refused before memory is taken."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from megamed.pixels import read_image, read_label
from megamed.readers import arrays
from megamed.readers.arrays import array_shapes, read_array
from megamed.readers.source import Source

LABEL = np.array([[0, 1], [2, 3]], np.uint8)


def test_one_item_of_an_array_is_read(tmp_path: Path) -> None:
    images = np.arange(12, dtype=np.int16).reshape(3, 2, 2)
    np.savez(tmp_path / "a.npz", images=images, labels=LABEL)
    assert array_shapes(tmp_path / "a.npz") == {"images": (3, 2, 2), "labels": (2, 2)}
    assert np.array_equal(read_array(tmp_path / "a.npz", "images:1"), images[1])
    assert np.array_equal(read_array(tmp_path / "a.npz", "labels"), LABEL)


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array in (LABEL, LABEL + 1):
        np.save(path, array)
        assert np.array_equal(read_array(path), array)


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1), (2, 2, 3)])
def test_pictures_are_grey_or_coloured(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "a.npz", np.zeros(shape, np.uint8))
    assert read_image(Source((tmp_path / "a.npz",))).shape == (2, 2)


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2), (2, 2, 2, 2)])
def test_other_shapes_are_no_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(ValueError, match="is no picture"):
        read_label(Source((tmp_path / "a.npy",)))


def test_several_arrays_need_a_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=LABEL, y=LABEL)
    with pytest.raises(ValueError, match=r"expected one array, got \['x', 'y'\]"):
        read_label(Source((tmp_path / "a.npz",)))


@pytest.mark.parametrize("part", ["z", "x:2", "x:one", "x:"])
def test_what_is_not_there_is_refused(tmp_path: Path, part: str) -> None:
    np.savez(tmp_path / "a.npz", x=LABEL)
    if part == "x:":
        assert np.array_equal(read_array(tmp_path / "a.npz", part), LABEL)
        return
    with pytest.raises(ValueError, match="cannot be read"):
        read_array(tmp_path / "a.npz", part)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_objects_are_never_unpickled(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    (np.save if suffix == "npy" else np.savez)(path, np.array([print], dtype=object))
    with pytest.raises(ValueError, match="expected integers, floats or booleans, got object"):
        read_array(path, "arr_0")


def test_declared_size_is_checked_first(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**20, 2**20)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(ValueError, match=f"expected at most {arrays.MAX_BYTES} bytes"):
        read_array(tmp_path / "a.npz", "x")
