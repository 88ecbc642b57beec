"""Windows of images, as tiles of large images are: some show the label, some are of a place where it is not."""

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch.nn import functional as F

SIDES = (0.35, 0.8)
"""Range of the side of a window, as a share of the image's."""


def cut(
    images: UInt8[np.ndarray, "n H W"],
    labels: UInt8[np.ndarray, "n H W"],
    empty: Bool[np.ndarray, " n"],
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "n H W"], UInt8[np.ndarray, "n H W"]]:
    """Cut one window out of each image of a set, all of one size, and enlarge it to the size of the image.

    A window shows a random pixel of the label, or, if it is to be empty and there is such a place, nothing of it.
    Images without a label are cut anywhere.

    Args:
        images: Intensities.
        labels: Annotation, in the values of `episodes.LabelledSet`.
        empty: Whether the window of an image is to show nothing of the label.
        rng: Source of randomness.
    """
    sides = np.array(labels.shape[-2:])
    window = np.round(rng.uniform(*SIDES) * sides).astype(int)
    cut_images, cut_labels = np.empty_like(images), np.empty_like(labels)
    for index, label in enumerate(labels):
        top, left = _corner(label, window, bool(empty[index]), rng)
        place = (slice(top, top + window[0]), slice(left, left + window[1]))
        cut_images[index] = _enlarged(images[index][place], sides)
        rows, columns = ((np.arange(side) * part) // side for side, part in zip(sides, window, strict=True))
        cut_labels[index] = label[place][rows[:, None], columns]
    return cut_images, cut_labels


def _corner(
    label: UInt8[np.ndarray, "H W"], window: Int[np.ndarray, "2"], empty: bool, rng: np.random.Generator
) -> Int[np.ndarray, "2"]:
    """Draw the upper left corner of a window."""
    height, width = window
    before = np.pad(np.cumsum(np.cumsum(label != 0, 0), 1), ((1, 0), (1, 0)))
    rows = before[height:] - before[:-height]
    inside = rows[:, width:] - rows[:, :-width]
    if empty and len(places := np.argwhere(inside == 0)):
        return places[rng.integers(len(places))]
    return corner_at(label == 1, window, rng)


def corner_at(shown: Bool[np.ndarray, "H W"], window: Int[np.ndarray, "2"], rng: np.random.Generator) -> np.ndarray:
    """Draw the upper left corner of a window around a random pixel of a structure, or of any if there is none.

    Args:
        shown: Where the structure is.
        window: Height and width of the window, in pixels.
        rng: Source of randomness.
    """
    last = np.array(shown.shape) - window
    if len(drawn := np.argwhere(shown)):
        return (drawn[rng.integers(len(drawn))] - rng.integers(window)).clip(0, last)
    return rng.integers(last + 1)


def _enlarged(image: UInt8[np.ndarray, "h w"], sides: np.ndarray) -> UInt8[np.ndarray, "H W"]:
    tensor = torch.from_numpy(np.ascontiguousarray(image))[None, None].float()
    enlarged = F.interpolate(tensor, tuple(map(int, sides)), mode="bilinear", align_corners=False)
    return enlarged[0, 0].round().to(torch.uint8).numpy()
