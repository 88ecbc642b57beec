"""Codes of support sets, stacked to batches of sets that are equally large, and taken apart again."""

from collections.abc import Sequence
from typing import Any

from incontext.networks.support_code import SupportCode


def of_classes(codes: Sequence[tuple[SupportCode, int]]) -> list[SupportCode]:
    """Take stacks of codes apart: see `stacked`."""
    return [code.of_set(index) for code, sets in codes for index in range(sets)]


def stacked(codes: Sequence[Any], most: int) -> list[tuple[Any, int]]:
    """Stack codes of single support sets into batches of equally large sets, and count the sets of each batch."""
    stacks: list[list[Any]] = []
    for code in codes:
        fits = stacks and len(stacks[-1]) < most and isinstance(code, SupportCode)
        if fits and code.keys[0].shape == stacks[-1][0].keys[0].shape:
            stacks[-1].append(code)
        else:
            stacks.append([code])
    return [(SupportCode.stacked(stack) if len(stack) > 1 else stack[0], len(stack)) for stack in stacks]


def turns(draws: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Transpose the draws of each class into the classes of each draw; a class with fewer draws starts anew."""
    return [[of_class[i % len(of_class)] for of_class in draws] for i in range(max(map(len, draws)))]
