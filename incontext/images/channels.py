"""The channel that a user means, of images that have several."""

from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from megamed.readers.channels import COLOURS, index_of, listed
from megamed.readers.source import Source
from megamed.readers.stored import StoredImage

Channel = int | str | None
"""The index or name of a channel, or `red`, `green` or `blue`; None where images are to have one, or colours."""
MOST_CHANNELS = 16
"""Length up to which an axis of an array, shorter than the others, is taken for that of channels."""


def asked(source: Source, channel: Channel, level: int = 0) -> Source:
    """Return a source with the channel, which a series has none of, and the level that its reader is to take."""
    part = source.part if channel is None or source.part else str(channel)
    return replace(source, part=part, level=level)


def of_stored(stored: StoredImage, name: str, channel: Channel) -> StoredImage:
    """Take a channel of what a file shows; one without is as it is, or its reader took the channel.

    Raises:
        ValueError: If there is no such channel.
    """
    shown = stored.displayed()
    if not shown.axes:
        return replace(shown, array=of_array(shown.array, name, channel))
    if channel is None or not shown.axes.endswith("C"):
        return shown
    return replace(shown, array=_taken(shown.array, shown.array.ndim - 1, name, channel), axes=shown.axes[:-1])


def of_array(array: Shaped[np.ndarray, "..."], name: str, channel: Channel) -> Shaped[np.ndarray, "..."]:
    """Take a channel along the last axis of an array, or the first, if it is short; else there are none.

    Raises:
        ValueError: If there is no such channel.
    """
    if channel is None or array.ndim < 3:
        return array
    for axis in (array.ndim - 1, 0):
        others = array.shape[:axis] + array.shape[axis + 1 :]
        if array.shape[axis] <= MOST_CHANNELS and array.shape[axis] < min(others[-2:]):
            return _taken(array, axis, name, channel)
    return array


def _taken(array: Shaped[np.ndarray, "..."], axis: int, name: str, channel: Channel) -> Shaped[np.ndarray, "..."]:
    count = array.shape[axis]
    number = index_of(str(channel), count)
    if number is None:
        expected = f"{listed(count)}, or {', '.join(COLOURS[:count])}"
        msg = f"{name} has no channel {channel!r}: expected {expected}, got {channel!r}. Choose one of these."
        raise ValueError(msg)
    return array.take(number, axis=axis)
