"""Shapes on an image: which size counts, what overlaps, what is one object."""

import numpy as np
import pytest

from megamed.annotation_tools.model import (
    AnnotatedImage,
    LabelClass,
    LabelLayers,
    Outline,
    Patch,
    SegmentedImage,
    distinct_names,
)
from megamed.annotation_tools.run_lengths import RunMask
from megamed.annotation_tools.shapes import box, ellipse


def outline(name: str, x: float, y: float, width: float, height: float, instance: str = "") -> Outline:
    return Outline(name, (box(float(x), float(y), float(width), float(height)),), instance)


def test_classes_that_overlap_stay_whole() -> None:
    image = AnnotatedImage("a.png", (6, 8), (outline("organ", 1, 1, 5, 4), outline("tumour", 2, 2, 2, 2)))
    labels = image.labels()
    assert labels["organ"].sum() == 20
    assert labels["tumour"].sum() == 4
    assert labels["tumour"][2:4, 2:4].all()


def test_shapes_of_an_instance_are_one_object() -> None:
    shapes = (outline("cell", 0, 0, 2, 2, "a"), outline("cell", 4, 0, 2, 2, "a"), outline("cell", 4, 4, 1, 1))
    objects = AnnotatedImage("a.png", (6, 8), shapes).instances()["cell"]
    assert [int(each.sum()) for each in objects] == [8, 1]


def test_a_pixel_belongs_to_a_shape_that_covers_its_centre() -> None:
    labels = AnnotatedImage("a.png", (4, 4), (outline("x", 0.6, 0.4, 2, 2),)).labels()
    assert np.argwhere(labels["x"]).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]


def test_relative_coordinates_grow_with_the_image() -> None:
    image = AnnotatedImage("a", None, (Outline("x", (box(0.25, 0.5, 0.5, 0.5),), relative=True),))
    assert np.argwhere(image.labels((4, 8))["x"])[[0, -1]].tolist() == [[2, 2], [3, 5]]


def test_a_patch_beyond_the_border_is_cut_off() -> None:
    patch = Patch("x", RunMask.of_mask(np.ones((3, 3), bool)), top=-1, left=2)
    assert np.argwhere(AnnotatedImage("a", (3, 4), (patch,)).labels()["x"]).tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    far = Patch("x", RunMask.of_mask(np.ones((3, 3), bool)), top=9, left=-9)
    assert not AnnotatedImage("a", (3, 4), (far,)).labels()["x"].any()


def test_the_size_of_the_stored_pixels_under_shapes_on_the_displayed_ones() -> None:
    tall = AnnotatedImage("photo.jpg", (48, 64), (outline("x", 2, 50, 40, 14),))
    assert tall.labels((64, 48))["x"].sum() == 40 * 14
    wide = AnnotatedImage("photo.jpg", (48, 64), (outline("x", 50, 2, 14, 40),))
    with pytest.raises(ValueError, match=r"expected \(64, 48\), got \(48, 64\). An orientation tag turns the image"):
        wide.labels((64, 48))


def test_an_unknown_or_other_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"size of a is unknown"):
        AnnotatedImage("a").labels()
    with pytest.raises(
        ValueError, match=r"annotation of a does not match its image: expected \(5, 5\), got \(4, 4\).$"
    ):
        AnnotatedImage("a", (4, 4)).labels((5, 5))
    with pytest.raises(ValueError, match=r"expected a mask of 1 to"):
        AnnotatedImage("a", (2**20, 2**20)).labels()


def test_masks_to_be_written_have_the_size_of_their_image() -> None:
    with pytest.raises(ValueError, match=r"mask of 'x' does not match a.png: expected \(4, 4\), got \(4, 5\)"):
        SegmentedImage("a.png", (4, 4), {"x": np.zeros((4, 5), bool)})


def test_layers_are_taken_apart_by_value_and_layer() -> None:
    layers = (np.array([[1, 2, 0]]), np.array([[0, 1, 1]]))
    classes = ((0, LabelClass("a", 1)), (0, LabelClass("b", 2)), (1, LabelClass("a", 1)))
    labels = LabelLayers(layers, "yx", classes).labels()
    assert labels["a"].tolist() == [[True, True, True]]
    assert labels["b"].tolist() == [[False, True, False]]


def test_an_ellipse_has_the_area_of_its_formula() -> None:
    labels = AnnotatedImage("a", (200, 200), (Outline("x", (ellipse((100.0, 90.0), (70.0, 30.0), 30.0),)),)).labels()
    assert labels["x"].sum() == pytest.approx(np.pi * 70 * 30, rel=2e-3)
    y, x = np.nonzero(labels["x"])
    # turned clockwise on the screen, its right end lies lower
    assert y[x.argmax()] > 90 + 15


def test_shapes_of_the_whole_resolution_lie_on_a_level_as_its_pixels_do() -> None:
    full = np.zeros((24, 40), bool)
    full[3:15, 5:29] = full[18:22, 30:38] = True
    patch = Patch("patch", RunMask.of_mask(full[2:23, 4:39]), top=2, left=4)
    square = outline("outline", 4, 8, 16, 8)
    drawn = AnnotatedImage("a", (24, 40), (square, patch), unknown=(square,)).on_level((12, 10), (24, 40))
    masks = drawn.labels((12, 10))
    assert np.array_equal(masks["patch"], full[1::2, 2::4])  # the pixels that hold the centres
    expected = np.zeros((12, 10), bool)
    expected[4:8, 1:5] = True
    assert np.array_equal(masks["outline"], expected)
    assert np.array_equal(drawn.unknown[0].reach, [5, 8])
    relative = Outline("a", (np.array([[0, 0], [0.5, 0], [0.5, 1]]),), relative=True)
    assert relative.scaled(np.array([0.5, 0.5])) is relative


def test_names_of_several_lines_are_written_in_one_and_stay_apart() -> None:
    names = {1: "two\nlines", 2: "two lines", 3: "b  c", 4: "b"}
    assert distinct_names(names) == {1: "two lines 1", 2: "two lines 2", 3: "b  c", 4: "b"}
