"""Files of one name whose content tells what they are: a photograph's label or its copy, what several people drew."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from megamed import formats
from megamed.label_values import may_be_label
from megamed.pixels import read_image
from megamed.readers.source import Source
from megamed.terms import fold, grammar

ALIKE = 0.95
"""Least correlation of the grey values of a picture and of its lossy copy."""

MOST_DRAWINGS = 6
"""Number of cases whose labels are compared."""
ONE_THING = 0.5
"""Least share of the pixels of two labels that both have, on average over cases, if people drew one thing."""
INSIDE, SMALLER = 0.98, 0.75
"""Share of a label that lies within another one, and largest ratio of their areas, if it is a part of the other."""


def holds_label(path: Path) -> bool | None:
    """Whether the content of a file may be that of a label; None if it cannot be read."""
    try:
        return may_be_label(formats.read(Source((path,))).displayed().array)
    except (ValueError, ImportError):
        return None


def are_one_picture(photograph: Path, other: Path) -> bool:
    """Whether two files hold one picture, but for what lossy compression changes of it.

    Raises:
        ValueError: If one cannot be read.
    """
    first, second = (read_image(Source((path,))) for path in (photograph, other))
    if not isinstance(first, np.ndarray) or not isinstance(second, np.ndarray) or first.shape != second.shape:
        return False
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return bool(np.ptp(first) == np.ptp(second))
    return bool(np.corrcoef(first.ravel(), second.ravel())[0, 1] >= ALIKE)


def drew_one_thing(cases: Sequence[Mapping[str, Path]]) -> bool:
    """Whether labels of different names are what different people drew of the same, not different structures.

    So it is if no name is that of a structure, labels of a case have the same values, and they share most pixels though
    none is always a part of another.

    Args:
        cases: Files of the labels of each case, by the names in which they differ.
    """
    if any(is_structure(name) for names in cases for name in names):
        return False
    compared = [case for case in cases if len(case) > 1][:MOST_DRAWINGS]
    try:
        drawn = [{name: formats.read(Source((path,))).array for name, path in case.items()} for case in compared]
    except (OSError, ValueError, ImportError):
        return False
    pairs: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for case in drawn:
        for first, second in combinations(sorted(case), 2):
            pairs.setdefault((first, second), []).append((case[first], case[second]))
    return bool(pairs) and all(map(_are_alike, pairs.values()))


def is_structure(name: str) -> bool:
    """Whether a name has a word of the table of structures; numbers and single letters stand in it for parts alone."""
    return any(word in grammar().known for word in fold(name) if len(word) > 1 or not word.isascii())


def _are_alike(pairs: Sequence[tuple[Shaped[np.ndarray, "..."], Shaped[np.ndarray, "..."]]]) -> bool:
    """Whether two people drew the labels of each case, one label each."""
    if any(first.shape != second.shape for first, second in pairs):
        return False
    first, second = (np.concatenate([each.ravel() for each in of_one]) for of_one in zip(*pairs, strict=True))
    if not np.array_equal(np.unique(first), np.unique(second)):
        return False
    marked = [(first > 0, second > 0) for first, second in pairs]
    shared, areas, others = (
        np.array([np.count_nonzero(mask) for mask in masks])
        for masks in ([a & b for a, b in marked], [a for a, _ in marked], [b for _, b in marked])
    )
    united = areas + others - shared
    if not united.any() or np.mean(shared[united > 0] / united[united > 0]) < ONE_THING:
        return False
    parts = (areas, others), (others, areas)
    return not any(shared.sum() >= INSIDE * part.sum() and part.sum() <= SMALLER * of.sum() for part, of in parts)
