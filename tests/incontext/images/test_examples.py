"""Labelled examples in every form that people hold them in."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from incontext.images import examples as examples_module
from incontext.images.examples import Examples, LabelMap, as_list, spread, thinned
from megamed.label_values import LabelRules
from tests.opened import opened_in

IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8)
LABEL = (IMAGE % 3).astype(np.uint8)


def test_one_picture_is_a_list_of_one(tmp_path: Path) -> None:
    for one in (IMAGE, "image.png", tmp_path, Image.fromarray(IMAGE)):
        assert as_list(one) == [one] or as_list(one)[0] is one
    assert as_list((1, 2)) == [1, 2]


def test_a_single_example_is_read_once(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    examples = Examples([tmp_path / "image.png"], [LABEL])
    with opened_in(tmp_path) as opened:
        assert examples.sample(4)[0].case is next(iter(examples)).case
    assert opened == {"image.png": 1}


def test_examples_hold_none_of_the_user_s_own_arrays() -> None:
    image, label = IMAGE.astype(np.float32), LABEL.copy()
    (example,) = Examples(image, label)
    assert not np.shares_memory(example.case.planes, image)
    assert not np.shares_memory(example.masks.label, label)


def test_examples_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    examples = Examples([tmp_path / "image.png", tmp_path / "missing.png"], [LABEL, LABEL])
    assert sorted(examples[0].masks) == [1, 2]
    assert examples[0].annotated is None
    with pytest.raises(OSError, match=r"missing\.png is unreadable"):
        examples[1]


@pytest.mark.parametrize(("pixels", "count"), [(64, 1), (200, 3), (10**6, 5)])
def test_few_large_examples_stand_for_all(monkeypatch: pytest.MonkeyPatch, pixels: int, count: int) -> None:
    """The first of 64 photographs of 4000 × 4000 pixels would fill the memory beside the others."""
    monkeypatch.setattr(examples_module, "SAMPLED_PIXELS", pixels)
    sample = Examples([IMAGE + index for index in range(10)], [LABEL] * 10).sample(5)
    assert [int(example.case.planes.min()) for example in sample] == spread(10, count)


def test_a_file_that_does_not_fit_is_named_by_its_path(tmp_path: Path) -> None:
    for name, array in {"image.png": IMAGE, "small.png": LABEL[::2, ::2], "side.png": LABEL[:4]}.items():
        Image.fromarray(array).save(tmp_path / name)
    expected = r"small\.png does not match its image: .*Resize it to 8 × 8 pixels by nearest neighbour"
    for labels in ([tmp_path / "small.png"], {"liver": [str(tmp_path / "small.png")]}):
        with pytest.raises(ValueError, match=expected):
            Examples([tmp_path / "image.png"], labels)[0]
    with pytest.raises(ValueError, match=r"side\.png does not match .*may belong to another image"):
        Examples([IMAGE], [(LABEL, tmp_path / "side.png")])[0]


def test_the_parts_of_a_label_are_united() -> None:
    parts = (LABEL * (LABEL == 1), LABEL * (LABEL == 2))
    (mapped,) = Examples([IMAGE], [parts])
    (named,) = Examples([IMAGE], {"both": [parts]})
    np.testing.assert_array_equal(mapped.masks[2][0], LABEL == 2)
    np.testing.assert_array_equal(named.masks[1][0], LABEL > 0)


def test_masks_of_a_label_map_are_those_of_its_values() -> None:
    masks = LabelMap(LABEL)
    assert list(masks) == [1, 2]
    assert masks.get(3) is None
    np.testing.assert_array_equal(masks[2], LABEL == 2)
    assert not LabelMap(0 * LABEL)


def test_planes_show_their_own_classes() -> None:
    label = np.stack([LABEL * (LABEL == 1), LABEL * (LABEL == 2), 0 * LABEL, LABEL, LABEL])
    images = np.stack([IMAGE] * 5)
    (mapped,) = Examples(images, label)
    (named,) = Examples(images, {"one": label == 1, "two": label == 2})
    for example in (mapped, named):
        assert example.shown == [0, 1, 3, 4]
        assert [list(example.on_plane(plane)) for plane in range(4)] == [[1], [2], [], [1, 2]]
        np.testing.assert_array_equal(example.on_plane(3)[2], LABEL == 2)


def test_a_class_by_name_that_is_not_shown_was_looked_for() -> None:
    (example,) = Examples(IMAGE, {"some": LABEL == 1, "none": 0 * LABEL})
    assert list(example.masks) == [1]
    assert example.annotated == {1, 2}


@pytest.mark.parametrize(
    ("images", "labels", "error"),
    [
        ([], [], "support_images are empty"),
        ([IMAGE], [LABEL, LABEL], "support_labels do not match support_images: expected 1, got 2"),
        ([IMAGE], {}, "support_labels name too few or too many classes: expected 1 to 255, got 0"),
        ([IMAGE, IMAGE], {"a": [LABEL]}, r"support_labels\['a'\] do not match support_images: expected 2, got 1"),
    ],
)
def test_examples_that_do_not_fit_are_refused(images: list, labels: object, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Examples(images, labels)


def test_a_mask_by_name_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"support_labels\['liver'\]\[1\] does not match its image"):
        Examples([IMAGE, IMAGE], {"liver": [LABEL, LABEL[:4]]})[1]


def test_spread_is_even_and_never_repeats() -> None:
    assert spread(3, 5) == [0, 1, 2]
    assert spread(10, 5) == [0, 2, 4, 6, 8]
    assert spread(10, 0) == []
    assert len(set(spread(17, 16))) == 16


def test_a_stack_without_a_label_is_thinned_to_what_it_has() -> None:
    (example,) = Examples(np.zeros((5, 6, 7)), np.zeros((5, 6, 7)))
    assert len(example.thinned().case.planes) == 5


def test_a_long_stack_is_thinned_to_labelled_planes() -> None:
    stack = np.random.default_rng(0).random((40, 5, 7)).astype(np.float32)
    label = np.zeros(stack.shape, dtype=np.uint8)
    label[10:30, 2, 2] = 1
    (example,) = Examples(stack, label)
    some = example.thinned()
    assert len(some.case.planes) == 8
    assert some.masks[1].any(axis=(1, 2)).all()
    assert len(thinned(example.case).planes) == 8


def numbered(count: int) -> np.ndarray:
    """Discs in a grid, each with a number of its own."""
    y, x = np.mgrid[:120, :120]
    label = np.zeros((120, 120), np.uint16)
    for place in range(count):
        down, across = divmod(place, 6)
        label[(y - 10 - 20 * down) ** 2 + (x - 10 - 20 * across) ** 2 < 49] = place + 1
    return label


def test_most_labels_tell_whether_they_number_objects() -> None:
    labels = [numbered(30), numbered(24), numbered(3)]
    for example, label in zip(Examples(labels, labels), labels, strict=True):
        assert list(example.masks) == [1]
        assert np.array_equal(example.masks[1][0], label > 0)
        assert "read as one class" in example.notes[0]
    classes = [numbered(30), numbered(3), numbered(4)]
    assert [len(example.masks) for example in Examples(classes, classes)] == [30, 3, 4]


def test_a_value_apart_and_soft_edges_are_told() -> None:
    void = numbered(2).astype(np.uint8)
    void[100:] = 255
    soft = np.rint(ndimage.gaussian_filter((numbered(1) > 0) * 255.0, 1))
    (example,) = Examples(void, void)
    assert "has the value 255 apart" in example.notes[0]
    (example,) = Examples(soft, soft.astype(np.uint8))
    assert list(example.masks) == [255]
    assert "soft edges" in example.notes[0]


def in_colour(mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return mask[..., None] * np.array(colour, np.uint8)


def test_labels_of_one_colour_each_are_one_class_only_if_it_is_the_same() -> None:
    mask = np.eye(8, dtype=np.uint8)
    images, red = [mask * 9, mask * 8], in_colour(mask, (255, 0, 0))
    assert [list(example.masks) for example in Examples(images, [red, red])] == [[255], [255]]
    blue, rules = in_colour(mask, (0, 0, 255)), LabelRules(colours={"#ff0000": 1, "#0000ff": 2})
    with pytest.raises(ValueError, match=r"got #ff0000 in support_labels\[0\], #0000ff in .* --colours '#0000ff=1,#ff"):
        list(Examples(images, [red, blue]))
    assert [list(example.masks) for example in Examples(images, [red, blue], rules)] == [[1], [2]]


def test_unknown_pixels_stay_with_their_planes() -> None:
    stack, label = np.zeros((30, 8, 8), np.uint8), np.zeros((30, 8, 8), np.uint8)
    label[:, 2:4], label[:, 5] = 1, 255
    label[::2, 6] = 255
    (example,) = Examples([stack], [label], LabelRules.of(255))
    few = example.thinned()
    assert few.unknown is not None
    assert few.unknown.shape == few.case.planes.shape
    assert few.unknown[0, 6].all()


def test_files_that_are_called_as_their_images_are_of_one_class(tmp_path: Path) -> None:
    corners = "".join(
        f"0,polygon,{vertex},{row},{column}\n" for vertex, (row, column) in enumerate([(1, 1), (1, 8), (6, 8)])
    )
    for name in "ab":
        Image.fromarray(np.zeros((12, 16), np.uint8)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.csv").write_text(f"index,shape-type,vertex-index,axis-0,axis-1\n{corners}")
    examples = Examples(sorted(tmp_path.glob("*.png")), sorted(tmp_path.glob("*.csv")))
    assert [[*example.masks] for example in examples] == [[1], [1]]
    assert examples.names == {1: "label"}


def test_images_that_show_few_of_many_classes_share_what_nobody_judged(tmp_path: Path) -> None:
    labels = []
    for value in (15, 3):
        drawn = np.zeros((20, 30), np.uint8)
        drawn[3:8, 4:20], drawn[3:8, 20] = value, 255
        Image.fromarray(drawn).save(tmp_path / f"{value}.png")
        labels.append(tmp_path / f"{value}.png")
    examples = list(Examples([np.arange(600.0).reshape(20, 30)] * 2, labels))
    assert [[*example.masks] for example in examples] == [[15], [3]]
    assert all("has the value 255 apart" in example.notes[0] for example in examples)
    assert all(example.unknown is not None and example.unknown.sum() == 5 for example in examples)


def test_more_classes_than_a_map_holds_are_refused_before_any_is_drawn(tmp_path: Path) -> None:
    square = {"segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]], "iscrowd": 0, "image_id": 1}
    shapes = [square | {"id": number, "category_id": number} for number in range(1, 301)]
    classes = [{"id": number, "name": f"class {number}"} for number in range(1, 301)]
    images = [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}]
    text = json.dumps({"images": images, "annotations": shapes, "categories": classes})
    (tmp_path / "coco.json").write_text(text)
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"too many classes: expected at most 255, got 300 in coco\.json"):
        Examples([tmp_path / "a.png"], [tmp_path / "coco.json"])[0]
