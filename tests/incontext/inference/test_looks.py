"""Looks of images: a vector that is most like itself, and more like images of its kind than like others."""

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.images.source_image import SourceImage, read_source_image
from incontext.inference.looks import look

RNG = np.random.default_rng(0)


def noise() -> SourceImage:
    return read_source_image(RNG.integers(0, 255, (64, 64)).astype(np.uint8), "noise")


def blob() -> SourceImage:
    rows, columns = np.ogrid[:64, :64]
    row, column = RNG.integers(24, 40, 2)
    return read_source_image((220 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 200)).astype(np.uint8), "b")


def test_images_are_like_themselves_and_their_kind() -> None:
    segmenter = Segmenter(device="cpu")
    one, same, other = (look(cases, segmenter) for cases in ([blob(), blob()], [blob()], [noise()]))
    assert one.dtype == np.float32
    assert one @ one == pytest.approx(1.0, abs=1e-5)
    assert one @ same > one @ other


def test_a_negative_looks_otherwise() -> None:
    segmenter, image = Segmenter(device="cpu"), blob()
    negative = read_source_image(220 - image.planes[0].astype(np.uint8), "negative")
    assert look([image], segmenter) @ look([negative], segmenter) < 0.95


def test_a_network_without_features_cannot_look() -> None:
    with pytest.raises(ValueError, match="expected one that computes features, got Identity"):
        look([noise()], Segmenter(torch.nn.Identity(), device="cpu"))
