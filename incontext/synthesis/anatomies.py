"""Seven families of invented anatomies, from which the label maps of different subjects are drawn.

Label maps are drawn on a grid twice as fine as the images, so that averaging gives every border its partial volume.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from incontext.synthesis.shapes import Blobs, Rng, Tubes, bent_grid, doubled, drawable, sample, smooth_noise, unit_grid

Family = Literal["regions", "layers", "nested", "blobs", "tubes", "membranes", "textures"]
Draw = Callable[[Rng], UInt8[np.ndarray, "side side"]]

FIXED_PROBABILITY = 0.3
"""Probability that scattered objects belong to the anatomy: every subject then deforms the same drawing."""


@dataclass(frozen=True)
class Anatomy:
    """A family of subjects: draws their label maps, and names the structures that may be segmented."""

    draw: Draw
    """Draws the label map of another subject."""
    structures: tuple[tuple[int, ...], ...]
    """Candidates for the foreground, each a union of labels; a repeated one is chosen more often."""
    twins: tuple[tuple[int, int], ...] = ()
    """Pairs of labels of which the first copies the second's appearance: only position or size tells them apart."""
    backgrounds: int = 0
    """Number of background labels, counted from 0, whose intensities are closer together than those of structures."""
    by_texture: bool = False
    """Whether labels have one mean intensity and differ in texture alone."""


def regions(side: int, rng: Rng) -> Anatomy:
    """Invent five to nineteen regions of smooth noise, which each subject deforms; in some tasks regions look alike."""
    labels = int(rng.integers(5, 20))
    draw = _deformed(_background(side, labels, int(rng.integers(2, 7)), rng), rng)
    shuffled = rng.permutation(labels)
    alike = labels // 3 if rng.random() < 0.3 else 0
    twins = tuple((int(a), int(b)) for a, b in zip(shuffled[:alike], shuffled[alike : 2 * alike], strict=True))
    return Anatomy(draw, _each(range(labels)), twins)


def layers(side: int, rng: Rng) -> Anatomy:
    """Invent thick and thin layers across the image, or rings around a centre."""
    thickness = rng.gamma(0.8, size=int(rng.integers(3, 9))) + 0.08
    bounds = np.concatenate([[0.0], np.cumsum(thickness / thickness.sum())])
    ring, wave = rng.random() < 0.5, rng.uniform(0.02, 0.1)
    start, extent = (rng.uniform(0.1, 0.5), rng.uniform(0.25, 0.6)) if ring else rng.uniform((-0.7, 0.6), (-0.2, 1.2))
    strength, cells = rng.uniform(0.3, 1.2), int(rng.integers(2, 6))

    def draw(rng: Rng) -> np.ndarray:
        x, y = bent_grid(side, strength, rng)
        depth = (np.hypot(x, y) if ring else y) + np.float32(wave) * smooth_noise(1, side, cells, rng)[0]
        label_map = np.zeros((side, side), np.uint8)
        for bound in start + extent * bounds * rng.uniform(0.85, 1.15):
            label_map += depth > bound
        return label_map

    # the outside is no structure; the inside of a ring is, and so is a wall of two layers
    inside = range(0 if ring else 1, len(bounds))
    return Anatomy(draw, _each(inside) + tuple((i, i + 1) for i in inside[:-1]))


def nested(side: int, rng: Rng) -> Anatomy:
    """Invent organs at fixed positions, one with lesions of rim and core; look-alikes of these lie outside of it."""
    backgrounds, organ, rim, core, mimic, first_other = int(rng.integers(1, 3)), 2, 3, 4, 5, 6
    others = [Blobs.invent(first_other + i, 1, (0.06, 0.2), rng) for i in range(rng.integers(0, 4))]
    positions = rng.uniform(0.15, 0.85, (len(others), 2))
    home, host = rng.uniform(0.35, 0.65, 2), Blobs.invent(organ, 1, (0.18, 0.35), rng)
    lesion = Blobs.invent(rim, int(rng.integers(1, 4)), (0.2 * host.radius, 0.5 * host.radius), rng, core=core)
    mimics = replace(lesion, label=mimic, core=None, number=int(rng.integers(1, 5))) if rng.random() < 0.5 else None
    cells = int(rng.integers(2, 5))

    def draw(rng: Rng) -> np.ndarray:
        label_map, canvas = drawable(_background(side, backgrounds, cells, rng))
        if mimics:
            mimics.scatter(canvas, rng)
        for other, position in zip(others, positions, strict=True):
            other.put(canvas, position + rng.normal(0, 0.03, 2), rng)
        centre = home + rng.normal(0, 0.04, 2)
        host.put(canvas, centre, rng)
        for _ in range(1 + rng.poisson(lesion.number - 1)):
            lesion.put(canvas, centre + rng.uniform(-0.5, 0.5, 2) * host.radius, rng)
        return np.asarray(label_map)

    structures = ((organ, rim, core), (organ,), (rim, core), (rim, core), (rim,), (core,))
    return Anatomy(draw, structures + _each(other.label for other in others), ((mimic, rim),), backgrounds)


def blobs(side: int, rng: Rng) -> Anatomy:
    """Invent round objects, one or many, some with a core, among objects of other size or appearance."""
    backgrounds, rim, core, other, speck = int(rng.integers(1, 4)), 3, 4, 5, 6
    number = (1, int(rng.integers(2, 8)), int(rng.integers(8, 40)))[rng.integers(3)]
    largest = 0.3 / np.sqrt(number)
    wanted = Blobs.invent(rim, number, (0.4 * largest, largest), rng, core=core if rng.random() < 0.4 else None)
    kinds = [wanted]
    if rng.random() < 0.6:
        kinds.append(Blobs.invent(other, int(rng.integers(1, 12)), (0.02, 0.12), rng))
    if rng.random() < 0.4:
        kinds.append(Blobs.invent(speck, int(rng.integers(5, 30)), (0.008, 0.02), rng))
    cells = int(rng.integers(2, 5))

    def draw(rng: Rng) -> np.ndarray:
        label_map, canvas = drawable(_background(side, backgrounds, cells, rng))
        for kind in kinds[::-1]:
            kind.scatter(canvas, rng)
        return np.asarray(label_map)

    twins = ((other, rim),) if rng.random() < 0.2 and abs(np.log(kinds[-1].radius / wanted.radius)) > 0.7 else ()
    return Anatomy(_perhaps_fixed(draw, rng), ((rim, core), (rim, core), (rim,), (core,), (other,)), twins, backgrounds)


def tubes(side: int, rng: Rng) -> Anatomy:
    """Invent thin branching lines among wider ones, spots, a disc and the border of the field of view."""
    backgrounds, thin, wide, spot, disc, outside = int(rng.integers(1, 4)), 3, 4, 5, 6, 7
    wanted = Tubes.invent(thin, (1.0, 3.5), rng)
    wider = Tubes.invent(wide, (3.0, 7.0), rng) if rng.random() < 0.45 else None
    spots = Blobs.invent(spot, int(rng.integers(3, 20)), (0.008, 0.03), rng) if rng.random() < 0.5 else None
    plate = Blobs.invent(disc, 1, (0.06, 0.15), rng) if rng.random() < 0.35 else None
    field = rng.uniform(0.85, 1.05) if rng.random() < 0.3 else None
    cells = int(rng.integers(2, 5))

    def draw(rng: Rng) -> np.ndarray:
        label_map, canvas = drawable(_background(side, backgrounds, cells, rng))
        for scattered in filter(None, (plate, spots)):
            scattered.scatter(canvas, rng)
        for grown in filter(None, (wider, wanted)):
            grown.grow(canvas, rng)
        drawn = np.array(label_map)
        if field:
            drawn[np.hypot(*unit_grid(side)) > field] = outside
        return drawn

    structures = ((thin,), (thin,), (thin,), (wide,), (thin, wide), (thin, wide))
    return Anatomy(_perhaps_fixed(draw, rng), structures, backgrounds=backgrounds)


def membranes(side: int, rng: Rng) -> Anatomy:
    """Invent the borders between crowded cells of several appearances, with organelles that have a membrane."""
    kinds, border, skin, organelle = int(rng.integers(1, 4)), 3, 4, 5
    cells, half_width = int(rng.integers(8, 50)), rng.uniform(0.5, 1.6) / 64
    share = rng.dirichlet(np.full(kinds, 0.7))
    inside = Blobs.invent(skin, int(rng.integers(3, 14)), (0.015, 0.05), rng, core=organelle)
    filled, strength = rng.random() < 0.5, rng.uniform(0.3, 2)

    def draw(rng: Rng) -> np.ndarray:
        cell, distance = _nearest_cell(bent_grid(side // 2, strength, rng), cells, rng)
        kind = rng.choice(kinds, cells, p=share).astype(np.uint8)[cell]
        label_map, canvas = drawable(np.ascontiguousarray(kind.repeat(2, 0).repeat(2, 1)))
        if filled:
            inside.scatter(canvas, rng)
        drawn = np.array(label_map)
        drawn[doubled(distance) < half_width] = border
        return drawn

    structures = ((border,), (border,), (border,), (skin, organelle), (organelle,), *_each(range(1, kinds)))
    return Anatomy(draw, structures)


def textures(side: int, rng: Rng) -> Anatomy:
    """Invent a few large regions, or large blobs, that differ in texture alone."""
    if rng.random() < 0.5:
        labels = int(rng.integers(2, 4))
        draw = _perhaps_fixed(partial(_background, side, labels, int(rng.integers(2, 4))), rng)
        return Anatomy(draw, _each(range(labels)), by_texture=True)
    kind = Blobs.invent(1, int(rng.integers(1, 5)), (0.1, 0.2), rng)

    def scattered(rng: Rng) -> np.ndarray:
        label_map, canvas = drawable(np.zeros((side, side), np.uint8))
        kind.scatter(canvas, rng)
        return np.asarray(label_map)

    return Anatomy(_perhaps_fixed(scattered, rng), ((1,),), by_texture=True)


FAMILIES: dict[Family, tuple[float, Callable[[int, Rng], Anatomy]]] = {
    "regions": (0.22, regions),
    "layers": (0.12, layers),
    "nested": (0.1, nested),
    "blobs": (0.13, blobs),
    "tubes": (0.23, tubes),
    "membranes": (0.12, membranes),
    "textures": (0.08, textures),
}
"""Probability of each family, and the function that invents an anatomy of it; a third is thin: tubes and membranes."""


def _each(labels: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    return tuple((label,) for label in labels)


def _deformed(label_map: np.ndarray, rng: Rng) -> Draw:
    """Make a drawing function whose subjects are deformations of one label map."""
    strength = rng.uniform(0.3, 1.3)
    return lambda rng: sample(label_map, bent_grid(len(label_map), strength, rng), "nearest")


def _perhaps_fixed(draw: Draw, rng: Rng) -> Draw:
    """Fix one drawing, which subjects then deform, with probability `FIXED_PROBABILITY`; else draw each anew."""
    return _deformed(draw(rng), rng) if rng.random() < FIXED_PROBABILITY else draw


def _background(side: int, labels: int, cells: int, rng: Rng) -> UInt8[np.ndarray, "side side"]:
    """Draw background regions of smooth noise, numbered from 0, under the other structures."""
    if labels == 1:
        return np.zeros((side, side), np.uint8)
    return smooth_noise(labels, side, cells, rng).argmax(axis=0).astype(np.uint8)


def _nearest_cell(grid: np.ndarray, cells: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Find each pixel's cell in a Voronoi diagram of random seeds, and its distance to the border, in half sides."""
    seeds = rng.uniform(-1.15, 1.15, (cells, 2)).astype(np.float32)
    # x·s − |s|²/2 = (|x|² − |x − s|²)/2 is largest for the nearest seed s; its difference between two seeds, divided by
    # their distance, is how far x is from the border of their cells
    nearness = grid.reshape(2, -1).T @ seeds.T - (seeds**2).sum(1) / 2
    rows, first = np.arange(len(nearness)), nearness.argmax(axis=1)
    best = nearness[rows, first]
    nearness[rows, first] = -np.inf
    second = nearness.argmax(axis=1)
    distance = (best - nearness[rows, second]) / np.linalg.norm(seeds[first] - seeds[second], axis=1)
    return first.reshape(grid.shape[1:]), distance.reshape(grid.shape[1:])
