"""Drawing tools for anatomies: smooth noise, deformed grids, blobs and branching tubes.

Lengths are in sides of the image; nothing here knows what a structure means.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw
from torch.nn import functional as F

Rng = np.random.Generator
Origin = Literal["anywhere", "border", "point"]
ORIGINS: tuple[Origin, ...] = ("anywhere", "border", "point")


@lru_cache(maxsize=256)
def spline_weights(side: int, cells: int) -> Float32[np.ndarray, "side knots"]:
    """Weights of the knots of a cubic B-spline with `cells` cells along a side, at each pixel centre."""
    positions = (np.arange(side) + 0.5) * cells / side
    distance = np.abs(positions[:, None] + 1 - np.arange(cells + 3))
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def separable(rows: np.ndarray, maps: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Apply one matrix along H and another along W; by torch, which a loader's workers restrict to one thread."""
    return (torch.from_numpy(rows) @ torch.from_numpy(maps) @ torch.from_numpy(columns).T).numpy()


def smooth_noise(count: int, side: int, cells: int, rng: Rng) -> Float32[np.ndarray, "count side side"]:
    """Smooth noise of variance about 1, from random knots of a B-spline with `cells` cells along a side."""
    weights = spline_weights(side, cells)
    knots = rng.standard_normal((count, cells + 3, cells + 3), dtype=np.float32)
    return separable(weights, knots / np.float32(0.479), weights)  # 0.479: mean sum of squared weights, once per axis


@lru_cache(maxsize=8)
def unit_grid(side: int) -> Float32[np.ndarray, "2 side side"]:
    """Coordinates (x, y) of the pixel centres, from −1 to 1."""
    line = ((np.arange(side) + 0.5) * 2 / side - 1).astype(np.float32)
    return np.stack(np.meshgrid(line, line))


def bent_grid(side: int, strength: float, rng: Rng) -> Float32[np.ndarray, "2 side side"]:
    """Positions of a subject's pixels in the anatomy: rotated, scaled, shifted and deformed at two scales."""
    angle, scale = rng.normal(0, 0.15 * strength), np.exp(rng.normal(0, 0.08 * strength))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    bend = 0.06 * smooth_noise(2, side, 3, rng) + 0.02 * smooth_noise(2, side, 9, rng)
    shift = rng.normal(0, 0.06, (2, 1, 1)).astype(np.float32)
    turned = turn.astype(np.float32) @ unit_grid(side).reshape(2, -1)
    return turned.reshape(2, side, side) + np.float32(strength) * (bend + shift)


def doubled(field: Float32[np.ndarray, "side side"]) -> Float32[np.ndarray, "fine fine"]:
    """Interpolate a continuous field on a grid twice as fine."""
    maps = torch.from_numpy(field)[None, None]
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)[0, 0].numpy()


def sample(image: np.ndarray, grid: np.ndarray, mode: Literal["nearest", "bilinear"]) -> np.ndarray:
    """Sample an image at the positions of a grid; beyond the border it is mirrored."""
    maps, positions = torch.from_numpy(image.astype(np.float32)), torch.from_numpy(grid)
    read = F.grid_sample(maps[None, None], positions.permute(1, 2, 0)[None], mode, "reflection", align_corners=False)
    return read[0, 0].round().to(torch.uint8).numpy()


def drawable(ground: UInt8[np.ndarray, "side side"]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Make a picture of a label map, and the canvas that draws on it."""
    image = Image.fromarray(ground)
    return image, ImageDraw.Draw(image)


@dataclass(frozen=True)
class Blobs:
    """Round objects of one appearance; lengths are in sides of the image."""

    label: int
    number: int
    """Mean number of objects in an image."""
    radius: float
    wobble: float
    """Standard deviation of the outline's waves, in radii."""
    stretch: float
    """Largest elongation: an axis is lengthened by up to this share, the other shortened."""
    core: int | None = None
    """Label of a smaller blob inside each object; None for solid ones."""

    @classmethod
    def invent(cls, label: int, number: int, radius: tuple[float, float], rng: Rng, core: int | None = None) -> "Blobs":
        """Draw the radius from a range, and the shape at random."""
        return cls(label, number, rng.uniform(*radius), rng.uniform(0, 0.2), rng.uniform(0, 0.5), core)

    def scatter(self, canvas: ImageDraw.ImageDraw, rng: Rng) -> None:
        """Draw about `number` objects anywhere, at least one."""
        for _ in range(1 + rng.poisson(self.number - 1)):
            self.put(canvas, rng.uniform(0.03, 0.97, 2), rng)

    def put(self, canvas: ImageDraw.ImageDraw, centre: np.ndarray, rng: Rng) -> None:
        """Draw one object at a centre in [0, 1]²."""
        outline = self.radius * rng.uniform(0.75, 1.3) * self._outline(rng)
        _polygon(canvas, centre + outline, self.label)
        if self.core is not None:
            shift = rng.uniform(-0.25, 0.25, 2) * self.radius
            _polygon(canvas, centre + shift + outline * rng.uniform(0.4, 0.65), self.core)

    def _outline(self, rng: Rng) -> np.ndarray:
        """Points (28, 2) of a unit circle with a few waves, stretched and rotated."""
        angle, waves = np.linspace(0, 2 * np.pi, 28, endpoint=False), np.arange(2, 6)[:, None]
        swell = rng.normal(0, self.wobble, (4, 1)) / np.sqrt(waves) * np.cos(waves * angle + rng.uniform(0, 7, (4, 1)))
        radius, stretch = np.clip(1 + swell.sum(axis=0), 0.3, 2), 1 + rng.uniform(0, self.stretch)
        x, y, turn = radius * np.cos(angle) * stretch, radius * np.sin(angle) / stretch, rng.uniform(0, np.pi)
        return np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)


@dataclass(frozen=True)
class Tubes:
    """Branching lines of one appearance; lengths are in sides of the image."""

    label: int
    width: float
    roots: int
    """Mean number of lines that branch off no other."""
    length: float
    branches: float
    """Mean number of branches of each line."""
    bend: float
    """Standard deviation of the change of heading from step to step, in radians."""
    jag: float
    """Standard deviation of each step's deviation from the heading, in radians."""
    origin: Origin

    @classmethod
    def invent(cls, label: int, width_px: tuple[float, float], rng: Rng) -> "Tubes":
        """Draw the width from a range, in pixels of an image of side 128, and the shape at random."""
        origin = ORIGINS[rng.integers(len(ORIGINS))]
        jag = rng.uniform(0.2, 0.7) if rng.random() < 0.3 else 0.0
        branches, roots = (rng.uniform(1, 3), rng.integers(2, 6)) if rng.random() < 0.75 else (0.0, rng.integers(3, 12))
        width, length, bend = rng.uniform(*width_px) / 128, rng.uniform(0.4, 1.1), rng.uniform(0.04, 0.25)
        return cls(label, width, int(roots), length, branches, bend, jag, origin)

    def grow(self, canvas: ImageDraw.ImageDraw, rng: Rng) -> None:
        """Draw all lines of a subject."""
        point = rng.uniform(0.2, 0.8, 2)
        for _ in range(1 + rng.poisson(self.roots - 1)):
            heading = rng.uniform(0, 2 * np.pi)
            start = {
                "anywhere": rng.uniform(0, 1, 2),
                "border": 0.5 - 0.5 * np.array([np.cos(heading), np.sin(heading)]) + rng.normal(0, 0.15, 2),
                "point": point,
            }[self.origin]
            for points, width in self._branch(_Twig(start, heading, self.length, self.width), 2, rng):
                _line(canvas, points, width, self.label)

    def _branch(self, twig: "_Twig", depth: int, rng: Rng) -> Iterator[tuple[np.ndarray, float]]:
        """Yield the points and the width of a line and of all its branches."""
        steps = max(4, int(40 * twig.length * rng.uniform(0.7, 1.2)))
        headings = twig.heading + np.cumsum(rng.normal(0, self.bend, steps)) + rng.normal(0, self.jag, steps)
        points = twig.start + np.cumsum(np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0) / 40
        yield points, twig.width
        if depth:
            for at in rng.integers(steps // 5, steps, rng.poisson(self.branches)):
                turn = rng.choice([-1, 1]) * rng.uniform(0.3, 1.1)
                thinner = _Twig(points[at], headings[at] + turn, 0.6 * twig.length, 0.75 * twig.width)
                yield from self._branch(thinner, depth - 1, rng)


@dataclass(frozen=True)
class _Twig:
    """Start, heading, length and width of a line."""

    start: np.ndarray
    heading: float
    length: float
    width: float


def _polygon(canvas: ImageDraw.ImageDraw, points: np.ndarray, label: int) -> None:
    canvas.polygon((points * canvas.im.size[0]).ravel().tolist(), fill=label)


def _line(canvas: ImageDraw.ImageDraw, points: np.ndarray, width: float, label: int) -> None:
    """Draw a line that is at least one pixel of the image wide."""
    side = canvas.im.size[0]
    canvas.line((points * side).ravel().tolist(), fill=label, width=max(2, round(width * side)), joint="curve")
