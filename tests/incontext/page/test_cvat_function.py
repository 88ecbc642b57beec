"""Automatic annotation in CVAT: masks and polygons as its own library takes them, under the names of the classes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from incontext.page.cvat_function import CvatFunction, create
from megamed.rasterise import fill_window
from tests.incontext.page.test_store import segmenter
from tests.killed_runs import drawn

annotation = pytest.importorskip("cvat_sdk.auto_annotation")


@pytest.fixture(scope="module")
def function() -> CvatFunction:
    image, label = drawn(0)
    return CvatFunction(segmenter().fit([image[0]], [label[0] * 7], {7: "nodule"}))


def test_labels_are_the_classes(function: CvatFunction) -> None:
    assert isinstance(function.spec, annotation.DetectionFunctionSpec)
    assert [(label.name, label.id) for label in function.spec.labels] == [("nodule", 7)]


def test_masks_and_polygons_are_those_of_the_segmenter(function: CvatFunction) -> None:
    from cvat_sdk.masks import decode_mask

    picture = drawn(3)[0][0]
    expected = function._segmenter.predict(picture).masks[0] == 7
    (found,) = function.detect(SimpleNamespace(conv_mask_to_poly=False), Image.fromarray(picture))
    height, width = expected.shape
    assert found.label_id == 7
    assert np.array_equal(decode_mask(found.points, image_width=width, image_height=height), expected)
    polygons = function.detect(SimpleNamespace(conv_mask_to_poly=True), Image.fromarray(picture))
    filled = np.zeros_like(expected)
    for each in polygons:
        window, inside = fill_window([np.reshape(each.points, (-1, 2))[:, ::-1] - 0.5], expected.shape)
        filled[window] ^= inside
    assert np.array_equal(filled, expected)


def test_examples_are_named_once(tmp_path: Path) -> None:
    for given in ({}, {"task": "a.task", "support": str(tmp_path)}):
        with pytest.raises(ValueError, match="examples are unclear"):
            create(**given)
