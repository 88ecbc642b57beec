"""Draw the picture of docs/synthetic-tasks.md: `python docs/pictures_synthetic.py`.

Each row is one family: four subjects of one task and four of another, the label outlined. Fifteen greys and one colour
keep the file small.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from incontext.synthesis.anatomies import FAMILIES
from incontext.synthesis.tasks import superpixel_set, synthetic_set

SIZE_PX, SUBJECTS, GAP_PX, CAPTION_PX = 112, 4, 4, 14
SEEDS = (13, 23)
WHITE, ORANGE = 14, 15
PALETTE = [grey * 255 // WHITE for grey in range(WHITE + 1) for _ in "RGB"] + [255, 140, 0]


def outlined(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The image with the label's inner border, in colours of the palette."""
    padded = np.pad(label, 1)
    around = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    border = (label == 1) & (around.min(axis=0) == 0)
    return np.where(border, ORANGE, np.round(image / 255 * WHITE)).astype(np.uint8)


def row(name: str, seed: int) -> np.ndarray:
    """The subjects of one task side by side."""
    rng = np.random.default_rng(seed)
    if name == "superpixels":
        images, labels = superpixel_set(synthetic_set(1, SIZE_PX, rng, "regions")[0][0], SUBJECTS, rng)
    else:
        images, labels = synthetic_set(SUBJECTS, SIZE_PX, rng, name)
    return np.hstack([outlined(image, label) for image, label in zip(images, labels, strict=True)])


def main() -> None:
    """Draw all rows and write the picture beside this file."""
    names = (*FAMILIES, "superpixels")
    width, height = len(SEEDS) * (SUBJECTS * SIZE_PX + GAP_PX), SIZE_PX + CAPTION_PX
    picture = Image.new("P", (width, len(names) * height), WHITE)
    picture.putpalette(PALETTE)
    for index, name in enumerate(names):
        ImageDraw.Draw(picture).text((2, index * height + 1), name, 0)
        for column, seed in enumerate(SEEDS):
            corner = column * (SUBJECTS * SIZE_PX + GAP_PX), index * height + CAPTION_PX
            picture.paste(Image.fromarray(row(name, seed)), corner)
    picture.save(Path(__file__).with_name("synthetic-tasks.png"), optimize=True)


if __name__ == "__main__":
    main()
