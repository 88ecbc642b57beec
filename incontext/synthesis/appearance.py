"""From label maps to images: what one scanner, with its blur, noise and uneven light, makes of a task's anatomy."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from incontext.synthesis.anatomies import Anatomy
from incontext.synthesis.shapes import Rng, separable, smooth_noise, unit_grid


@dataclass(frozen=True)
class Scene:
    """What there is to colour."""

    labels: np.ndarray
    """Those that occur."""
    structure: tuple[int, ...]
    """The foreground."""
    anatomy: Anatomy


@dataclass(frozen=True)
class Look:
    """How the labels of one task appear in its images."""

    means: Float32[np.ndarray, "256"]
    grains: Float32[np.ndarray, "3 256"]
    """Strength of grain, blotches and stripes in each label."""
    hills: tuple[int, int]
    """Along a side, of grain and of blotches."""
    stripes: tuple[float, float]
    """Cycles in half a side, along x and y."""
    shrink: tuple[np.ndarray, np.ndarray]
    """What the scanner makes of rows and of columns: blurred and of its own resolution."""
    grow: tuple[np.ndarray, np.ndarray]
    """From there to the rows and columns of the image."""
    noise: float
    """Standard deviation."""
    bias: float
    """Standard deviation of the logarithm of the light."""


def draw_look(scene: Scene, size_px: int, rng: Rng) -> Look:
    """Means spread evenly over the labels, in most tasks that of the foreground at one end."""
    means, grains = (_by_texture if scene.anatomy.by_texture else _by_mean)(scene, rng)
    for copy, original in scene.anatomy.twins:
        means[copy], grains[:, copy] = means[original], grains[:, original]
    hills = int(rng.integers(size_px // 5, size_px // 2)), int(rng.integers(6, 20))
    angle, cycles = rng.uniform(0, np.pi), rng.uniform(4, 16)
    stripes = cycles * np.cos(angle), cycles * np.sin(angle)
    coarse = rng.uniform(1, 2.2, 2) if rng.random() < 0.3 else np.ones(2)
    rows, columns = (optics(size_px, round(size_px / c), c * rng.uniform(0.3, 0.9)) for c in coarse)
    noise, bias = rng.uniform(0, 0.1) * rng.choice([0.3, 1]), rng.uniform(0, 0.3)
    return Look(means, grains, hills, stripes, (rows[0], columns[0]), (rows[1], columns[1]), noise, bias)


def _by_mean(scene: Scene, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Means spread evenly over the labels, in most tasks that of the foreground at one end, and a little texture."""
    order = rng.permutation(scene.labels)
    if rng.random() < 0.7:
        at, end = int(np.isin(order, scene.structure).argmax()), int(rng.choice([0, len(order) - 1]))
        order[[at, end]] = order[[end, at]]
    means = np.zeros(256, np.float32)
    means[order] = rng.uniform(0.25, 1) * (np.arange(len(order)) + rng.uniform(0.2, 0.8, len(order))) / len(order)
    ground = scene.labels[scene.labels < scene.anatomy.ground]
    if len(ground):
        means[ground] += rng.uniform(0, 0.9) * (means[ground].mean() - means[ground])
    usual = np.array([[0.06], [0.05], [0.02]])
    return means, (rng.uniform(0, 1.3) * usual * rng.gamma(0.7, size=(3, 256))).astype(np.float32)


def _by_texture(scene: Scene, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """One mean for all labels, and for each one of the textures or none."""
    grains = np.zeros((3, 256), np.float32)
    for label, texture in zip(scene.labels, rng.permutation(4), strict=False):
        if texture < 3:
            grains[texture, label] = rng.uniform(0.1, 0.25)
    return np.full(256, 0.5, np.float32), grains


def optics(size_px: int, resolved_px: int, blur_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Matrices from a line of pixels to fewer, blurred ones, and back by linear interpolation."""
    pixels, resolved = np.arange(size_px), (np.arange(resolved_px) + 0.5) * size_px / resolved_px - 0.5
    distance = np.abs(resolved[:, None] - pixels)
    shrink = np.exp(-0.5 * (distance / blur_px) ** 2)
    grow = np.clip(1 - distance.T * resolved_px / size_px, 1e-6, None)
    return _averaging(shrink), _averaging(grow)


def _averaging(weights: np.ndarray) -> Float32[np.ndarray, "outputs inputs"]:
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def photograph(label_map: np.ndarray, look: Look, rng: Rng) -> UInt8[np.ndarray, "H W"]:
    """The image of one subject: means with partial volume, texture, uneven light, optics, noise."""
    size_px = len(label_map) // 2
    means = (look.means + rng.normal(0, 0.015, 256).astype(np.float32))[label_map]
    image = (means[::2, ::2] + means[1::2, ::2] + means[::2, 1::2] + means[1::2, 1::2]) / 4
    x, y = unit_grid(size_px)
    blotches = smooth_noise(1, size_px, look.hills[1], rng)[0]
    phase = np.pi * (look.stripes[0] * x + look.stripes[1] * y) + blotches + np.float32(rng.uniform(0, 7))
    textures = smooth_noise(1, size_px, look.hills[0], rng)[0], blotches, np.sqrt(2) * np.sin(phase)
    middle = label_map[::2, ::2]
    for texture, strength in zip(textures, look.grains, strict=True):
        image += strength[middle] * texture
    image *= np.exp(look.bias * smooth_noise(1, size_px, 2, rng)[0])
    image = separable(look.shrink[0], image, look.shrink[1])
    image += look.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return scaled(separable(look.grow[0], image, look.grow[1]))


def scaled(image: Float32[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Intensities from 0 to 255; a constant image becomes 0."""
    low, high = image.min(), image.max()
    return (255 / max(high - low, 1e-6) * (image - low)).round().astype(np.uint8)
