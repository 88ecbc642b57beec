"""Kills of the page of `incontext annotate` while a robot draws: `python -m benchmarks.perf.kill_page [KILLS]`.

The command runs as a process of its own. A robot draws, undoes, redoes and accepts on three images without a pause, and
the process is killed at a random moment (SIGKILL), 30 times by default. Each time it is started again, and all images
are compared with what was answered before: an image may have the one action that was not answered yet, or lack it.
"""

import json
import random
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from benchmarks.perf.time_page import TAB, Served, write_images

KILLS, COUNT, SIDE_PX, LONGEST_S = 30, 3, 512, 1.5
ACTIONS = ["strokes"] * 5 + ["undo", "redo", "accept"]
ENDED = (URLError, HTTPException, ConnectionError)
"""Errors of a request whose server was killed."""

Mask = UInt8[np.ndarray, "H W"]


@dataclass
class DrawnImage:
    """An image as the robot knows it: what was done, and what was taken back."""

    done: list[Mask] = field(default_factory=lambda: [np.zeros((SIDE_PX, SIDE_PX), np.uint8)])
    undone: list[Mask] = field(default_factory=list)

    def after(self, action: str, stroke: slice) -> "DrawnImage":
        """The image after an action."""
        if action == "strokes":
            mask = self.done[-1].copy()
            mask.reshape(-1)[stroke] = 1
            return DrawnImage([*self.done, mask])
        if action == "undo" and len(self.done) > 1:
            return DrawnImage(self.done[:-1], [*self.undone, self.done[-1]])
        if action == "redo" and self.undone:
            return DrawnImage([*self.done, self.undone[-1]], self.undone[:-1])
        return self

    def is_shown(self, mask: Mask, undoable: int, redoable: int) -> bool:
        """Whether a mask and the numbers of actions that can be undone and redone are those of this image."""
        return (undoable, redoable) == (len(self.done) - 1, len(self.undone)) and np.array_equal(mask, self.done[-1])


@dataclass
class KillTally:
    """Counts of what was answered, what was lost, and of files that cannot be read."""

    answered: int = 0
    lost: int = 0
    kept_unanswered: int = 0
    damaged: int = 0


class RestlessRobot:
    """A robot that draws at random, and remembers what was answered."""

    def __init__(self) -> None:
        self.random, self.tally = random.Random(0), KillTally()
        self.images = [DrawnImage() for _ in range(COUNT)]
        self.open: dict[int, DrawnImage] = {}

    def draw(self, page: Served) -> None:
        """Draw until the server is killed, at a random moment after its first answer."""
        timer = threading.Timer(self.random.uniform(0, LONGEST_S), page.command.kill)
        with suppress(*ENDED):
            while True:
                index, action = self.random.randrange(COUNT), self.random.choice(ACTIONS)
                start = self.random.randrange(SIDE_PX**2 - 900)
                after = self.images[index].after(action, slice(start, start + 900))
                if action == "accept" and not after.done[-1].any():
                    continue
                self.open = {index: after}
                said = {"plane": 0, "tool": "brush", "runs": {"1": [start, 900]}} if action == "strokes" else {}
                page.ask(f"api/images/{index}/{action}", said)
                self.images[index], self.open = after, {}
                self.tally.answered += 1
                if timer.ident is None:
                    timer.start()

    def compare(self, page: Served) -> None:
        """Compare what the server has with what it answered before it was killed."""
        for index, known in enumerate(self.images):
            told = json.loads(page.ask(f"api/images/{index}"))
            mask = np.frombuffer(page.ask(f"api/images/{index}/planes/0/label"), np.uint8).reshape(SIDE_PX, SIDE_PX)
            pending = self.open.get(index, known)
            if known.is_shown(mask, told["undoable"], told["redoable"]):
                continue
            if pending.is_shown(mask, told["undoable"], told["redoable"]):
                self.images[index] = pending
                self.tally.kept_unanswered += 1
            else:
                self.tally.lost += 1
        self.open = {}

    def check_files(self, folder: Path) -> None:
        """Read all labels and logs that lie in the folder."""
        for path in folder.rglob("*"):
            try:
                if path.suffix == ".png":
                    with Image.open(path) as picture:
                        picture.load()
                elif path.suffix == ".jsonl":
                    [json.loads(line) for line in path.read_text().splitlines()]
                elif path.suffix == ".json":
                    json.loads(path.read_text())
            except (OSError, ValueError):
                self.tally.damaged += 1


def main() -> None:
    """Kill, and tell what was lost."""
    kills, robot = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS, RestlessRobot()
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_images(Path(temporary), COUNT, SIDE_PX)
        for number in range(kills + 1):
            page = Served(folder)
            with suppress(*ENDED), urlopen(f"{page.address}api/events?tab={TAB}", timeout=600):
                robot.compare(page)
                robot.check_files(folder)
                if number < kills:
                    robot.draw(page)
            page.command.kill()
            page.command.wait()
            print(f"{number} kills: {vars(robot.tally)}", flush=True)


if __name__ == "__main__":
    main()
