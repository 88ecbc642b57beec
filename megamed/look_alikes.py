"""A picture beside a photograph of its name: is it the photograph's label, or the same picture?"""

from pathlib import Path

import numpy as np

from megamed import formats
from megamed.label_values import may_be_label
from megamed.pixels import read_image
from megamed.readers.source import Source

ALIKE = 0.95
"""Least correlation of the grey values of a picture and of its lossy copy."""


def is_label_like(path: Path) -> bool:
    """Whether a picture beside a photograph may be its label, as far as it can be read."""
    try:
        return may_be_label(formats.read(Source((path,))).displayed().array)
    except (ValueError, ImportError):
        return True


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
