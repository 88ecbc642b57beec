"""Calls that break an annotation fail in the tests, whatever is annotated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jaxtyping
import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from incontext.networks.layers import SupportMean, conv_twice
from megamed.files import sha256_of
from tests.checked import beartyped, checked, unchecked

check = checked(typechecker=beartyped)


@check
def plain(count: int, names: "list[str] | None" = None) -> str:
    return count if names == ["a"] else ""  # type: ignore[return-value]


@check
def product(one: Float[Tensor, "N K"], other: tuple[Float[Tensor, "K M"], ...]) -> Float[Tensor, "N M"]:
    return one @ other[0] if len(other) == 1 else one


@check
def drawn(count: int) -> Iterator[int]:
    yield count


@check
def of_callable(call: Callable[[Float[Tensor, "N"]], int], number: int) -> int:
    return number


@check
@dataclass
class Plane:
    """Fields that bind each other's axes."""

    array: Float[np.ndarray, "H W"]
    label: Float[np.ndarray, "H W"]


@check
@dataclass
class Named:
    """A field without a shape."""

    name: str


class Node:
    """A class whose method names it, before it is there."""

    @check
    def joined(self, other: "Node", number: int) -> "Node":
        return self


def adding(number: int) -> Callable[[object], int]:
    """A function of lines that define others for other numbers."""

    @check
    def added(other: int) -> int:
        return number if other == 9 else adding(other)(9) + number

    return added  # type: ignore[return-value]


def of_axes(axes: str) -> Callable[[Tensor], int]:
    """A function of lines whose annotation has other axes each time."""

    @check
    def axes_of(array: Float[Tensor, axes]) -> int:  # type: ignore[valid-type]
        return array.ndim

    return axes_of


def of_type(kind: type) -> Callable[[object], str]:
    """A function of lines whose annotation depends on what is around them."""

    @check
    def named(value: kind) -> str:  # type: ignore[valid-type]
        return str(value)

    return named


class Masks(list[Float[Tensor, "*grid"]]):
    """A sequence of arrays by its class."""


@check
def masks_of(count: int) -> Masks:
    return Masks([torch.zeros(2, 3)] * count)


@check
def by_class(count: int) -> list[Float[Tensor, "*grid"]]:
    return [torch.stack([*masks_of(2)])] * count


@pytest.mark.parametrize(
    "call",
    [
        lambda: plain("1"),
        lambda: plain(1, [2]),
        lambda: plain(1, ["a"]),
        lambda: product(torch.zeros(2, 3), (torch.zeros(4, 5),)),
        lambda: product(torch.zeros(2, 3), (torch.zeros(3, 2), torch.zeros(3, 2))),
        lambda: product(torch.zeros(2, 3), (torch.zeros(3, 2, dtype=torch.int64),)),
        lambda: [*drawn("1")],  # type: ignore[arg-type]
        lambda: of_callable(len, "1"),
        lambda: Plane(np.zeros((2, 3)), np.zeros((3, 2))),
        lambda: Named(1),
        lambda: Node().joined(Node(), "1"),
        lambda: adding(1)("1"),
        lambda: adding("1")(9),  # type: ignore[arg-type]
        lambda: (of_type(int)(1), of_type(str)(1)),
        lambda: (of_axes("N K")(torch.zeros(2, 3)), of_axes("N")(torch.zeros(2, 3))),
        lambda: sha256_of(1),
        lambda: SupportMean("1"),
        lambda: conv_twice(torch.zeros(2, 3), torch.nn.Conv2d(1, 1, 3), torch.nn.Conv2d(1, 1, 3)),
    ],
)
def test_a_call_that_breaks_an_annotation_fails(call: Callable[[], object]) -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        call()


def test_other_calls_pass() -> None:
    assert plain(1, ["b"]) == ""
    assert product(torch.zeros(2, 3), (torch.zeros(3, 2),)).shape == (2, 2)
    assert [*drawn(3)] == [3]
    assert Plane(np.zeros((2, 3)), np.zeros((2, 3))).label.shape == (2, 3)
    assert by_class(1)[0].shape == (2, 2, 3)  # the axes of a call are no axes of those within it
    one, two = adding(1), adding(2)
    assert [one(5), two(6), one(7)] == [6, 8, 8]
    assert of_type(int)(1) == of_type(str)("1")
    assert [of_axes(axes)(torch.zeros(2, 3)) for axes in ("N K", "N K", "K N")] == [2, 2, 2]
    assert isinstance(Node().joined(Node(), 1), Node)


def test_checks_can_be_switched_off() -> None:
    with unchecked():
        assert plain("1") == ""  # type: ignore[arg-type]
        assert product(torch.zeros(2, 3), (torch.zeros(3, 2), torch.zeros(1))).shape == (2, 3)
    with pytest.raises(jaxtyping.TypeCheckError):
        plain("1")  # type: ignore[arg-type]
