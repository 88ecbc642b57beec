"""Rendering of label maps: intensities, texture, bias field, blur, resolution and noise that a task's images share."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from incontext.synthesis.anatomies import Anatomy
from incontext.synthesis.shapes import Rng, separable, smooth_noise, unit_grid


@dataclass(frozen=True)
class Scene:
    """The labels and the foreground of one task, for which an appearance is drawn."""

    labels: np.ndarray
    """Values that occur in the label maps, sorted."""
    structure: tuple[int, ...]
    """Labels that form the foreground."""
    anatomy: Anatomy


@dataclass(frozen=True)
class Appearance:
    """Parameters by which the label maps of one task are rendered."""

    means: Float32[np.ndarray, "256"]
    """Mean intensity of each label."""
    strengths: Float32[np.ndarray, "3 256"]
    """Amplitude of the three textures (grain, blotches, stripes) in each label."""
    noise_cells: tuple[int, int]
    """Number of cells along a side of the smooth noise that makes grain and blotches."""
    stripes: tuple[float, float]
    """Spatial frequency of the stripes along x and y, in cycles per half side."""
    acquire: tuple[np.ndarray, np.ndarray]
    """Matrices that blur rows and columns and sample them at the scanner's resolution."""
    interpolate: tuple[np.ndarray, np.ndarray]
    """Matrices that interpolate the scanner's rows and columns to those of the image."""
    noise: float
    """Standard deviation of the scanner's Gaussian noise, for intensities in [0, 1]."""
    bias: float
    """Standard deviation of the logarithm of the bias field."""


def draw_appearance(scene: Scene, size_px: int, rng: Rng) -> Appearance:
    """Draw the appearance of a task; copied labels take over that of their originals."""
    means, strengths = (_by_texture if scene.anatomy.by_texture else _by_mean)(scene, rng)
    for copy, original in scene.anatomy.twins:
        means[copy], strengths[:, copy] = means[original], strengths[:, original]
    noise_cells = int(rng.integers(size_px // 5, size_px // 2)), int(rng.integers(6, 20))
    angle, cycles = rng.uniform(0, np.pi), rng.uniform(4, 16)
    stripes = cycles * np.cos(angle), cycles * np.sin(angle)
    coarse = rng.uniform(1, 2.2, 2) if rng.random() < 0.3 else np.ones(2)
    rows, columns = (optics(size_px, round(size_px / c), c * rng.uniform(0.3, 0.9)) for c in coarse)
    noise, bias = rng.uniform(0, 0.1) * rng.choice([0.3, 1]), rng.uniform(0, 0.3)
    acquire, interpolate = zip(rows, columns, strict=True)
    return Appearance(means, strengths, noise_cells, stripes, acquire, interpolate, noise, bias)


def _by_mean(scene: Scene, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Spread means evenly over the labels, in most tasks the foreground's at one end, and add a little texture."""
    order = rng.permutation(scene.labels)
    if rng.random() < 0.7:
        at, end = int(np.isin(order, scene.structure).argmax()), int(rng.choice([0, len(order) - 1]))
        order[[at, end]] = order[[end, at]]
    means = np.zeros(256, np.float32)
    means[order] = rng.uniform(0.25, 1) * (np.arange(len(order)) + rng.uniform(0.2, 0.8, len(order))) / len(order)
    backgrounds = scene.labels[scene.labels < scene.anatomy.backgrounds]
    if len(backgrounds):
        means[backgrounds] += rng.uniform(0, 0.9) * (means[backgrounds].mean() - means[backgrounds])
    usual = np.array([[0.06], [0.05], [0.02]])
    return means, (rng.uniform(0, 1.3) * usual * rng.gamma(0.7, size=(3, 256))).astype(np.float32)


def _by_texture(scene: Scene, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Give all labels one mean intensity, and each another one of the textures, or none."""
    strengths = np.zeros((3, 256), np.float32)
    for label, texture in zip(scene.labels, rng.permutation(4), strict=False):
        if texture < 3:
            strengths[texture, label] = rng.uniform(0.1, 0.25)
    return np.full(256, 0.5, np.float32), strengths


def optics(size_px: int, resolved_px: int, blur_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Make the matrices that blur a line of pixels into fewer ones, and interpolate these back linearly."""
    pixels, resolved = np.arange(size_px), (np.arange(resolved_px) + 0.5) * size_px / resolved_px - 0.5
    distance = np.abs(resolved[:, None] - pixels)
    acquire = np.exp(-0.5 * (distance / blur_px) ** 2)
    interpolate = np.clip(1 - distance.T * resolved_px / size_px, 1e-6, None)
    return _averaging(acquire), _averaging(interpolate)


def _averaging(weights: np.ndarray) -> Float32[np.ndarray, "outputs inputs"]:
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def render(label_map: np.ndarray, appearance: Appearance, rng: Rng) -> UInt8[np.ndarray, "H W"]:
    """Render the image of one subject from its label map (2H, 2W).

    Means are averaged over 2×2 labels, which makes partial volumes; then come textures, the bias field, the scanner's
    blur, its noise, and interpolation back to (H, W).
    """
    size_px = len(label_map) // 2
    means = (appearance.means + rng.normal(0, 0.015, 256).astype(np.float32))[label_map]
    image = (means[::2, ::2] + means[1::2, ::2] + means[::2, 1::2] + means[1::2, 1::2]) / 4
    x, y = unit_grid(size_px)
    blotches = smooth_noise(1, size_px, appearance.noise_cells[1], rng)[0]
    phase = np.pi * (appearance.stripes[0] * x + appearance.stripes[1] * y) + blotches + np.float32(rng.uniform(0, 7))
    textures = smooth_noise(1, size_px, appearance.noise_cells[0], rng)[0], blotches, np.sqrt(2) * np.sin(phase)
    middle = label_map[::2, ::2]
    for texture, strength in zip(textures, appearance.strengths, strict=True):
        image += strength[middle] * texture
    image *= np.exp(appearance.bias * smooth_noise(1, size_px, 2, rng)[0])
    image = separable(appearance.acquire[0], image, appearance.acquire[1])
    image += appearance.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return scaled(separable(appearance.interpolate[0], image, appearance.interpolate[1]))


def scaled(image: Float32[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Scale intensities to 0 to 255; a constant image becomes 0."""
    low, high = image.min(), image.max()
    return (255 / max(high - low, 1e-6) * (image - low)).round().astype(np.uint8)
