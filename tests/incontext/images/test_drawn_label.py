"""Structures drawn on an image: every tool's polygons on the pixels that they cover, those that overlap kept whole."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Ring

from incontext.images.drawn_label import flatten
from incontext.images.examples import Examples
from incontext.images.source_image import read_label_image, read_source_image
from megamed.readers.stored import DrawnLabel, Geometry, Segment
from tests.tool_files import WRITERS, Drawing, Region, label_files, square, write_images

IMAGES = 50
"""Images of two shapes each, of which one has a hole, and an island in it."""
SIZE = (60, 76)
"""Height and width of the images."""
LEAST_DICE = 0.999
Y, X = np.indices(SIZE)
CENTRES = np.stack([X.ravel(), Y.ravel()], axis=1) + 0.5


def test_of_what_was_drawn_some_may_mark_what_nobody_judged() -> None:
    masks = np.zeros((3, 1, 4, 6), np.uint8)
    masks[0, 0, :, :3], masks[1, 0, :, 2:5], masks[2, 0, 0] = 1, 1, 1
    segments = tuple(
        Segment(number, name, lambda mask=mask: mask)
        for number, name, mask in zip((1, 7, 2), ("lesion", "unsure", "organ"), masks, strict=True)
    )
    drawn = DrawnLabel(Geometry(), segments, {1: "lesion", 7: "unsure", 2: "organ"})
    flat = flatten(drawn, (1, 4, 6), unknown=(7,))
    assert set(np.unique(flat.label)) == {0, 1, 2}
    assert set(flat.masks) == {1, 2}
    assert flat.unknown is not None
    assert np.array_equal(flat.unknown, (masks[1] > 0) & (flat.label == 0))
    assert flatten(drawn, (1, 4, 6)).unknown is None
    crowd = replace(drawn, segments=segments[::2], unknown=Segment(0, "", lambda: masks[1]))
    assert np.array_equal(flatten(crowd, (1, 4, 6)).unknown, flat.unknown)
    assert np.array_equal(flatten(crowd, (1, 4, 6)).label, flat.label)


def star(random: np.random.Generator, centre: tuple[float, float], radius: float) -> np.ndarray:
    """A ring of corners at random distances around a centre."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    reach = radius * random.uniform(0.6, 1.0, angles.size)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None] + np.array(centre)


def random_regions(seed: int) -> tuple[Region, ...]:
    """A region with a hole, an island in the hole, and a piece apart."""
    random = np.random.default_rng(seed)
    x, y = random.uniform(26, 30), random.uniform(26, 34)
    ring, hole, island = (star(random, (x, y), radius) for radius in (25, 13, 5))
    piece = star(random, (float(random.uniform(62, 66)), float(random.uniform(12, 48))), 8)
    return Region("lesion", (ring, hole)), Region("lesion", (island,)), Region("lesion", (piece,))


@cache
def covered(seed: int) -> np.ndarray:
    """The pixels whose centres lie in random regions and not in their holes, as another library finds them."""
    mask = np.zeros(SIZE, bool)
    for region in random_regions(seed):
        outer, *holes = (Ring(ring).contains_points(CENTRES).reshape(SIZE) for ring in region.rings)
        for hole in holes:
            outer &= ~hole
        mask |= outer
    return mask


def dice(mask: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(mask & other) / (np.count_nonzero(mask) + np.count_nonzero(other))


@pytest.mark.parametrize("tool", WRITERS)
def test_polygons_cover_the_pixels_that_were_drawn(tmp_path: Path, tool: str) -> None:
    drawings = {f"case{seed:03}.png": Drawing(SIZE, random_regions(seed)) for seed in range(IMAGES)}
    write_images(tmp_path, drawings)
    WRITERS[tool](tmp_path, drawings)
    for seed, name in enumerate(drawings):
        (path,) = label_files(tmp_path, name)
        label = read_label_image(path, "label", read_source_image(tmp_path / name, "image"))
        assert label.names == {1: "lesion"}
        assert dice(label.planes[0] > 0, covered(seed)) >= LEAST_DICE


@pytest.mark.parametrize("tool", WRITERS)
def test_half_a_pixel_is_known(tmp_path: Path, tool: str) -> None:
    drawings = {"a.png": Drawing((8, 10), (square("lesion", 2.6, 3.6, 3.0),))}
    write_images(tmp_path, drawings)
    WRITERS[tool](tmp_path, drawings)
    (path,) = label_files(tmp_path, "a.png")
    planes = read_label_image(path, "label", read_source_image(tmp_path / "a.png", "image")).planes
    expected = np.zeros((1, 8, 10), np.uint8)
    expected[0, 4:7, 3:6] = 1  # centres from 2.6 to 5.6 and from 3.6 to 6.6
    np.testing.assert_array_equal(planes, expected)


@pytest.mark.parametrize("tool", [name for name in WRITERS if name != "napari"])
def test_classes_that_overlap_stay_whole(tmp_path: Path, tool: str) -> None:
    regions = (square("organ", 1, 1, 6), square("tumour", 4, 4, 3))
    drawings = {"a.png": Drawing((8, 10), regions)}
    write_images(tmp_path, drawings)
    WRITERS[tool](tmp_path, drawings)
    (path,) = label_files(tmp_path, "a.png")
    (example,) = Examples([tmp_path / "a.png"], [path])
    areas = {example.names[value]: int(mask.sum()) for value, mask in example.masks.items()}
    assert areas == {"organ": 36, "tumour": 9}


@pytest.mark.parametrize("tool", [name for name in WRITERS if name != "napari"])
def test_a_class_has_one_value_in_all_files(tmp_path: Path, tool: str) -> None:
    drawings = {
        "a.png": Drawing((8, 10), (square("tumour", 4, 4, 3),)),
        "b.png": Drawing((8, 10), (square("organ", 1, 1, 2), square("tumour", 4, 4, 3))),
    }
    write_images(tmp_path, drawings)
    WRITERS[tool](tmp_path, drawings)
    labels = [label_files(tmp_path, name)[0] for name in drawings]
    examples = Examples([tmp_path / name for name in drawings], labels)
    assert examples.names == {1: "organ", 2: "tumour"}
    areas = [{value: int(mask.sum()) for value, mask in example.masks.items()} for example in examples]
    assert areas == [{2: 9}, {1: 4, 2: 9}]


def drawn(*names: str, is_complete: bool = False) -> DrawnLabel:
    """Draw structures of two columns, each one column further to the right."""

    def mask(first: int) -> np.ndarray:
        array = np.zeros((1, 2, 4), np.uint8)
        array[..., first : first + 2] = 1
        return array

    segments = tuple(Segment(1 + i, name, lambda i=i: mask(i)) for i, name in enumerate(names))
    return DrawnLabel(Geometry(), segments, dict(enumerate(names, start=1)), is_complete=is_complete)


def test_of_structures_that_overlap_the_later_lies_on_top() -> None:
    flat = flatten(drawn("a", "b"), (1, 2, 4))
    np.testing.assert_array_equal(flat.label[0, 0], [1, 2, 2, 0])
    assert {value: int(mask.sum()) for value, mask in flat.masks.items()} == {1: 4, 2: 4}


def test_structures_that_lie_apart_need_one_label_map() -> None:
    label = drawn("a", "b", "c")
    apart = DrawnLabel(Geometry(), (label.segments[0], label.segments[2]), label.names)
    flat = flatten(apart, (1, 2, 4))
    np.testing.assert_array_equal(flat.label[0, 0], [1, 1, 3, 3])
    assert flat.masks == {}


def test_one_structure_in_two_segments_is_united() -> None:
    flat = flatten(drawn("a", "a"), (1, 2, 4), {"a": 7})
    np.testing.assert_array_equal(flat.label[0, 0], [7, 7, 7, 0])
    assert flat.masks == {}


def test_nothing_drawn_is_refused_unless_it_was_looked_for() -> None:
    with pytest.raises(ValueError, match="it is empty: expected segments"):
        flatten(drawn(), (1, 2, 4))
    assert not flatten(drawn(is_complete=True), (1, 2, 4)).label.any()


def test_named_channels_are_masks_that_may_overlap(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    organ, tumour = np.zeros((2, *SIZE), np.uint8)
    organ[4:20, 4:20], tumour[10:14, 10:14] = 255, 255
    named = {"axes": "CYX", "Channel": {"Name": ["organ", "tumour"]}}
    path = tmp_path / "label.ome.tif"
    tifffile.imwrite(path, np.stack([organ, tumour]), ome=True, photometric="minisblack", metadata=named)
    (example,) = Examples([np.zeros(SIZE, np.uint8)], [path])
    assert {example.names[value]: int(mask.sum()) for value, mask in example.masks.items()} == {
        "organ": 256,
        "tumour": 16,
    }
    with pytest.raises(ValueError, match=r"label.ome.tif does not match its image: expected masks of \(4, 4\), got"):
        Examples([np.zeros((4, 4), np.uint8)], [path])[0]
