"""Overlapping, partial and multiple annotations of one image."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from megamed.annotation import Annotation, majority, masks_of, overlay


def mask(text: str) -> np.ndarray:
    return np.array([pixel == "#" for pixel in text])


def drawn(text: str) -> Annotation:
    """One annotator's label of value 1."""
    return Annotation((mask(text).astype(np.uint8),), frozenset({1}))


def test_disjoint_labels_share_a_map_and_overlapping_ones_do_not() -> None:
    layers: list[np.ndarray] = []
    for value, text in {1: "###...", 2: "...##.", 3: ".##...", 4: ".....#"}.items():
        layers = overlay(layers, mask(text), value)
    assert [layer.tolist() for layer in layers] == [[1, 1, 1, 2, 2, 4], [0, 3, 3, 0, 0, 0]]
    annotation = Annotation(tuple(layers), frozenset(range(1, 5)))
    assert np.array_equal(annotation.union([1]), mask("###..."))
    assert np.array_equal(annotation.union([3]), mask(".##..."))
    assert np.array_equal(annotation.union([3, 4]), mask(".##..#"))


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=8))
def test_overlay_loses_nothing(rows: list[list[bool]]) -> None:
    layers: list[np.ndarray] = []
    for value, row in enumerate(rows, 1):
        layers = overlay(layers, np.array(row), value)
    annotation = Annotation(tuple(layers), frozenset(range(1, 9)))
    for value, row in enumerate(rows, 1):
        assert np.array_equal(annotation.union([value]), row)


def test_unknown_label_is_no_background() -> None:
    annotation = Annotation((np.array([0, 1], np.uint8),), frozenset({1}))
    assert annotation.union([1, 2]) is None
    assert masks_of({"": annotation}, {"a": (1,), "b": (2,), "ab": (1, 2)}).keys() == {"a"}


def test_majority_is_more_than_half() -> None:
    assert np.array_equal(
        majority([mask("##..").view(np.uint8), mask("#.#.").view(np.uint8)]), mask("#...").view(np.uint8)
    )
    assert np.array_equal(
        majority([mask("##..").view(np.uint8), mask("#.#.").view(np.uint8), mask(".##.").view(np.uint8)]),
        mask("###.").view(np.uint8),
    )


def test_majority_is_of_those_who_annotated_the_label() -> None:
    nobody = Annotation((np.zeros(3, np.uint8),), frozenset())
    masks = masks_of({"ann": drawn("##."), "bob": drawn(".##"), "eve": nobody}, {"a": (1,)})
    assert masks.keys() == {"a", "a-by-ann", "a-by-bob"}
    assert np.array_equal(masks["a"], mask(".#."))
    assert np.array_equal(masks["a-by-bob"], mask(".##"))


def test_a_consensus_has_no_vote_and_is_what_others_agreed_on() -> None:
    drawings = {"ann": drawn("##.."), "bob": drawn("##.."), "gold": drawn("..##")}
    masks = masks_of(drawings, {"a": (1,)}, "gold")
    assert masks.keys() == {"a", "a-by-ann", "a-by-bob"}
    assert np.array_equal(masks["a"], mask("..##"))
    del drawings["gold"]
    assert np.array_equal(masks_of(drawings, {"a": (1,)}, "gold")["a"], mask("##..")), "nobody drew it here"


def test_the_one_annotator_needs_no_name() -> None:
    assert masks_of({"": drawn("#..")}, {"a": (1,)}).keys() == {"a"}
