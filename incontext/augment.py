"""Task augmentation (one draw for all images of a set) and in-task augmentation (one draw per image).

Geometry is one warp: both levels' affine maps and elastic fields are composed before the single resampling, so that
labels stay as sharp as images. Intensities go through kornia. Ranges follow UniverSeg's recipe where one is published.
All draws come from torch's global generator (kornia knows no other): seed it first.
"""

from functools import cache

import torch
from einops import rearrange
from jaxtyping import Float
from kornia import augmentation as K
from torch import Tensor
from torch.nn import functional as F

ELASTIC_CELLS = 6  # the displacement field is drawn on a grid of 6×6 and interpolated


def augment(
    images: Float[Tensor, "B n 1 H W"], labels: Float[Tensor, "B n 1 H W"]
) -> tuple[Float[Tensor, "B n 1 H W"], Float[Tensor, "B n 1 H W"]]:
    """Make new tasks out of B sets of labelled images; images stay in [0, 1], labels in {0, 1}."""
    images, labels = warp(images, labels)
    images = choose(0.5, 1 - images, images)
    images = _intensities(same_on_frame=True)(images)
    images = rearrange(
        _intensities(same_on_frame=False)(rearrange(images, "B n one H W -> (B n) 1 one H W")),
        "(B n) 1 one H W -> B n one H W",
        n=images.shape[1],
    )
    return images.clamp(0, 1), _vary_labels(labels)


def warp(
    images: Float[Tensor, "B n 1 H W"], labels: Float[Tensor, "B n 1 H W"]
) -> tuple[Float[Tensor, "B n 1 H W"], Float[Tensor, "B n 1 H W"]]:
    """Move sets by one random warp each, and every image by a slighter one of its own."""
    sets, count, _, height, width = images.shape
    of_task = random_affine(sets, rotation=torch.pi, shift=0.15, scale=(0.75, 1.4), flip=0.5)
    of_task = choose(0.6, of_task, _identity(sets))
    of_image = random_affine(sets * count, rotation=0.35, shift=0.1, scale=(0.85, 1.15), flip=0.0)
    of_image = choose(0.6, of_image, _identity(sets * count))
    affine = of_task.repeat_interleave(count, 0) @ of_image
    grid = F.affine_grid(affine[:, :2], [sets * count, 1, height, width], align_corners=False)
    grid = grid + elastic_field(sets, height, width, chance=0.25).repeat_interleave(count, 0)
    grid = grid + elastic_field(sets * count, height, width, chance=0.7)
    both = rearrange(torch.cat([images, labels], 2), "B n pair H W -> (B n) pair H W")
    moved = F.grid_sample(both, grid.to(both), mode="bilinear", align_corners=False)
    moved = rearrange(moved, "(B n) pair H W -> B n pair 1 H W", n=count)
    return moved[:, :, 0], (moved[:, :, 1] >= 0.5).to(labels.dtype)


def random_affine(
    count: int, rotation: float, shift: float, scale: tuple[float, float], flip: float
) -> Float[Tensor, "count 3 3"]:
    """Random maps from output to input coordinates in [-1, 1].

    Args:
        count: How many to draw.
        rotation: Largest angle in radians, either way.
        shift: Largest translation as a share of the image side.
        scale: Range of the magnification.
        flip: Probability of mirroring, for each axis.
    """
    angle = (torch.rand(count) * 2 - 1) * rotation
    zoom = 1 / torch.empty(count).uniform_(*scale)
    mirror = 1 - 2 * (torch.rand(count, 2) < flip).float()
    affine = _identity(count)
    affine[:, 0, 0], affine[:, 0, 1] = angle.cos() * zoom, -angle.sin() * zoom
    affine[:, 1, 0], affine[:, 1, 1] = angle.sin() * zoom, angle.cos() * zoom
    affine[:, :2, :2] *= mirror[:, None]
    affine[:, :2, 2] = (torch.rand(count, 2) * 2 - 1) * 2 * shift
    return affine


def elastic_field(count: int, height: int, width: int, chance: float) -> Float[Tensor, "count H W 2"]:
    """Smooth random displacements in coordinates of [-1, 1]; zero for those that chance leaves out."""
    strength = torch.empty(count, 1, 1, 1).uniform_(0.01, 0.04) * (torch.rand(count, 1, 1, 1) < chance)
    coarse = torch.randn(count, 2, ELASTIC_CELLS, ELASTIC_CELLS) * strength
    field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    return rearrange(field, "count xy H W -> count H W xy")


@cache
def _intensities(same_on_frame: bool) -> K.VideoSequential:
    """Photometric changes, one draw per set or per image; independent images are sets of one frame."""
    chance = 0.4 if same_on_frame else 0.25
    return K.VideoSequential(
        K.RandomBrightness((0.85, 1.15), p=chance),
        K.RandomContrast((0.7, 1.4), p=chance),
        K.RandomGamma((0.7, 1.5), p=chance),
        K.RandomGaussianBlur((5, 5), (0.1, 1.1), p=chance / 2),
        K.RandomSharpness(5.0, p=chance / 2),
        K.RandomGaussianNoise(0.0, 0.05, p=0.0 if same_on_frame else 0.4),
        data_format="BTCHW",
        same_on_frame=same_on_frame,
    )


def _vary_labels(labels: Tensor) -> Tensor:
    """Sometimes ask for the outline, sometimes for the complement, so that only the support tells what is wanted."""
    flat = labels.flatten(0, 1)
    outline = (F.max_pool2d(flat, 3, 1, 1) + F.max_pool2d(-flat, 3, 1, 1)).view_as(labels)
    labels = choose(0.1, outline, labels)
    return choose(0.1, 1 - labels, labels)


def choose(
    chance: float, changed: Float[Tensor, "N *rest"], kept: Float[Tensor, "N *rest"]
) -> Float[Tensor, "N *rest"]:
    """Of each pair of items take the changed one with this chance."""
    chosen = torch.rand(len(kept), *[1] * (kept.dim() - 1)) < chance
    return torch.where(chosen.to(kept.device), changed, kept)


def _identity(count: int) -> Tensor:
    return torch.eye(3).repeat(count, 1, 1)
