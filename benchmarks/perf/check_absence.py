"""Images that plainly lack a structure: nothing is drawn in them, and what is there is taken off no other.

`python -m benchmarks.perf.check_absence [DATA]` draws tasks of a structure beside another thing, and asks about images
with both, with the other thing alone, and with noise alone. With a folder of datasets, each with `images` and `labels`,
it counts the images that show a dataset's first class, and those from which it was taken off.
"""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from incontext import Segmenter
from incontext.inference.leave_one_out import LEAST_EXAMPLES
from incontext.inference.presence import PLAINLY

TASKS, ASKED = 40, 6
SHAPES = ((128, 128), (160, 160), (256, 192), (100, 140))
EXAMPLES, QUERIES, LEAST_PX = 12, 16, 20


@dataclass(frozen=True)
class DrawnTask:
    """A task of drawn images: ground, structure and another thing, each of one grey value in [0, 1], and noise."""

    rng: np.random.Generator
    shape: tuple[int, int]
    kinds: tuple[str, str]
    greys: tuple[float, float, float]
    noise: float

    @classmethod
    def of(cls, number: int) -> "DrawnTask":
        """Draw a task at random; the other thing is less bright than the structure, or less dark."""
        rng = np.random.default_rng(number)
        ground = rng.uniform(0.1, 0.5)
        way = rng.choice([1, -1]) if ground > 0.35 else 1
        structure = float(np.clip(ground + way * rng.uniform(0.35, 0.6), 0, 1))
        other = ground + (structure - ground) * rng.uniform(0.3, 0.6)
        kinds = rng.choice(["disc", "square", "ellipse", "ring", "triangle"], 2)
        shape = SHAPES[number % len(SHAPES)]
        return cls(rng, shape, (str(kinds[0]), str(kinds[1])), (ground, structure, other), rng.uniform(0.01, 0.06))

    def images(self, count: int, has_structure: bool = True, has_other: bool = True) -> list[np.ndarray]:
        """Draw images, as `pairs` does."""
        return [image for image, _ in self.pairs(count, has_structure, has_other)]

    def pairs(
        self, count: int, has_structure: bool = True, has_other: bool = True
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Draw images of eight bits, and labels of the structure."""
        ground, structure, other = self.greys
        found = []
        for _ in range(count):
            label = self._spot(self.kinds[0], (0.3, 0.7), (0.12, 0.2)) & has_structure
            thing = self._spot(self.kinds[1], (0.15, 0.85), (0.08, 0.12)) & has_other & ~label
            grey = np.select([label, thing], [structure, other], ground) + self.rng.normal(0, self.noise, self.shape)
            found.append(((grey.clip(0, 1) * 255).round().astype(np.uint8), label))
        return found

    def _spot(self, kind: str, place: tuple[float, float], size: tuple[float, float]) -> np.ndarray:
        """Pixels of a shape somewhere in a part of the image."""
        rows, columns = np.mgrid[: self.shape[0], : self.shape[1]]
        down = rows - self.rng.uniform(*place) * self.shape[0]
        along = columns - self.rng.uniform(*place) * self.shape[1]
        radius = self.rng.uniform(*size) * min(self.shape)
        distance = np.hypot(down, along)
        shapes = {
            "disc": distance < radius,
            "square": np.maximum(abs(down), abs(along)) < 0.85 * radius,
            "ellipse": np.hypot(down / 0.6, along) < 1.2 * radius,
            "ring": (distance < radius) & (distance > radius / 2),
            "triangle": (down < radius) & (down > 2 * abs(along) - radius),
        }
        return shapes[kind]


def drawn_tasks() -> Iterator[tuple[int, int, int]]:
    """Count for each drawn task the images in which something is found: with both things, with the other, with none."""
    for number in range(TASKS):
        task = DrawnTask.of(number)
        images, labels = zip(*task.pairs(int(task.rng.integers(5, 12))), strict=True)
        segmenter = Segmenter().fit(list(images), list(labels))
        asked = [task.images(ASKED), task.images(ASKED, False), task.images(ASKED, False, False)]
        masks = segmenter.predict([image for some in asked for image in some]).masks
        both, other, neither = np.reshape([bool(mask.any()) for mask in masks], (3, ASKED)).sum(1).tolist()
        yield both, other, neither


def real_images(images: Path) -> tuple[int, int]:
    """Number of images of a dataset that show its first class, of which no example is, and of those it is taken off."""
    paths = [path for path in sorted(images.iterdir()) if _label(path).exists()]
    labels = {path: _grey(_label(path)) for path in paths}
    first = min((int(value) for label in labels.values() for value in np.unique(label) if value > 0), default=1)
    showing = [path for path in paths if (labels[path] == first).sum() > LEAST_PX]
    rng = np.random.default_rng(0)
    earlier, later = showing[: len(showing) // 2], showing[len(showing) // 2 :]  # mostly of other subjects
    examples, queries = ([some[i] for i in rng.permutation(len(some))] for some in (earlier, later))
    examples, queries = examples[:EXAMPLES], queries[:QUERIES]
    if len(examples) < LEAST_EXAMPLES or not queries:
        return 0, 0
    segmenter = Segmenter().fit([_grey(each) for each in examples], [labels[each] == first for each in examples])
    presence = segmenter.predict([_grey(each) for each in queries]).presence
    assert presence is not None
    return len(queries), int((presence < PLAINLY).sum())


def _label(image: Path) -> Path:
    return image.parent.parent / "labels" / f"{image.stem}.png"


def _grey(path: Path) -> np.ndarray:
    picture = Image.open(path)
    return np.array(picture.convert("L") if picture.mode in ("RGB", "RGBA", "P") else picture)


def main() -> None:
    """Print what was drawn where, and what was taken off."""
    warnings.simplefilter("ignore")
    counted = np.sum(list(drawn_tasks()), axis=0).tolist()
    for what, count in zip(("both", "the other thing alone", "noise alone"), counted, strict=True):
        print(f"something is drawn in {count} of {TASKS * ASKED} drawn images with {what}")
    found = [real_images(each) for folder in sys.argv[1:] for each in sorted(Path(folder).glob("*/images"))]
    asked, off = np.sum([(0, 0), *found], axis=0)
    print(f"taken off {off} of {asked} images of {len(found)} datasets that show it")


if __name__ == "__main__":
    main()
