"""Whatever array is passed: a mask on its grid or an error that says what is wrong, never a mask on another grid."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from incontext import Segmentation, Segmenter
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "U1", "M8[s]", "O"]
SIDES = st.one_of(st.integers(1, 48), st.sampled_from([37, 300]))
SHAPES = st.one_of(st.tuples(SIDES, SIDES), st.sampled_from([(1, 1), (900, 37), (37, 900), (1, 700), (0, 5)]))
CONTENTS = ["noise", "constant", "extremes", "nan", "infinity"]


def filled(shape: tuple[int, ...], dtype: str, content: str, seed: int) -> np.ndarray:
    """An array of any dtype that holds what a dtype can of a kind of content."""
    rng = np.random.default_rng(seed)
    values = np.full(shape, 7.0) if content == "constant" else rng.uniform(0, 100, shape)
    if content == "extremes" and np.dtype(dtype).kind in "iuf":
        limits = np.finfo(dtype) if dtype[0] == "f" else np.iinfo(dtype)
        return np.where(values > 50, limits.max, limits.min).astype(dtype)
    if content in ("nan", "infinity") and dtype[0] == "f" and values.size:
        values.flat[0] = {"nan": np.nan, "infinity": np.inf}[content]
    return values.astype("i8").astype(dtype) if dtype[0] in "MU" else values.astype(dtype)


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    """Images and stacks, with and without channels, of any dtype and content."""
    height, width = draw(SHAPES)
    count = draw(st.integers(1, 6))
    shapes = [(height, width)] * 4 + [(height, width, count), (count, height, width), (height, width, 3)]
    shape = draw(st.sampled_from([*shapes, (2, height, width, 3), (count, 1, height, width), (height,)]))
    if np.prod(shape) > 500_000:
        shape = shape[-2:]
    return filled(shape, draw(st.sampled_from(DTYPES)), draw(st.sampled_from(CONTENTS)), draw(st.integers(0, 9)))


@st.composite
def plain_images(draw: st.DrawFn) -> np.ndarray:
    """Images that nothing is wrong with."""
    shape = draw(SHAPES.filter(all))
    return filled(shape, draw(st.sampled_from(["u1", "i2", "u2", "f2", "f4", "f8"])), "noise", draw(st.integers(0, 9)))


@st.composite
def labels(draw: st.DrawFn, shape: tuple[int, int]) -> Any:
    """Labels of every encoding that people use, on a grid or on another."""
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    plane = rng.integers(0, 4, shape)
    kinds = {
        "map": plane,
        "mask": plane > 1,
        "white": 255 * (plane > 1),
        "probabilities": rng.random(shape),
        "many": 1000 * plane,
        "negative": -plane,
        "empty": 0 * plane,
        "grey colours": np.stack([plane] * 3, axis=-1),
        "one-hot": np.stack([plane == value for value in range(4)]),
        "transposed": plane.T,
        "larger": np.pad(plane, 1),
        "by name": {"one": plane == 1, "some": plane > 1},
        "by name, overlapping": {"one": plane > 0, "none": None, "all": plane >= 0},
    }
    label = kinds[draw(st.sampled_from([*sorted(kinds), "map", "mask", "white", "by name"]))]
    dtype = draw(st.sampled_from(["?", "u1", "i2", "u2", "f4", "f8", "i8"]))
    return label if isinstance(label, dict) else label.astype(dtype)


@pytest.fixture(scope="module")
def network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))


def outcome(segmenter: Segmenter, query: np.ndarray, support: np.ndarray, label: Any) -> Segmentation | str:
    """What was found, or why nothing could be."""
    labels_of_one = {name: [mask] for name, mask in label.items()} if isinstance(label, dict) else [label]
    try:
        with warnings.catch_warnings(action="ignore"):
            return segmenter.predict([query], [support], labels_of_one)
    except ValueError as error:
        return str(error)


def grids(shape: tuple[int, ...]) -> set[tuple[int, ...]]:
    """What the grid of an array may be: all its axes, or all but that of colours."""
    return {shape[:-1], shape} if shape[-1] in (3, 4) else {shape}


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.data())
def test_a_mask_of_the_input_s_size_or_a_clear_error(network: SupportOnceNet, data: st.DataObject) -> None:
    query = data.draw(st.one_of(images(), plain_images()))
    support = data.draw(st.one_of(plain_images(), plain_images(), images()))
    label = data.draw(labels(support.shape[:2] if support.ndim > 1 else (3, 3)))
    tiling = data.draw(st.sampled_from(["auto", "never", 20]))
    overlap = data.draw(st.booleans())
    segmenter = Segmenter(network, size_px=32, device="cpu", tiling=tiling, overlap=overlap)
    result = outcome(segmenter, query, support, label)
    if isinstance(result, str):
        assert re.search("expected .*, got .*", result)
        event(result.partition(": expected")[0])
        return
    event("mask")
    (mask,), (probabilities,) = result.masks, result.probabilities
    grid = mask.shape[1:] if overlap else mask.shape
    assert grid in grids(query.shape)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= ({0, 1} if overlap else {0, *result.classes})
    classes = len(result.classes)
    assert probabilities.shape == (grid if classes == 1 else (classes, *grid))
    assert np.isfinite(probabilities).all()
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1 + 1e-6
