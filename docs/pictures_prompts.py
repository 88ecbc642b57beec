"""Draw the picture of docs/prompts.md: `python docs/pictures_prompts.py`.

Each column is a slice of the MNI152 brain, which nilearn brings along, with one of four structures. A click is drawn as
a diamond. Eleven greys and five colours keep the file small.
"""

from pathlib import Path

import numpy as np
import torch
from nilearn import datasets
from PIL import Image, ImageDraw
from scipy import ndimage

from incontext.networks.prompted import BOX, INSIDE, OUTSIDE
from incontext.training.prompts import PromptConfig, corrections, first_prompts, join

SIZE_PX, EDGE_PX, GAP_PX, CAPTION_PX = 128, 12, 4, 14
FLUID = 0.45
"""Brightness below which it is fluid, or outside of the brain."""
SHOWN = (("white", 2, 42), ("ventricles", 2, 44), ("grey", 1, 40), ("brain", 0, 40))
"""Structures, and the axis and the index of their slices; the slice six further on is shown beside each."""
SEED = 23
WHITE, LABEL, MASK, GREEN, RED, YELLOW = range(10, 16)
GREYS = [grey * 255 // WHITE for grey in range(WHITE + 1) for _ in "RGB"]
COLOURS = [255, 140, 0, 90, 160, 255, 0, 210, 60, 235, 30, 50, 255, 225, 60]
CROSS = ndimage.generate_binary_structure(2, 1)


def slices() -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W) of 0 to 255 and their labels (N, H, W)."""
    brain = datasets.load_mni152_template(resolution=2).get_fdata()
    parts, _ = ndimage.label(brain < FLUID)
    around, *inner = np.argsort(np.bincount(parts.ravel())[1:])[::-1] + 1  # the largest is what surrounds the brain
    masks = {
        "white": datasets.load_mni152_wm_template(resolution=2).get_fdata() > 0.5,
        "grey": datasets.load_mni152_gm_template(resolution=2).get_fdata() > 0.5,
        "brain": parts != around,
        "ventricles": np.isin(parts, inner[:2]),
    }
    images, labels = [], []
    for name, axis, place in SHOWN:
        for index in (place, place + 6):
            image, label = (np.rot90(volume.take(index, axis)) for volume in (255 * brain, masks[name]))
            shown = ndimage.find_objects(image > 255 * FLUID, 1)[0]
            images.append(_fitted(image[shown], 1))
            labels.append(_fitted(label[shown].astype(float), 0) > 0)
    return np.stack(images).clip(0, 255), np.stack(labels)


def _fitted(plane: np.ndarray, order: int) -> np.ndarray:
    """Fit what is shown of a slice into the middle of a square."""
    scaled = ndimage.zoom(plane, (SIZE_PX - 2 * EDGE_PX) / max(plane.shape), order=order)
    before = [(SIZE_PX - side) // 2 for side in scaled.shape]
    return np.pad(scaled, [(first, SIZE_PX - side - first) for first, side in zip(before, scaled.shape, strict=True)])


def border(mask: np.ndarray) -> np.ndarray:
    """The inner border of a mask, which the frame of the image does not close."""
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def marked(marks: np.ndarray) -> np.ndarray:
    """Scribbles as they are, and single pixels as diamonds."""
    numbers, _ = ndimage.label(marks, np.ones((3, 3)))
    single = marks & (np.bincount(numbers.ravel())[numbers] == 1)
    return marks | ndimage.binary_dilation(single, CROSS, 2)


def row(images: np.ndarray, labels: torch.Tensor, prompts: torch.Tensor, masks: torch.Tensor | None) -> np.ndarray:
    """Images side by side, with labels, masks and prompts in colours of the palette."""
    cells = []
    for i, image in enumerate(images):
        cell = np.round(image / 255 * WHITE).astype(np.uint8)
        cell[border(labels[i, 0].numpy() > 0)] = LABEL
        if masks is not None:
            cell[border(masks[i, 0].numpy() > 0)] = MASK
        box, inside, outside = (prompts[i, channel].numpy() > 0 for channel in (BOX, INSIDE, OUTSIDE))
        cell[box & ~ndimage.binary_erosion(box)] = YELLOW
        cell[marked(inside)], cell[marked(outside)] = GREEN, RED
        cells.append(np.pad(cell, ((0, 0), (0, GAP_PX)), constant_values=WHITE))
    return np.hstack(cells)


def main() -> None:
    """Draw all rows and write the picture beside this file."""
    rng = np.random.default_rng(SEED)
    images, drawn = slices()
    labels = torch.from_numpy(drawn).float()[:, None]
    masks = torch.roll(labels, (7, -6), (2, 3))
    clicks, scribble = (
        corrections(labels, masks, rng, PromptConfig(scribbled=share, careless=0)) for share in (0.0, 1.0)
    )
    rows = {
        "where to begin": (first_prompts(labels, rng), None),
        "where to begin, drawn again": (first_prompts(labels, rng), None),
        "clicks where a mask is wrong": (clicks, masks),
        "a scribble where it is wrong, joined to the clicks": (join(clicks, scribble), masks),
    }
    height = SIZE_PX + CAPTION_PX
    picture = Image.new("P", (len(images) * (SIZE_PX + GAP_PX), len(rows) * height), WHITE)
    picture.putpalette(GREYS + COLOURS)
    for index, (caption, (prompts, over)) in enumerate(rows.items()):
        ImageDraw.Draw(picture).text((2, index * height + 1), caption, 0)
        picture.paste(Image.fromarray(row(images, labels, prompts, over)), (0, index * height + CAPTION_PX))
    picture.save(Path(__file__).with_name("prompts.png"), optimize=True)


if __name__ == "__main__":
    main()
