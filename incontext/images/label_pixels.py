"""Pixels of a label, as its file or array holds them: numbers, colours, opacity → values on the grid of its image."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Shaped, UInt8

from incontext.images.arrays import check_colours, fit_label
from megamed.colour_tables import FULL, NOISE
from megamed.label_values import LabelReading, LabelRules, distinct, hardened, read_channels, read_palette, read_values
from megamed.readers.stored import StoredImage


@dataclass(frozen=True, eq=False)
class LabelPixels:
    """Pixels of a label before anything is made of them.

    Attributes:
        values: Numbers or indices of a palette (*grid), or colours (*grid, 3 or 4).
        palette: Colours of the indices.
        opacity: Opacity of each pixel (*grid), if it is not the same everywhere.
        is_lossy: Whether the compression of the file changed values.
        notes: Remarks of the reader of the file.
    """

    values: Shaped[np.ndarray, "..."]
    palette: UInt8[np.ndarray, "entries 3"] | None = None
    opacity: Shaped[np.ndarray, "..."] | None = None
    is_lossy: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: StoredImage) -> Self:
        """Take the pixels of a file without a place, in its order of axes."""
        return cls(stored.array, stored.palette, stored.opacity, stored.is_lossy, stored.notes)

    def read(self, shape: tuple[int, ...], name: str, rules: LabelRules) -> LabelReading:
        """Read the values that are meant, on the grid of the label's image.

        Args:
            shape: The grid.
            name: How errors and notes call the label.
            rules: What the user says.

        Raises:
            ValueError: If the label does not fit the grid, its pixels are no classes or have several readings, or lossy
                compression has mixed the values of several classes.
        """
        values = fit_label(self.values, name, shape)
        opacity = None if self.opacity is None else self.opacity.reshape(shape)
        if self.palette is not None:
            return read_palette(values, self.palette, name, rules, opacity)
        if values.shape == shape and opacity is None and not rules.colours:
            reading = read_values(values, name, rules)
        else:
            channels = values[..., None] if values.shape == shape else values
            if channels.shape[-1] > 1 and not rules.colours:
                check_colours(channels, name)
            channels = channels if opacity is None else np.concatenate([channels, opacity[..., None]], axis=-1)
            reading = read_channels(channels, name, rules)
        if not self.is_lossy or rules.colours:
            return reading
        if ((reading.values <= NOISE) | (reading.values >= FULL - NOISE)).all():
            reading = replace(reading, values=hardened(reading.values))
        if not _is_mask(reading):
            msg = (
                f"{name} was stored with loss: expected a mask of one class, or a PNG or TIFF label, got lossy "
                "compression. Export the label map anew as PNG: lossy formats change class values at edges."
            )
            raise ValueError(msg)
        return reading


def _is_mask(reading: LabelReading) -> bool:
    """Whether a label has one class at most, of a value that cannot be what compression makes of the background."""
    found = [value for value in distinct(reading.values).tolist() if value]
    return len(found) <= 1 and all(value > FULL // 2 for value in found)
