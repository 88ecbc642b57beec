"""Task augmentation (one draw for all images of a set) and in-task augmentation (one draw per image).

Geometry is one resampling: the affine maps and elastic fields of both levels are composed first, so that labels stay as
sharp as images. A label that marks something still does afterwards. Ranges are near UniverSeg's where it publishes any.
All draws come from torch's global generator: seed it first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from kornia.enhance import sharpness
from kornia.filters import gaussian_blur2d
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from incontext.networks.unknown import readings
from megamed.unknown import UNKNOWN_SHARE

Chance = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class AffineRange:
    """Ranges that an affine map is drawn from."""

    rotation: float
    """Largest angle in radians, either way."""
    shift: float
    """Largest translation either way, as a share of the side."""
    scale: tuple[float, float]
    """Range of the magnification."""


SET_AFFINE = AffineRange(rotation=torch.pi, shift=0.15, scale=(0.75, 1.4))
IMAGE_AFFINE = AffineRange(rotation=0.35, shift=0.1, scale=(0.85, 1.15))
ELASTIC_CELLS = 6  # displacements are drawn on a grid of 6×6 and interpolated,
ELASTIC_STD = (0.005, 0.02)  # with a standard deviation from this range of shares of the side
BRIGHTNESS = (-0.15, 0.15)  # is added to intensities
CONTRAST = (0.7, 1.4)  # multiplies them
GAMMA = (0.7, 1.5)  # is their exponent
BLUR_PX, BLUR_STD_PX = 5, (0.1, 1.1)
SHARPNESS = (0.0, 5.0)  # 0 smooths, 1 changes nothing
NOISE_MEAN, NOISE_STD = (0.0, 0.05), (0.01, 0.08)
EDGE_PX = 2  # thickness of an outline, half of it on either side of the border
DILATION_PX = EROSION_PX = 2
ERODED_SHARE = 0.5  # a label must keep more than this of its area, or it is not eroded
FAINTEST = 1e-3  # share of a pixel that must be left of a resampled label


class TaskChances(BaseModel):
    """Chances of the changes that make another task: one draw for all images of a set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizontal_flip: Chance = 0.5
    vertical_flip: Chance = 0.5
    affine: Chance = 0.6
    """Chance of a rotation by any angle, with translation and scaling."""
    elastic: Chance = 0.25
    intensity_flip: Chance = 0.5
    """Chance to invert intensities: bright becomes dark."""
    brightness: Chance = 0.4
    contrast: Chance = 0.4
    gamma: Chance = 0.4
    blur: Chance = 0.2
    sharpness: Chance = 0.2
    noise: Chance = 0.1
    """Chance of noise of one mean and strength for the set, drawn anew for the pixels of every image."""
    edges: Chance = 0.1
    """Chance to replace labels by their outline."""
    dilation: Chance = 0.1
    erosion: Chance = 0.1
    """Chance to erode labels, left out for sets with a label that would lose half its area."""
    label_flip: Chance = 0.1
    """Chance to exchange foreground and background in the labels."""


class ImageChances(BaseModel):
    """Chances of the changes that make the images of a set differ: one draw per image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    affine: Chance = 0.6
    """Chance of a slight rotation, translation and scaling."""
    elastic: Chance = 0.7
    brightness: Chance = 0.25
    contrast: Chance = 0.25
    gamma: Chance = 0.25
    blur: Chance = 0.12
    sharpness: Chance = 0.12
    noise: Chance = 0.4


class AugmentConfig(BaseModel):
    """Chance of each change; the ranges of its strength are constants of the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: TaskChances = TaskChances()
    image: ImageChances = ImageChances()

    @classmethod
    def only(cls, task: dict[str, float] | None = None, image: dict[str, float] | None = None) -> "AugmentConfig":
        """Configure some chances and set all others to zero: `AugmentConfig.only(task={"edges": 1.0})`."""
        return cls(
            task=TaskChances.model_validate(dict.fromkeys(TaskChances.model_fields, 0.0) | (task or {})),
            image=ImageChances.model_validate(dict.fromkeys(ImageChances.model_fields, 0.0) | (image or {})),
        )


DEFAULT = AugmentConfig()


def augment(
    images: Float[Tensor, "B n 1 H W"], labels: Float[Tensor, "B n 1 H W"], config: AugmentConfig = DEFAULT
) -> tuple[Float[Tensor, "B n 1 H W"], Float[Tensor, "B n 1 H W"]]:
    """Make new tasks out of B sets of labelled images; images stay in [0, 1], labels in {0, 1} or unknown."""
    images, labels = warp(images, labels, config)
    frames = sometimes(config.task.intensity_flip, complement, images[:, :, 0])
    frames = vary_intensities(frames, config.task)
    frames = vary_intensities(rearrange(frames, "B n H W -> (B n) 1 H W"), config.image)
    return frames.view_as(images), vary_labels(labels, config.task)


def sometimes(
    chance: float, change: Callable[[Tensor], Tensor], items: Float[Tensor, "N *rest"]
) -> Float[Tensor, "N *rest"]:
    """Change some of the items, each with this chance; the others stay exactly as they are and cost nothing."""
    drawn = torch.rand(len(items)) < chance
    if not drawn.any():
        return items
    items = items.clone()
    items[drawn] = change(items[drawn])
    return items


def warp(
    images: Float[Tensor, "B n 1 H W"], labels: Float[Tensor, "B n 1 H W"], config: AugmentConfig = DEFAULT
) -> tuple[Float[Tensor, "B n 1 H W"], Float[Tensor, "B n 1 H W"]]:
    """Move sets by one random warp each, and every image by a slighter one of its own.

    An image whose label would be lost moves with its set only; a set that would still lose one stays where it is.
    """
    sets, count, _, height, width = images.shape
    affine, field = draw_warp(sets, (height, width), SET_AFFINE, config.task)
    affine = sometimes(config.task.horizontal_flip, lambda maps: maps * torch.tensor([[-1.0], [1], [1]]), affine)
    affine = sometimes(config.task.vertical_flip, lambda maps: maps * torch.tensor([[1.0], [-1], [1]]), affine)
    affine, field = affine.repeat_interleave(count, 0), field.repeat_interleave(count, 0)
    own_affine, own_field = draw_warp(sets * count, (height, width), IMAGE_AFFINE, config.image)

    pairs = rearrange(torch.cat([images, labels], 2), "B n pair H W -> (B n) pair H W")
    moved = resample(pairs, affine @ own_affine, field + own_field)
    lost = has_lost(moved[:, 1], pairs[:, 1]).cpu()
    moved[lost] = resample(pairs[lost], affine[lost], field[lost])
    lost = has_lost(moved[:, 1], pairs[:, 1]).view(sets, count).any(1).repeat_interleave(count)
    moved[lost] = pairs[lost]
    return tuple(rearrange(moved, "(B n) pair H W -> pair B n 1 H W", B=sets))


def draw_warp(
    count: int, size_px: tuple[int, int], ranges: AffineRange, chances: TaskChances | ImageChances
) -> tuple[Float[Tensor, "count 3 3"], Float[Tensor, "count H W 2"]]:
    """Maps from output to input coordinates in [-1, 1], and displacements to add to them; some do nothing."""
    height, width = size_px
    affine = torch.eye(3).repeat(count, 1, 1)
    field = torch.zeros(count, height, width, 2)
    affine = sometimes(chances.affine, lambda drawn: random_affine(len(drawn), ranges, width / height), affine)
    return affine, sometimes(chances.elastic, lambda drawn: elastic_field(len(drawn), height, width), field)


def random_affine(count: int, ranges: AffineRange, aspect: float = 1.0) -> Float[Tensor, "count 3 3"]:
    """Random maps from output to input coordinates in [-1, 1].

    Args:
        count: Number of maps to draw.
        ranges: Ranges to draw them from.
        aspect: Width over height of the image, so that what is rotated keeps its shape.
    """
    angle = uniform(count, -ranges.rotation, ranges.rotation)
    zoom = 1 / uniform(count, *ranges.scale)
    affine = torch.eye(3).repeat(count, 1, 1)
    affine[:, 0, 0], affine[:, 0, 1] = angle.cos() * zoom, -angle.sin() * zoom / aspect
    affine[:, 1, 0], affine[:, 1, 1] = angle.sin() * zoom * aspect, angle.cos() * zoom
    affine[:, :2, 2] = uniform((count, 2), -2 * ranges.shift, 2 * ranges.shift)
    return affine


def elastic_field(count: int, height: int, width: int) -> Float[Tensor, "count H W 2"]:
    """Smooth random displacements in coordinates of [-1, 1]."""
    coarse = torch.randn(count, 2, ELASTIC_CELLS, ELASTIC_CELLS) * uniform((count, 1, 1, 1), *ELASTIC_STD) * 2
    field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    return rearrange(field, "count xy H W -> count H W xy")


def resample(
    pairs: Float[Tensor, "N 2 H W"], affine: Float[Tensor, "N 3 3"], field: Float[Tensor, "N H W 2"]
) -> Float[Tensor, "N 2 H W"]:
    """Images and labels where a warp takes them; what it does not move stays as it is, to the last bit.

    What comes from pixels that nobody judged is unknown, if it matters how these are read.
    """
    moves = (affine != torch.eye(3)).flatten(1).any(1) | (field != 0).flatten(1).any(1)
    if not moves.any():
        return pairs.clone()
    grid = F.affine_grid(affine[moves, :2], list(pairs[moves].shape), align_corners=False) + field[moves]
    channels = torch.cat([pairs[moves, :1], readings(pairs[moves, 1:])], 1)
    sampled = F.grid_sample(channels, grid.to(pairs), align_corners=False)
    image, soft_labels = sampled[:, :1], sampled[:, 1:]
    # A label of less than a pixel's width falls below one half everywhere: then its strongest pixels stand for it.
    threshold = soft_labels.amax((-2, -1), keepdim=True).clamp(FAINTEST, 0.5)
    moved = pairs.clone()
    moved[moves] = torch.cat([image, (soft_labels >= threshold).to(image).mean(1, keepdim=True)], 1)
    return moved


def vary_intensities(
    images: Float[Tensor, "N frames H W"], chances: TaskChances | ImageChances
) -> Float[Tensor, "N frames H W"]:
    """Change brightness, contrast, gamma and the like; frames, the channels of an item, share its draws."""
    for name, change in INTENSITY_CHANGES.items():
        images = sometimes(getattr(chances, name), change, images).clamp(0, 1)
    return images


def uniform(shape: int | tuple[int, ...], low: float, high: float) -> Tensor:
    """Random numbers between two bounds."""
    return torch.empty(shape).uniform_(low, high)


def per_item(images: Tensor, bounds: tuple[float, float]) -> Float[Tensor, "N 1 1 1"]:
    """A random number for each item of a batch."""
    return uniform((len(images), 1, 1, 1), *bounds).to(images)


def blur(images: Float[Tensor, "N frames H W"]) -> Float[Tensor, "N frames H W"]:
    """Blur each item by a Gaussian of its own width, in pixels from `BLUR_STD_PX`."""
    std_px = per_item(images, BLUR_STD_PX).view(-1, 1).expand(-1, 2)
    return gaussian_blur2d(images, (BLUR_PX, BLUR_PX), std_px)


def sharpen(images: Float[Tensor, "N frames H W"]) -> Float[Tensor, "N frames H W"]:
    """Enhance or smooth fine detail."""
    return sharpness(images, per_item(images, SHARPNESS).flatten())


def add_noise(images: Float[Tensor, "N frames H W"]) -> Float[Tensor, "N frames H W"]:
    """Add Gaussian noise to each item, of a mean and a strength of its own."""
    return images + per_item(images, NOISE_MEAN) + per_item(images, NOISE_STD) * torch.randn(images.shape).to(images)


INTENSITY_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": lambda images: images + per_item(images, BRIGHTNESS),
    "contrast": lambda images: images * per_item(images, CONTRAST),
    "gamma": lambda images: images ** per_item(images, GAMMA),
    "blur": blur,
    "sharpness": sharpen,
    "noise": add_noise,
}
"""Changes of intensity by the name of their chance; each maps (N, frames, H, W) to the same shape."""


def vary_labels(labels: Float[Tensor, "B n 1 H W"], chances: TaskChances) -> Float[Tensor, "B n 1 H W"]:
    """Change the task of the same images, so that only the support defines what to segment."""
    for chance, change, least_share in (
        (chances.edges, edges, 0.0),
        (chances.dilation, partial(dilate, reach_px=DILATION_PX), 0.0),
        (chances.erosion, partial(erode, reach_px=EROSION_PX), ERODED_SHARE),
        (chances.label_flip, complement, 0.0),
    ):
        labels = sometimes(chance, partial(unless_lost, change=change, least_share=least_share), labels)
    return labels


def unless_lost(
    labels: Float[Tensor, "B n 1 H W"], change: Callable[[Tensor], Tensor], least_share: float
) -> Float[Tensor, "B n 1 H W"]:
    """Changed labels, or a set's own if the change leaves any of them no more than this share of its area."""
    changed = change(labels)
    lost = has_lost(changed.flatten(0, 2), labels.flatten(0, 2), least_share).view(labels.shape[:2]).any(1)
    return torch.where(lost.view(-1, 1, 1, 1, 1), labels, changed)


def has_lost(
    after: Float[Tensor, "N H W"], before: Float[Tensor, "N H W"], least_share: float = 0.0
) -> Bool[Tensor, " N"]:
    """Whether labels have kept at most this share of their area; empty ones count as kept."""
    area, kept = ((labels > UNKNOWN_SHARE).sum((1, 2)) for labels in (before, after))
    return (area > 0) & (kept <= least_share * area)


def dilate(labels: Float[Tensor, "B n 1 H W"], reach_px: int) -> Float[Tensor, "B n 1 H W"]:
    """Dilate labels by a square with sides of `2 * reach_px + 1` pixels."""
    side_px = 2 * reach_px + 1
    rows = F.max_pool2d(labels.flatten(0, 1), (1, side_px), 1, (0, reach_px))
    return F.max_pool2d(rows, (side_px, 1), 1, (reach_px, 0)).view_as(labels)


def erode(labels: Float[Tensor, "B n 1 H W"], reach_px: int) -> Float[Tensor, "B n 1 H W"]:
    """Erode labels by a square with sides of `2 * reach_px + 1` pixels; the border of the image erodes nothing."""
    return complement(dilate(complement(labels), reach_px))


def edges(labels: Float[Tensor, "B n 1 H W"]) -> Float[Tensor, "B n 1 H W"]:
    """Outlines of labels, half of their thickness on either side of the border."""
    return torch.minimum(dilate(labels, EDGE_PX // 2), complement(erode(labels, EDGE_PX // 2)))


def complement(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Complement of values in [0, 1]: one minus each."""
    return 1 - values
