"""Folders of pictures are labels of the slices of the series beside them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext.images.examples import Examples
from incontext.images.source_image import read_label_image, read_source_image
from megamed.annotation_tools.model import SegmentedImage
from megamed.annotation_tools.writers import write_files
from megamed.pairing import find_pairs
from megamed.vocabulary import WrittenTool
from tests.dicom_files import series_affine, write_series

SHAPE = (4, 5, 6)
LABEL = np.arange(120, dtype=np.uint8).reshape(SHAPE) // 40


def write(folder: Path, series: str, *, downwards: bool = False) -> list[Path]:
    """Write a series whose files are named in the order of their places, or against it."""
    affine = series_affine(np.eye(3), (2, 1, 1), (0, 0, 0))
    files = write_series(folder / series, np.ones(SHAPE, np.int16), affine)
    names = [f"i{SHAPE[0] - 1 - place if downwards else place:03d}.dcm" for place in range(SHAPE[0])]
    return [file.rename(file.with_name(f"x{name}")) for file, name in zip(files, names, strict=True)]


def draw(folder: Path, label: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, plane in enumerate(label):
        Image.fromarray(plane).save(folder / f"drawn_{number}.png")


@pytest.mark.parametrize("downwards", [False, True])
def test_pictures_are_of_the_slices_in_the_order_of_their_names(tmp_path: Path, downwards: bool) -> None:
    for patient in ("1", "2"):
        write(tmp_path / patient, "scan", downwards=downwards)
        draw(tmp_path / patient / "Ground", LABEL[::-1] if downwards else LABEL)
    found = find_pairs(tmp_path)
    assert [pair.labels for pair in found.pairs] == [{"": (tmp_path / name / "Ground",)} for name in "12"]
    assert found.notes == (
        "the pictures in 1/Ground are labels of the slices of 1/scan, in the order of their names. "
        "So it is with 1 others.",
    )
    image = read_source_image(found.pairs[0].image, "image")
    label = read_label_image(tmp_path / "1" / "Ground", "label", image)
    assert np.array_equal(image.view.array(label.planes), LABEL)


def test_of_several_series_pictures_are_of_the_one_that_is_called_as_they_are(tmp_path: Path) -> None:
    for number, phase in enumerate(("in", "out")):
        for file in write(tmp_path, f"scan/{phase}"):
            file.rename(file.with_name(f"drawn_{int(file.stem[2:]) + 10 * number}.dcm"))
    draw(tmp_path / "Ground", LABEL)
    assert {pair.name: bool(pair.labels) for pair in find_pairs(tmp_path).pairs} == {"in": True, "out": False}


@pytest.mark.parametrize("count", [3, 4])
def test_pictures_of_other_numbers_or_orders_are_refused(tmp_path: Path, count: int) -> None:
    files = write(tmp_path, "scan")
    if count == len(files):
        files[0].rename(files[0].with_name("xi999.dcm"))
    draw(tmp_path / "Ground", LABEL[:count])
    image = read_source_image(tmp_path / "scan", "image")
    with pytest.raises(ValueError, match=f"a picture for each of 4 slices, .*got {count} pictures"):
        read_label_image(tmp_path / "Ground", "label", image)


@pytest.mark.parametrize("tool", ["coco", "labelme"])
def test_what_was_drawn_on_pictures_of_slices_is_a_label_of_the_series_beside_it(
    tmp_path: Path, tool: WrittenTool
) -> None:
    """The slices of all patients are called alike; the file beside a series, or those in its folder, are its own."""
    for number, patient in enumerate(("1", "2")):
        files = write(tmp_path / patient, "scan")
        planes = np.roll(LABEL > 0, number, axis=2)
        drawn = [
            SegmentedImage(file.with_suffix(".png").name, SHAPE[1:], {"organ": plane} if plane.any() else {})
            for file, plane in zip(files, planes, strict=True)
        ]
        for path in write_files(tmp_path / patient, tool, drawn):
            path.rename((files[0].parent if tool == "labelme" else tmp_path / patient) / path.name)
    found = find_pairs(tmp_path)
    assert [(pair.name, len(pair.files) - 1) for pair in found.pairs] == [
        (patient, 1 if tool == "coco" else SHAPE[0]) for patient in ("1", "2")
    ]
    labels = [paths if len(paths) > 1 else paths[0] for paths in (pair.labels[""] for pair in found.pairs)]
    for number, example in enumerate(Examples([pair.image for pair in found.pairs], labels)):
        planes = np.roll(LABEL > 0, number, axis=2)
        assert np.array_equal(example.case.view.array(example.masks[1]), planes)
