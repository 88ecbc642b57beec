"""A robot annotates a folder on the page of `incontext annotate`: `python -m benchmarks.perf.robot_annotates FOLDER`.

FOLDER has `images/` and, by the same names, `labels/`, which only the robot knows; all that is not 0 is one class. It
draws the first image by a polygon and accepts it. Then it takes the image that the page would show next, clicks up to
`CLICKS` times in the middle of the largest error while Dice is below `GOAL`, draws a polygon if it still is, accepts,
and waits until all others are segmented anew. An action is a click, a corner of a polygon, or a key.
"""

import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage

from benchmarks.perf.time_page import Served, served
from megamed.outlines import trace

COUNT, GOAL, CLICKS = 40, 0.9, 5
TOLERANCE_PX = 1.5
"""Distance that a polygon of few corners may have from an outline."""

Mask = Bool[np.ndarray, "H W"]


@dataclass
class Tally:
    """Counts of what a robot has done.

    Attributes:
        accepted: Number of images that were taken as predicted.
        clicks: Number of clicks.
        clicked: Number of images that clicks made good enough.
        corners: Number of corners of polygons.
        drawn: Number of images that were drawn by a polygon.
        waited_s: Seconds that answers to clicks took.
        dice: Dice of the masks in the end.
    """

    accepted: int = 0
    clicks: int = 0
    clicked: int = 0
    corners: int = 0
    drawn: int = 0
    waited_s: float = 0.0
    dice: list[float] = field(default_factory=list)


def dice_of(mask: Mask, label: Mask) -> float:
    """Dice of two masks; 1 if both are empty."""
    return float(2 * (mask & label).sum() / max(1, mask.sum() + label.sum())) if mask.any() or label.any() else 1.0


def simplified(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "m 2"]:
    """Leave out the points of a line that are near to that of the others (Douglas and Peucker, 1973)."""
    if len(points) < 3:
        return points
    (dx, dy), apart = points[-1] - points[0], points - points[0]
    length = float(np.hypot(dx, dy))
    far = np.abs(apart[:, 0] * dy - apart[:, 1] * dx) / length if length else np.hypot(*apart.T)
    index = int(far.argmax())
    if far[index] <= TOLERANCE_PX:
        return points[[0, -1]]
    return np.concatenate([simplified(points[: index + 1])[:-1], simplified(points[index:])])


def corners_of(label: Mask) -> int:
    """Number of corners of the polygons of few corners that outline a label."""
    count = 0
    for polygon in trace(label):
        for ring in (polygon.outer, *polygon.holes):
            count += max(3, len(simplified(np.concatenate([ring, ring[:1]]).astype(float))) - 1)
    return count


def runs_of(mask: Mask) -> list[int]:
    """Starts and lengths of the pixels of a mask."""
    flat = np.flatnonzero(np.diff(np.pad(mask.reshape(-1), 1).astype(np.int8)))
    return np.stack([flat[::2], flat[1::2] - flat[::2]], 1).reshape(-1).tolist()


class Robot:
    """A robot before a page.

    Args:
        page: The page.
        labels: The right masks, by the names of the images.
    """

    def __init__(self, page: Served, labels: dict[str, Mask]) -> None:
        self.page, self.labels, self.tally = page, labels, Tally()

    def annotate(self, index: int, name: str) -> None:
        """Bring the mask of an image to the goal, and accept it."""
        label = self.labels[name]
        self.page.ask(f"api/images/{index}")
        mask, clicks = self.mask(index, label), 0
        while dice_of(mask, label) < GOAL and clicks < CLICKS and self.tally.dice:
            self.click(index, mask, label)
            mask, clicks = self.mask(index, label), clicks + 1
        self.tally.clicks += clicks
        if dice_of(mask, label) < GOAL:
            runs = {"0": runs_of(mask & ~label), "1": runs_of(label & ~mask)}
            self.page.ask(f"api/images/{index}/strokes", {"plane": 0, "tool": "polygon", "runs": runs})
            mask = self.mask(index, label)
            self.tally.corners += corners_of(label)
            self.tally.drawn += 1
        elif clicks:
            self.tally.clicked += 1
        else:
            self.tally.accepted += 1
        self.page.ask(f"api/images/{index}/accept", {})
        self.tally.dice.append(dice_of(mask, label))

    def click(self, index: int, mask: Mask, label: Mask) -> None:
        """Click in the middle of the largest error."""
        wrong, _ = ndimage.label(mask != label)
        largest = wrong == np.bincount(wrong.reshape(-1))[1:].argmax() + 1
        depth = ndimage.distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        point, began = [int(row), int(column)], time.monotonic()
        said = {"plane": 0, "value": 1, "kind": "click", "points": [point], "inside": bool(label[row, column])}
        self.page.ask(f"api/images/{index}/prompts", said)
        self.tally.waited_s += time.monotonic() - began

    def mask(self, index: int, label: Mask) -> Mask:
        """The mask on the screen."""
        shown = np.frombuffer(self.page.ask(f"api/images/{index}/planes/0/label"), np.uint8)
        return shown.reshape(label.shape) == 1

    def following(self) -> Any:
        """The image that the page shows next: the worst prediction; None if all are accepted."""
        left = [image for image in self.page.session()["images"] if image["state"] in ("bare", "predicted")]
        return min(left, key=lambda image: (2 if image["dice"] is None else image["dice"], image["id"]), default=None)


def main() -> None:
    """Annotate, and tell what it took."""
    source = Path(sys.argv[1])
    chosen = sorted((source / "images").iterdir())
    chosen = chosen[:: max(1, len(chosen) // COUNT)][:COUNT]
    with tempfile.TemporaryDirectory() as temporary:
        folder, labels = Path(temporary), dict[str, Mask]()
        for path in chosen:
            shutil.copy(path, folder / path.name)
            with Image.open(source / "labels" / f"{path.stem}.png") as picture:
                labels[path.name] = np.asarray(picture) > 0
        with served(folder) as page:
            page.wait_until_idle()
            robot, began = Robot(page, labels), time.monotonic()
            while image := robot.following():
                robot.annotate(image["id"], image["name"])
                page.wait_until_idle()
    tally, seconds = robot.tally, time.monotonic() - began
    actions = tally.clicks + tally.corners + len(labels)
    print(json.dumps(vars(tally) | {"dice": [round(each, 3) for each in tally.dice]}))
    print(
        f"{len(labels)} images, least Dice {min(tally.dice):.3f}: {actions} actions in {seconds:.0f} s of the machine"
    )
    print(f"all by polygons: {sum(map(corners_of, labels.values())) + len(labels)} actions")


if __name__ == "__main__":
    main()
