"""A robot annotates a folder on the page of `incontext annotate`: `python -m benchmarks.perf.robot_annotates FOLDER`.

FOLDER has `images/` and, by the same names, `labels/`, which only the robot knows; all that is not 0 is one class. It
sits before the page in Chromium, with the mouse and the keys that a person has. It draws the first image by a polygon
and accepts it. Then it takes the image that the page shows next, clicks up to `CLICKS` times in the middle of the
largest error while Dice is below `GOAL`, draws a polygon if it still is, accepts, and waits until the next one is
segmented anew. An action is a click, a corner of a polygon, or a key. Then it draws all of the images by polygons in a
folder of its own and accepts none, as one would without the page's help.
"""

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from scipy import ndimage

from benchmarks.perf.time_browser import FLAGS, PATIENCE_MS, browser_path, visited
from incontext.inference.segmentation import dice
from megamed.outlines import trace

COUNT, GOAL, CLICKS = 40, 0.9, 5
TOLERANCE_PX = 1.5
"""Distance that a polygon of few corners may have from an outline."""
CLOSING_PX = 12.0
"""Distance from the first corner at which another would close a polygon too soon."""
READ = "path => fetch(path).then(answer => answer.text())"
READ_BYTES = """path => fetch(path).then(answer => answer.arrayBuffer()).then(
  buffer => new TextDecoder("latin1").decode(buffer))"""
SAID = re.compile("Mask changed|Nothing changed")

Mask = Bool[np.ndarray, "H W"]


@dataclass
class Tally:
    """Counts of what a robot has done.

    Attributes:
        accepted: Number of images that were taken as predicted.
        clicks: Number of clicks that say inside or outside.
        clicked: Number of images that clicks made good enough.
        drawn: Number of images that were drawn by a polygon.
        actions: Number of clicks, corners and keys in all.
        answers_s: Seconds that answers to clicks took.
        dice: Dice of the masks in the end.
    """

    accepted: int = 0
    clicks: int = 0
    clicked: int = 0
    drawn: int = 0
    actions: int = 0
    answers_s: float = 0.0
    dice: list[float] = field(default_factory=list)


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


def rings_of(label: Mask) -> Iterator[Float[np.ndarray, "n 2"]]:
    """Yield polygons of few corners that outline a label."""
    for polygon in trace(label):
        ring = polygon.outer.astype(float)
        few = simplified(np.concatenate([ring, ring[:1]]))[:-1]
        far = np.hypot(*(few - few[0]).T) > CLOSING_PX
        if far.sum() >= 2:
            yield np.concatenate([few[:1], few[far]])


class Robot:
    """A robot before a page.

    Args:
        page: The page.
        labels: The right masks, by the names of the images.
    """

    def __init__(self, page: Any, labels: dict[str, Mask]) -> None:
        self.page, self.labels, self.tally = page, labels, Tally()

    def annotate(self, image: dict[str, Any]) -> None:
        """Bring the mask of the image on the screen to the goal, and accept it."""
        index, label, clicks = image["id"], self.labels[image["name"]], 0
        mask = self.mask(index, label)
        while dice(mask, label) < GOAL and clicks < CLICKS and self.tally.dice:
            self.click(mask, label)
            mask, clicks = self.mask(index, label), clicks + 1
        self.tally.clicks += clicks
        if dice(mask, label) < GOAL:
            self.draw(mask, label)
            mask = self.mask(index, label)
            self.tally.drawn += 1
        elif clicks:
            self.tally.clicked += 1
        else:
            self.tally.accepted += 1
        self.press("a")
        expect(self.page.locator("#count")).to_contain_text(f"{len(self.tally.dice) + 1} accepted")
        self.tally.dice.append(dice(mask, label))
        print(f"{len(self.tally.dice)}: {image['name']}, {clicks} clicks", file=sys.stderr, flush=True)

    def draw_first(self, image: dict[str, Any]) -> None:
        """Draw the image on the screen by polygons, and go to the next; as none is accepted, none is predicted."""
        label = self.labels[image["name"]]
        self.draw(np.zeros_like(label), label)
        self.press("n")
        if len(self.tally.dice) < len(self.labels) - 1:
            chosen = self.page.locator("#images [aria-selected]")
            expect(chosen).not_to_have_attribute("data-id", str(image["id"]))
        self.tally.drawn += 1
        self.tally.dice.append(dice(self.mask(image["id"], label), label))

    def click(self, mask: Mask, label: Mask) -> None:
        """Click in the middle of the largest error."""
        wrong, _ = ndimage.label(mask != label)
        largest = wrong == np.bincount(wrong.reshape(-1))[1:].argmax() + 1
        depth = ndimage.distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        self.page.evaluate("document.getElementById('spoken').textContent = ''")
        self.choose("click")
        began = time.monotonic()
        self.point(label, column + 0.5, row + 0.5, "left" if label[row, column] else "right")
        expect(self.page.locator("#spoken")).to_have_text(SAID)
        self.tally.answers_s += time.monotonic() - began

    def draw(self, mask: Mask, label: Mask) -> None:
        """Erase what is there by a polygon around it, if there is anything, and draw the label by polygons."""
        self.choose("polygon")
        if mask.any():
            (bottom, right), (top, left) = np.argwhere(mask).max(0) + 4, np.argwhere(mask).min(0) - 4
            self.page.keyboard.down("Shift")
            for x, y in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top)):
                self.point(label, x, y)
            self.page.keyboard.up("Shift")
        for ring in rings_of(label):
            for x, y in (*ring, ring[0]):
                self.point(label, x, y)

    def choose(self, tool: str) -> None:
        """Take a tool, unless it is the present one."""
        if self.page.locator(f"[data-tool={tool}]").get_attribute("aria-pressed") != "true":
            self.press({"click": "c", "polygon": "p"}[tool])

    def press(self, key: str) -> None:
        """Press a key."""
        self.page.keyboard.press(key)
        self.tally.actions += 1

    def point(self, label: Mask, x: float, y: float, button: str = "left") -> None:
        """Click at a place in the image, which is fitted into the middle of the canvas."""
        box, (height, width) = self.page.locator("#view").bounding_box(), label.shape
        zoom = min(box["width"] / width, box["height"] / height) * 0.96
        zoom = float(int(zoom)) if zoom > 1 else zoom
        left, top = box["x"] + box["width"] / 2 - width / 2 * zoom, box["y"] + box["height"] / 2 - height / 2 * zoom
        self.page.mouse.click(left + x * zoom, top + y * zoom, button=button)
        self.tally.actions += 1

    def mask(self, index: int, label: Mask) -> Mask:
        """The mask on the screen, once all that was drawn is kept."""
        self.page.wait_for_timeout(50)
        shown = self.page.evaluate(READ_BYTES, f"api/images/{index}/planes/0/label")
        return np.frombuffer(shown.encode("latin1"), np.uint8).reshape(label.shape) == 1

    def shown(self) -> dict[str, Any]:
        """The image on the screen, once it is segmented by all examples."""
        while True:
            session = json.loads(self.page.evaluate(READ, "api/session"))
            chosen = self.page.locator("#images [aria-selected]")
            image = session["images"][int(chosen.get_attribute("data-id"))] if chosen.count() else None
            if image and (session["progress"]["stage"] in ("idle", "waiting") or self._is_fresh(image)):
                return image
            self.page.wait_for_timeout(200)

    def _is_fresh(self, image: dict[str, Any]) -> bool:
        """Whether an image was segmented after the last one had been accepted."""
        if image["state"] != "predicted":
            return False
        return json.loads(self.page.evaluate(READ, f"api/images/{image['id']}"))["round"] > len(self.tally.dice)


@contextmanager
def robot_before(browser: Any, source: Path) -> Iterator[Robot]:
    """Let a robot sit before the page of some images of a folder, and tell in the end what it took."""
    chosen = sorted((source / "images").iterdir())
    chosen = chosen[:: max(1, len(chosen) // COUNT)][:COUNT]
    with tempfile.TemporaryDirectory() as temporary:
        folder, labels = Path(temporary), dict[str, Mask]()
        for path in chosen:
            shutil.copy(path, folder / path.name)
            with Image.open(source / "labels" / f"{path.stem}.png") as picture:
                labels[path.name] = np.asarray(picture) > 0
        with visited(browser, folder) as page:
            robot, began = Robot(page, labels), time.monotonic()
            yield robot
            tally, seconds = robot.tally, time.monotonic() - began
    print(json.dumps(vars(tally) | {"dice": [round(each, 3) for each in tally.dice]}))
    print(
        f"{len(labels)} images, least Dice {min(tally.dice):.3f}: {tally.actions} actions, {seconds:.0f} s", flush=True
    )


def main() -> None:
    """Annotate with the page's help, then by polygons alone."""
    expect.set_options(timeout=PATIENCE_MS)
    print("load of the machine: {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg()))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        print("with predictions and clicks:", flush=True)
        with robot_before(browser, Path(sys.argv[1])) as robot:
            for _ in robot.labels:
                robot.annotate(robot.shown())
        print("by polygons alone:", flush=True)
        with robot_before(browser, Path(sys.argv[1])) as robot:
            robot.page.locator("#order").select_option("name")
            robot.page.locator("#view").focus()
            for _ in robot.labels:
                robot.draw_first(robot.shown())
        browser.close()


if __name__ == "__main__":
    main()
