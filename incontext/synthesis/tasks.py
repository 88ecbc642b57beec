"""Unlimited tasks that nobody labelled: invented anatomies, and regions of real images.

An invented anatomy draws the label map of one subject after another, a common appearance renders them as images, and
one structure is the foreground.

Source:
    Hoffmann et al., SynthMorph, TMI 2022, and Butoi et al., UniverSeg, ICCV 2023: label maps from smooth noise;
    Ouyang et al., SSL-ALPNet, ECCV 2020: tasks from superpixels.
"""

import numpy as np
from jaxtyping import UInt8

from incontext.synthesis.anatomies import FAMILIES, Anatomy, Family
from incontext.synthesis.appearance import Scene, draw_appearance, optics, render, scaled
from incontext.synthesis.shapes import Rng, bent_grid, sample, separable, smooth_noise, unit_grid

SMALLEST_SIZE_PX = 32
SMALLEST_FOREGROUND_PX = 10
LARGEST_SHARE = 0.6
"""Largest share of an image's pixels that the foreground may fill."""
SENSIBLE_SHARE = (0.005, 0.4)
"""Least and largest share of the first image's pixels that a structure may fill to become the foreground."""
TRIES = 8
KMEANS_STEPS = 4
LEAST_SPREAD = 2
"""Standard deviation in grey values below which an image counts as without contrast."""


def synthetic_set(
    count: int, size_px: int, rng: Rng, family: Family | None = None
) -> tuple[UInt8[np.ndarray, "count H W"], UInt8[np.ndarray, "count H W"]]:
    """Invent a task: different subjects of one random anatomy, with the label of one structure.

    Args:
        count: Number of subjects.
        size_px: Side of the images.
        rng: Generator of all random choices.
        family: Family of the anatomy; None draws one by the probabilities of `FAMILIES`.

    Returns:
        Images, 255 standing for 1, and labels in {0, 1}, of at least 10 pixels each.

    Raises:
        ValueError: If there is no subject to draw, or the images would be smaller than 32×32.
    """
    _check_count(count)
    if size_px < SMALLEST_SIZE_PX:
        msg = f"size_px is too small: expected at least {SMALLEST_SIZE_PX}, got {size_px}. Draw larger and shrink."
        raise ValueError(msg)
    family = family or _draw_family(rng)
    while True:  # most anatomies have a structure of sensible size, and all subjects show it
        anatomy = FAMILIES[family][1](2 * size_px, rng)
        structure, maps = _draw_subjects(anatomy, count, rng)
        if len(maps) == count:
            labels = np.flatnonzero(np.bincount(np.concatenate(maps, axis=None)))
            appearance = draw_appearance(Scene(labels, structure, anatomy), size_px, rng)
            images = [render(label_map, appearance, rng) for label_map in maps]
            return np.stack(images), np.stack([_label(label_map, structure) for label_map in maps])


def superpixel_set(
    image: UInt8[np.ndarray, "H W"], count: int, rng: Rng
) -> tuple[UInt8[np.ndarray, "count H W"], UInt8[np.ndarray, "count H W"]]:
    """Make a task of one real image: bent and recoloured copies, with the label of a region of similar pixels.

    An image without contrast gives a region that only its position defines.

    Returns:
        Images, 255 standing for 1, and labels in {0, 1}, of at least 10 pixels each.

    Raises:
        ValueError: If there is no copy to make, or the image is not square or smaller than 32×32.
    """
    _check_count(count)
    rows, columns = image.shape
    if rows != columns or rows < SMALLEST_SIZE_PX:
        side = max(rows, columns, SMALLEST_SIZE_PX)
        msg = f"image is not square or too small: expected ({side}, {side}), got {image.shape}. Pad it with zeros."
        raise ValueError(msg)
    region = _region(image, rng)
    images, labels = zip(*(_copy(image, region, rng) for _ in range(count)), strict=True)
    return np.stack(images), np.stack(labels)


def _check_count(count: int) -> None:
    if count < 1:
        msg = f"count is too small: expected at least 1, got {count}. Ask for one image or more."
        raise ValueError(msg)


def _draw_family(rng: Rng) -> Family:
    names, chances = tuple(FAMILIES), [chance for chance, _ in FAMILIES.values()]
    return names[rng.choice(len(names), p=chances)]


def _draw_subjects(anatomy: Anatomy, count: int, rng: Rng) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Choose a structure of sensible size, and draw label maps that show it; fewer than `count` if it is rare."""
    label_map = anatomy.draw(rng)
    least, largest = SENSIBLE_SHARE
    sensible = [s for s in anatomy.structures if least <= _label(label_map, s).mean() <= largest]
    if not sensible:
        return (), []
    structure, maps = sensible[rng.integers(len(sensible))], []
    for _ in range(2 * count + TRIES):
        label = _label(label_map, structure)
        if SMALLEST_FOREGROUND_PX <= label.sum() <= LARGEST_SHARE * label.size:
            maps.append(label_map)
        if len(maps) == count:
            break
        label_map = anatomy.draw(rng)
    return structure, maps


def _label(label_map: np.ndarray, structure: tuple[int, ...]) -> np.ndarray:
    """Mask (H, W) of the pixels at least half filled by a structure of the label map (2H, 2W)."""
    inside = np.isin(np.arange(256), structure)[label_map].view(np.uint8)
    filled = inside[::2, ::2] + inside[1::2, ::2] + inside[::2, 1::2] + inside[1::2, 1::2]
    return (filled >= 2).astype(np.uint8)


def _region(image: UInt8[np.ndarray, "H W"], rng: Rng) -> UInt8[np.ndarray, "H W"]:
    """Choose a region of similar pixels: k-means over position and grey value, grown into similar neighbours."""
    blur, _ = optics(len(image), len(image), rng.uniform(0.8, 2))
    grey = separable(blur, image.astype(np.float32), blur)
    spread = grey.std()
    grey = (grey - grey.mean()) / spread if spread > LEAST_SPREAD else np.zeros_like(grey)
    positions = rng.uniform(2, 6) * unit_grid(len(image))
    features = np.stack([*positions, grey], axis=-1).astype(np.float32)
    superpixel, centres = _cluster(features, int(rng.integers(12, 40)), rng)
    return _grown(superpixel, centres[:, 2], rng)


def _cluster(features: np.ndarray, clusters: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Cluster pixels by k-means (Lloyd's algorithm), with centres found on every fourth row and column."""
    coarse = features[::4, ::4].reshape(-1, features.shape[-1])
    centres = coarse[rng.choice(len(coarse), clusters, replace=False)]
    for _ in range(KMEANS_STEPS):
        nearest = _nearest(coarse, centres)
        sums = np.stack([np.bincount(nearest, column, clusters) for column in coarse.T], axis=1)
        counts = np.bincount(nearest, minlength=clusters)[:, None]
        centres = np.where(counts, sums / np.maximum(counts, 1), centres).astype(np.float32)
    return _nearest(features.reshape(-1, features.shape[-1]), centres).reshape(features.shape[:-1]), centres


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return (points @ centres.T - (centres**2).sum(axis=1) / 2).argmax(axis=1)


def _grown(superpixel: np.ndarray, grey: np.ndarray, rng: Rng) -> UInt8[np.ndarray, "H W"]:
    """Grow one superpixel by the neighbours most like it, one by one, up to a random size."""
    sizes = np.bincount(superpixel.ravel(), minlength=len(grey)) / superpixel.size
    touching = np.zeros((len(grey), len(grey)), bool)
    for a, b in ((superpixel[1:], superpixel[:-1]), (superpixel[:, 1:], superpixel[:, :-1])):
        touching[a, b] = touching[b, a] = True
    members = np.zeros(len(grey), bool)
    members[rng.choice(np.flatnonzero(sizes >= sizes.max() / 2))] = True
    largest, tolerance = rng.uniform(0.02, SENSIBLE_SHARE[1]), rng.uniform(0.1, 0.6)
    while True:
        likeness = np.abs(grey - grey[members].mean())
        candidates = touching[members].any(axis=0) & ~members & (likeness < tolerance)
        candidates &= sizes + sizes[members].sum() <= largest
        if not candidates.any():
            return members[superpixel].astype(np.uint8)
        members[np.where(candidates, likeness, np.inf).argmin()] = True


def _copy(image: np.ndarray, region: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Deform image and region alike, and recolour the image; a deformation that loses the region is weakened."""
    for strength in (rng.uniform(0.5, 1.5), 0.5, 0.25, 0.0):
        grid = bent_grid(len(image), strength, rng)
        label = sample(region, grid, "nearest")
        if label.sum() >= SMALLEST_FOREGROUND_PX:
            break
    bent = (1e-3 + sample(image, grid, "bilinear") / 255) ** np.exp(rng.normal(0, 0.25))
    light = np.exp(rng.normal(0, 0.15) * smooth_noise(1, len(image), 2, rng)[0])
    noise = rng.uniform(0, 0.03) * rng.standard_normal(image.shape)
    return scaled((bent * light + noise).astype(np.float32)), label
