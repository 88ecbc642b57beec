"""Draws `augmentation.png`: what each change of `incontext.training.augment` does to two images of a set.

Run it with `python docs/pictures_augmentation.py`. The images are phantoms made of ellipses.
"""

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from incontext.training.augment import AugmentConfig, ImageChances, TaskChances, augment

Set = tuple[Tensor, Tensor]
"""Images and labels (1, 2, 1, H, W)."""

SIZE_PX = 96
GAP_PX = 5
DRAWS = 12
"""Of so many draws of a change the picture shows the one that changes most."""
TINT = np.array([1.0, 0.45, 0.1])
OUT = Path(__file__).with_name("augmentation.png")


def ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> Tensor:
    """A filled ellipse with a border one pixel soft, in coordinates of [-1, 1]."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE_PX), torch.linspace(-1, 1, SIZE_PX), indexing="ij")
    angle = torch.tensor(degrees).deg2rad()
    along = (x - centre[0]) * angle.cos() + (y - centre[1]) * angle.sin()
    across = (y - centre[1]) * angle.cos() - (x - centre[0]) * angle.sin()
    distance = (1 - ((along / radii[0]) ** 2 + (across / radii[1]) ** 2).sqrt()) * min(radii)
    return (distance * SIZE_PX / 2 + 0.5).clamp(0, 1)


def phantom(shift: float, growth: float) -> tuple[Tensor, Tensor]:
    """A trunk with spine, vessel and kidneys, and the organ that is asked for."""
    body, organ = torch.zeros(2, SIZE_PX, SIZE_PX)
    shapes = [
        (ellipse((0, 0), (0.96, 0.78)), 0.55),
        (ellipse((0, 0.02), (0.9, 0.71)), 0.3),
        (ellipse((0.02 + shift, 0.4), (0.15, 0.13)), 0.9),
        (ellipse((0.02 + shift, 0.13), (0.08, 0.08)), 0.72),
        (ellipse((0.5, 0.32 + shift), (0.11 * growth, 0.19), 20), 0.62),
        (ellipse((-0.47, 0.36 - shift), (0.12, 0.18 * growth), -20), 0.62),
        (ellipse((0.42, -0.25 + shift), (0.3, 0.17), 30 - 200 * shift), 0.16),
    ]
    for shape, grey in shapes:
        body = torch.lerp(body, torch.tensor(grey), shape)
    for shape in (ellipse((-0.36, -0.2 + shift), (0.42, 0.3 * growth), 15), ellipse((-0.05, -0.35), (0.3, 0.1))):
        organ = torch.maximum(organ, shape)
    return torch.lerp(body, torch.tensor(0.5), organ), (organ >= 0.5).float()


def phantoms() -> Set:
    """Two subjects."""
    images, labels = zip(phantom(-0.03, 1.0), phantom(0.05, 0.85), strict=True)
    return torch.stack(images)[None, :, None], torch.stack(labels)[None, :, None]


def strongest(config: AugmentConfig) -> Set:
    """The draw that changes the set most."""
    before = torch.cat(phantoms())
    draws = []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        draws.append(torch.cat(augment(*phantoms(), config)))
    images, labels = max(draws, key=lambda after: float((after - before).abs().sum()))
    return images[None], labels[None]


def one_change(level: str, names: list[str]) -> Iterator[tuple[str, Set]]:
    """Rows of the changes of a level, each alone."""
    for name in names:
        yield name.replace("_", " "), strongest(AugmentConfig.only(**{level: {name: 1.0}}))


def default_draws(count: int) -> Iterator[tuple[str, Set]]:
    """Rows of both levels at their default chances, as training sees them."""
    for seed in range(count):
        torch.manual_seed(seed)
        yield f"draw {seed + 1}", augment(*phantoms())


def tinted(image: Tensor, label: Tensor) -> np.ndarray:
    """The image with its label in colour (H, W, 3)."""
    grey = image.squeeze().numpy()[..., None].repeat(3, -1)
    return np.where(label.squeeze().numpy()[..., None] > 0, 0.5 * grey + 0.5 * TINT, grey)


def strip(after: Set) -> np.ndarray:
    """Before and after of either image side by side, the two images a little apart."""
    tiles = [tinted(s[0][0, i], s[1][0, i]) for i in range(2) for s in (phantoms(), after)]
    gaps = (GAP_PX, 3 * GAP_PX, GAP_PX, 0)
    padded = [
        np.pad(tile, ((0, GAP_PX), (0, gap), (0, 0)), constant_values=1) for tile, gap in zip(tiles, gaps, strict=True)
    ]
    return np.concatenate(padded, 1)


def draw_block(ax: Axes, title: str, rows: list[tuple[str, Set]]) -> None:
    """One row a change, and before and after of either image in it."""
    ax.imshow(np.concatenate([strip(after) for _, after in rows]), interpolation="nearest")
    step = SIZE_PX + GAP_PX
    ax.set_yticks([step * i + SIZE_PX / 2 for i in range(len(rows))], [name for name, _ in rows], fontsize=10)
    columns = [SIZE_PX / 2 + x for x in (0, step, 2 * step + 2 * GAP_PX, 3 * step + 2 * GAP_PX)]
    ax.set_xticks(columns, ["before", "after"] * 2, fontsize=9)
    ax.xaxis.tick_top()
    ax.tick_params(length=0, pad=2)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=12, fontweight="bold", loc="left", pad=8)
    ax.set_anchor("NW")


def main() -> None:
    """Write the picture."""
    task = list(one_change("task", list(TaskChances.model_fields)))
    image = list(one_change("image", list(ImageChances.model_fields)))
    both = list(default_draws(len(task) - len(image) - 1))
    figure = plt.figure(figsize=(10.4, 16.3), dpi=100)
    axes = figure.subplot_mosaic(
        [["task", "image"], ["task", "both"]],
        height_ratios=(len(image) + 0.5, len(both) + 0.5),
        gridspec_kw={"left": 0.105, "right": 0.995, "top": 0.965, "bottom": 0, "wspace": 0.2, "hspace": 0.06},
    )
    draw_block(axes["task"], "Task: one draw for the set", task)
    draw_block(axes["image"], "In-task: one draw per image", image)
    draw_block(axes["both"], "Both levels at their default chances", both)
    figure.savefig(OUT)
    Image.open(OUT).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
