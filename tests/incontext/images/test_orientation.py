"""Views and affines: what is turned comes back, and every voxel stays where it is in the patient."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incontext.images.orientation import CUTS, PlaneLayout, parallel, radiological, spacings_mm, viewed
from megamed.readers.volume import displacement_mm
from megamed.standardise import AXES, display_plane

VIEWS = [
    PlaneLayout(axes, steps)
    for axes in itertools.permutations(range(3))
    for steps in itertools.product((1, -1), repeat=3)
]
SHAPE = (2, 3, 4)
OBLIQUE = np.array([[0, 1.6, -1.8, 5], [0, 1.2, 2.4, -7], [4.0, 0, 0, 9], [0, 0, 0, 1]])
"""Steps of 4, 2 and 3 mm; the first axis runs to the head."""

views = st.sampled_from(VIEWS)


def place_of(array: np.ndarray, affine: np.ndarray, value: int) -> np.ndarray:
    return (affine @ [*np.argwhere(array == value)[0], 1])[:3]


@settings(deadline=None)
@given(views)
def test_array_undoes_planes(view: PlaneLayout) -> None:
    array = np.arange(24).reshape(SHAPE)
    assert np.array_equal(view.array(view.planes(array)), array)
    assert np.array_equal(view.planes(view.array(array)), array)


def test_planes_by_hand() -> None:
    array = np.arange(6).reshape(1, 2, 3)
    assert PlaneLayout((2, 1, 0), (1, -1, 1)).planes(array).tolist() == [[[3], [0]], [[4], [1]], [[5], [2]]]


@settings(deadline=None)
@given(views, st.integers(0, 23))
def test_viewed_affine_keeps_places(view: PlaneLayout, value: int) -> None:
    array = np.arange(24).reshape(SHAPE)
    turned = viewed(OBLIQUE, SHAPE, view)
    assert place_of(view.planes(array), turned, value) == pytest.approx(place_of(array, OBLIQUE, value))


@settings(deadline=None)
@given(views)
def test_directions_tell_the_view(view: PlaneLayout) -> None:
    assert parallel(OBLIQUE, viewed(OBLIQUE, SHAPE, view)[:3, :3]) == view


def test_other_directions_are_refused() -> None:
    with pytest.raises(ValueError, match="expected axes along"):
        parallel(OBLIQUE, np.eye(3))


@pytest.mark.parametrize("axis", range(3), ids=AXES)
@pytest.mark.parametrize("stored", VIEWS, ids=str)
def test_radiological_planes_are_those_of_a_collection(stored: PlaneLayout, axis: int) -> None:
    ras = np.arange(24).reshape(SHAPE)
    array = stored.planes(ras)
    own_axis = stored.axes.index(axis)
    planes = radiological(stored, own_axis).planes(array)
    for index, plane in enumerate(planes):
        same = index if stored.steps[own_axis] > 0 else SHAPE[axis] - 1 - index
        assert np.array_equal(plane, display_plane(ras, axis, same))


def test_cuts_are_called_as_in_a_collection() -> None:
    assert CUTS == AXES


def test_spacings_and_displacement() -> None:
    assert spacings_mm(OBLIQUE) == pytest.approx((4, 2, 3))
    moved = OBLIQUE.copy()
    moved[:3, 3] += (3, 0, 4)
    assert displacement_mm(moved, OBLIQUE, SHAPE) == pytest.approx(5)
    longer = OBLIQUE.copy()
    longer[2, 0] = 5  # one millimetre more per step, of which there is one
    assert displacement_mm(longer, OBLIQUE, SHAPE) == pytest.approx(1)
