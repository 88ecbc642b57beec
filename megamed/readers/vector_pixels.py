"""Volumes whose pixels hold several values: colours stay together, of other channels one is taken."""

from dataclasses import replace

import numpy as np

from megamed.readers import channels
from megamed.readers.stored import StoredImage

COLOURS = (3, 4)
"""Number of values of a colour, without and with opacity."""


def one_pixel(stored: StoredImage, part: str, are_colours: bool = False) -> StoredImage:
    """Leave one value a pixel, or one colour.

    Args:
        stored: A volume whose last axis holds the values of a pixel.
        part: The channel that is asked for, by index or colour; empty if none is.
        are_colours: Whether the file says that the values are a colour; bytes are one wherever there are three or four.

    Raises:
        ValueError: If there is no such channel, or none was asked for and the values are no colour.
    """
    count = stored.array.shape[-1]
    if count == 1:
        return replace(stored, array=stored.array[..., 0])
    is_colour = count in COLOURS and (are_colours or stored.array.dtype == np.uint8)
    if is_colour and not part:
        return replace(stored, axes=f"{stored.axes}C")
    return replace(stored, array=stored.array[..., channels.chosen(part, count)], has_part=True)
