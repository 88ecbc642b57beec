"""A map of labels that overlap loses none of them, and one of labels that do not stays a plain map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from megamed.label_maps import code_for

NAMES = ["a", "b", "c"]


@given(arrays.arrays(bool, (2, 3, 4, 5), elements=st.booleans()))
@settings(deadline=None)
def test_every_mask_comes_back_from_regions(images: np.ndarray) -> None:
    coding = code_for(images, NAMES)
    if coding.has_regions:
        for masks in images:
            label_map = coding.encode(masks)
            for label, mask in enumerate(masks):
                assert np.array_equal(np.isin(label_map, coding.values_of(label)), mask)


def test_shared_edges_go_to_the_smaller_label() -> None:
    masks = np.zeros((3, 20, 20), bool)
    masks[0, 2:12, 2:12], masks[1] = True, True
    masks[1, 2:11, 2:12] = False  # they share one of ten rows
    coding = code_for([masks], NAMES)
    assert not coding.has_regions
    assert coding.shared_px == 10
    label_map = coding.encode(masks)
    assert np.array_equal(label_map == 1, masks[0])
    assert np.array_equal(label_map == 2, masks[1] & ~masks[0])
    assert [coding.values_of(label) for label in range(3)] == [[1], [2], [3]]


def test_more_combinations_than_a_map_can_hold_are_refused() -> None:
    names = [f"organ {number}" for number in range(9)]
    masks = (np.arange(512)[None] >> np.arange(9)[:, None] & 1).astype(bool).reshape(9, 16, 32)
    with pytest.raises(ValueError, match=r"at most 255 combinations, got 511; those that overlap others: organ 0, "):
        code_for([masks], names)
