"""Tensors from files are held against those that a network expects."""

import pytest
import torch
from torch import Tensor

from incontext.networks.tensors import misfit, unusable

OWN = {"a": torch.zeros(2, 3), "b": torch.zeros(1)}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (OWN, ""),
        ({"a": OWN["a"]}, "at b: expected (1,), got no such tensor"),
        (OWN | {"c": torch.zeros(4)}, "at c: expected no such tensor, got (4,)"),
        (OWN | {"a": torch.zeros(3, 2)}, "at a: expected (2, 3), got (3, 2)"),
        (OWN | {"\n": torch.zeros(4)}, r"at '\n': expected no such tensor, got (4,)"),
    ],
)
def test_the_first_difference_is_named(found: dict[str, Tensor], told: str) -> None:
    assert misfit(OWN, found) == told


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([1.0, torch.nan]),
        torch.tensor([-torch.inf]),
        torch.ones(2, dtype=torch.int64),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2).to_sparse(),
        torch.ones(2, device="meta"),
    ],
    ids=str,
)
def test_only_finite_numbers_are_usable(tensor: Tensor) -> None:
    assert unusable(OWN) == unusable({"half": torch.ones(2).half()}) == ""
    assert unusable(OWN | {"x": tensor}).startswith("at x: expected")
