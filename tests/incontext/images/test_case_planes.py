"""Planes of a case by themselves, and values on them on the grid of their source."""

from dataclasses import replace

import numpy as np
import pytest

from incontext.images.case_planes import emptied, on_grid, plane_of
from incontext.images.orientation import PlaneLayout
from incontext.images.source_image import read_source_image


def test_an_emptied_case_lays_masks_on_its_grid_and_takes_no_memory() -> None:
    stack = np.random.default_rng(0).random((6, 5, 7)).astype(np.float32)
    case = read_source_image(stack, "stack", axis=2)
    hollow = emptied(case)
    assert hollow.planes.shape == case.planes.shape == (7, 6, 5)
    assert hollow.planes.strides == (0, 0, 0)
    np.testing.assert_array_equal(on_grid(case.planes, hollow), stack)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_is_an_image_on_its_own_grid(axis: int) -> None:
    stack = np.arange(5 * 6 * 7).reshape(5, 6, 7)
    case = read_source_image(stack, "stack", axis)
    for view in (case.view, PlaneLayout((axis, *sorted({0, 1, 2} - {axis}, reverse=True)), (1, -1, 1))):
        turned = replace(case, planes=view.planes(stack).astype(np.float32), view=view)
        plane = plane_of(turned, 3)
        assert plane.shape == stack.take(3, axis).shape
        np.testing.assert_array_equal(on_grid(plane.planes, plane), stack.take(3, axis))
