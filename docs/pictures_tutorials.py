"""Draw pictures of the tutorials by running what they say: `python docs/pictures_tutorials.py`."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from incontext import overlay
from incontext.cases import read_case, read_label_case
from incontext.normalise import apply, choose

TUTORIALS = Path(__file__).with_name("tutorials")
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLOURS = 64
"""Of a picture: enough to look at, and its file stays small."""
LABELLED, SHOWN = (4, 12, 20), range(2, 24, 3)
"""Planes of the volume."""


def follow(page: str, folder: Path) -> None:
    """Run the blocks of a tutorial, in order."""
    for language, text in BLOCK.findall((TUTORIALS / f"{page}.md").read_text()):
        program = [sys.executable, "-c", text] if language == "python" else ["bash", "-euc", text]
        subprocess.run(program, cwd=folder, check=True)


def own_images(folder: Path) -> Image.Image:
    """What `incontext segment` leaves to look at."""
    return Image.open(folder / "result" / "overlay.png")


def volumes(folder: Path) -> Image.Image:
    """Labelled planes, and what was found in others."""
    case = read_case(folder / "scan.nii.gz", "scan")
    images = apply(case, choose([case]))
    drawn, found = (read_label_case(folder / name, name, case).planes for name in ("drawn.npy", "body.nii.gz"))
    given = _tiles("labelled", images, drawn, LABELLED)
    return overlay.contact_sheet([given, *(_tiles("found", images, found, SHOWN[k : k + 4]) for k in (0, 4))])


def _tiles(what: str, images: np.ndarray, labels: np.ndarray, places: Iterable[int]) -> list[overlay.Tile]:
    return [overlay.Tile(f"{what}: plane {at}", overlay.draw(images[at], labels[at], [1])) for at in places]


PICTURES: dict[str, Callable[[Path], Image.Image]] = {
    "own-images": own_images,
    "volumes": volumes,
}
"""By tutorial."""


def main(pages: list[str]) -> None:
    """Follow tutorials, all or those named, and draw the picture of each beside it."""
    for page in pages or PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            follow(page, Path(folder))
            picture = PICTURES[page](Path(folder)).convert("RGB").quantize(COLOURS)
            picture.save(TUTORIALS / f"{page}.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
