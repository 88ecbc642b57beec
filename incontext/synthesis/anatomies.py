"""Seven families of invented anatomies: what the subjects of one task have in common, and how they differ.

Label maps are drawn on a grid twice as fine as the images, so that averaging gives every border its partial volume.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from incontext.synthesis.shapes import Blobs, Rng, Tubes, bent_grid, doubled, easel, sample, smooth_noise, unit_grid

Family = Literal["regions", "layers", "nested", "blobs", "tubes", "membranes", "textures"]
Draw = Callable[[Rng], UInt8[np.ndarray, "side side"]]

PLACED = 0.3
"""The chance that scattered objects have their place in the anatomy, and only move with it."""


@dataclass(frozen=True)
class Anatomy:
    """What the subjects of one task have in common."""

    draw: Draw
    """Makes the label map of another subject."""
    structures: tuple[tuple[int, ...], ...]
    """What may be the foreground: each a union of labels."""
    twins: tuple[tuple[int, int], ...] = ()
    """Pairs of labels, the first of which looks like the second, so that only place or size tells them apart."""
    ground: int = 0
    """How many labels, from 0, are grounds, which look more alike than structures do."""
    by_texture: bool = False
    """Whether labels differ in texture alone."""


def regions(side: int, rng: Rng) -> Anatomy:
    """Five to nineteen regions of smooth noise, which each subject bends; in some tasks regions look alike."""
    labels = int(rng.integers(5, 20))
    draw = _placed(_ground(side, labels, int(rng.integers(2, 7)), rng), rng)
    shuffled = rng.permutation(labels)
    alike = labels // 3 if rng.random() < 0.3 else 0
    twins = tuple((int(a), int(b)) for a, b in zip(shuffled[:alike], shuffled[alike : 2 * alike], strict=True))
    return Anatomy(draw, _each(range(labels)), twins)


def layers(side: int, rng: Rng) -> Anatomy:
    """Layers, thick and thin, across the image, or rings around a centre."""
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
    """Organs at their places, one with lesions that have a rim and a core; look-alikes lie outside of it."""
    ground, organ, rim, core, mimic, first_other = int(rng.integers(1, 3)), 2, 3, 4, 5, 6
    others = [Blobs.invent(first_other + i, 1, (0.06, 0.2), rng) for i in range(rng.integers(0, 4))]
    places = rng.uniform(0.15, 0.85, (len(others), 2))
    home, host = rng.uniform(0.35, 0.65, 2), Blobs.invent(organ, 1, (0.18, 0.35), rng)
    lesion = Blobs.invent(rim, int(rng.integers(1, 4)), (0.2 * host.radius, 0.5 * host.radius), rng, core=core)
    mimics = replace(lesion, label=mimic, core=None, number=int(rng.integers(1, 5))) if rng.random() < 0.5 else None
    cells = int(rng.integers(2, 5))

    def draw(rng: Rng) -> np.ndarray:
        label_map, canvas = easel(_ground(side, ground, cells, rng))
        if mimics:
            mimics.scatter(canvas, rng)
        for other, place in zip(others, places, strict=True):
            other.put(canvas, place + rng.normal(0, 0.03, 2), rng)
        centre = home + rng.normal(0, 0.04, 2)
        host.put(canvas, centre, rng)
        for _ in range(1 + rng.poisson(lesion.number - 1)):
            lesion.put(canvas, centre + rng.uniform(-0.5, 0.5, 2) * host.radius, rng)
        return np.asarray(label_map)

    structures = ((organ, rim, core), (organ,), (rim, core), (rim, core), (rim,), (core,))
    return Anatomy(draw, structures + _each(other.label for other in others), ((mimic, rim),), ground)


def blobs(side: int, rng: Rng) -> Anatomy:
    """One or many round objects, anew in each subject, some with a core, among objects of other size or look."""
    ground, rim, core, other, speck = int(rng.integers(1, 4)), 3, 4, 5, 6
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
        label_map, canvas = easel(_ground(side, ground, cells, rng))
        for kind in kinds[::-1]:
            kind.scatter(canvas, rng)
        return np.asarray(label_map)

    twins = ((other, rim),) if rng.random() < 0.2 and abs(np.log(kinds[-1].radius / wanted.radius)) > 0.7 else ()
    return Anatomy(_perhaps_placed(draw, rng), ((rim, core), (rim, core), (rim,), (core,), (other,)), twins, ground)


def tubes(side: int, rng: Rng) -> Anatomy:
    """Thin branching lines, smooth or jagged, among wider ones, spots, a disc and the border of the field of view."""
    ground, thin, wide, spot, disc, outside = int(rng.integers(1, 4)), 3, 4, 5, 6, 7
    wanted = Tubes.invent(thin, (1.0, 3.5), rng)
    wider = Tubes.invent(wide, (3.0, 7.0), rng) if rng.random() < 0.45 else None
    spots = Blobs.invent(spot, int(rng.integers(3, 20)), (0.008, 0.03), rng) if rng.random() < 0.5 else None
    plate = Blobs.invent(disc, 1, (0.06, 0.15), rng) if rng.random() < 0.35 else None
    field = rng.uniform(0.85, 1.05) if rng.random() < 0.3 else None
    cells = int(rng.integers(2, 5))

    def draw(rng: Rng) -> np.ndarray:
        label_map, canvas = easel(_ground(side, ground, cells, rng))
        for scattered in filter(None, (plate, spots)):
            scattered.scatter(canvas, rng)
        for grown in filter(None, (wider, wanted)):
            grown.grow(canvas, rng)
        drawn = np.array(label_map)
        if field:
            drawn[np.hypot(*unit_grid(side)) > field] = outside
        return drawn

    structures = ((thin,), (thin,), (thin,), (wide,), (thin, wide), (thin, wide))
    return Anatomy(_perhaps_placed(draw, rng), structures, ground=ground)


def membranes(side: int, rng: Rng) -> Anatomy:
    """The borders between crowded cells, of several looks, with organelles that have a skin of their own."""
    looks, border, skin, organelle = int(rng.integers(1, 4)), 3, 4, 5
    cells, half_width = int(rng.integers(8, 50)), rng.uniform(0.5, 1.6) / 64
    share = rng.dirichlet(np.full(looks, 0.7))
    inside = Blobs.invent(skin, int(rng.integers(3, 14)), (0.015, 0.05), rng, core=organelle)
    filled, strength = rng.random() < 0.5, rng.uniform(0.3, 2)

    def draw(rng: Rng) -> np.ndarray:
        cell, distance = _nearest_cell(bent_grid(side // 2, strength, rng), cells, rng)
        look = rng.choice(looks, cells, p=share).astype(np.uint8)[cell]
        label_map, canvas = easel(np.ascontiguousarray(look.repeat(2, 0).repeat(2, 1)))
        if filled:
            inside.scatter(canvas, rng)
        drawn = np.array(label_map)
        drawn[doubled(distance) < half_width] = border
        return drawn

    structures = ((border,), (border,), (border,), (skin, organelle), (organelle,), *_each(range(1, looks)))
    return Anatomy(draw, structures)


def textures(side: int, rng: Rng) -> Anatomy:
    """Few large regions, or large blobs, to be told apart by their texture alone."""
    if rng.random() < 0.5:
        labels = int(rng.integers(2, 4))
        draw = _perhaps_placed(partial(_ground, side, labels, int(rng.integers(2, 4))), rng)
        return Anatomy(draw, _each(range(labels)), by_texture=True)
    kind = Blobs.invent(1, int(rng.integers(1, 5)), (0.1, 0.2), rng)

    def scattered(rng: Rng) -> np.ndarray:
        label_map, canvas = easel(np.zeros((side, side), np.uint8))
        kind.scatter(canvas, rng)
        return np.asarray(label_map)

    return Anatomy(_perhaps_placed(scattered, rng), ((1,),), by_texture=True)


FAMILIES: dict[Family, tuple[float, Callable[[int, Rng], Anatomy]]] = {
    "regions": (0.22, regions),
    "layers": (0.12, layers),
    "nested": (0.1, nested),
    "blobs": (0.13, blobs),
    "tubes": (0.23, tubes),
    "membranes": (0.12, membranes),
    "textures": (0.08, textures),
}
"""The chance of each family and how an anatomy of it is invented; tubes and membranes, the thin ones, are a third."""


def _each(labels: Iterable[int]) -> tuple[tuple[int, ...], ...]:
    return tuple((label,) for label in labels)


def _placed(label_map: np.ndarray, rng: Rng) -> Draw:
    """Subjects that bend one label map."""
    strength = rng.uniform(0.3, 1.3)
    return lambda rng: sample(label_map, bent_grid(len(label_map), strength, rng), "nearest")


def _perhaps_placed(draw: Draw, rng: Rng) -> Draw:
    """Subjects that bend one drawing, by the chance `PLACED`, or else new drawings."""
    return _placed(draw(rng), rng) if rng.random() < PLACED else draw


def _ground(side: int, labels: int, cells: int, rng: Rng) -> UInt8[np.ndarray, "side side"]:
    """Regions numbered from 0, for other structures to lie on."""
    if labels == 1:
        return np.zeros((side, side), np.uint8)
    return smooth_noise(labels, side, cells, rng).argmax(axis=0).astype(np.uint8)


def _nearest_cell(grid: np.ndarray, cells: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each place in a Voronoi diagram of random seeds, and how far the second nearest is, in half sides."""
    seeds = rng.uniform(-1.15, 1.15, (cells, 2)).astype(np.float32)
    # half the squared distance to a seed, less a term common to all: the difference of two seeds' is linear in place
    nearness = grid.reshape(2, -1).T @ seeds.T - (seeds**2).sum(1) / 2
    rows, first = np.arange(len(nearness)), nearness.argmax(axis=1)
    best = nearness[rows, first]
    nearness[rows, first] = -np.inf
    second = nearness.argmax(axis=1)
    distance = (best - nearness[rows, second]) / np.linalg.norm(seeds[first] - seeds[second], axis=1)
    return first.reshape(grid.shape[1:]), distance.reshape(grid.shape[1:])
