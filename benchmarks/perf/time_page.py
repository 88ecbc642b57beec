"""Memory, idle load and answers of the page of `incontext annotate`: `python -m benchmarks.perf.time_page [FOLDER]`.

The command runs as a process of its own, with the packaged weights, on 1,000 smooth images of 1024×1024 pixels: a
first one is drawn and accepted, all thumbnails are asked for, and twenty images opened. Then it is left alone. A second
folder has one image of 10,000×10,000. The images are kept in FOLDER, by default a temporary one.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

COUNT, SIDE_PX, LARGE_PX = 1000, 1024, 10_000
OPENED = 20
IDLE_S = 20.0
TAB = "0123456789abcdef"
MB = 2**20


def write_images(folder: Path, count: int, side_px: int) -> Path:
    """Write images of a bright disc on a slope, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:side_px, :side_px].astype(np.float32) / side_px
    for number in range(count):
        path = folder / f"{number:04}.png"
        if not path.exists():
            row, column = np.random.default_rng(number).uniform(0.3, 0.7, 2)
            disc = (rows - row) ** 2 + (columns - column) ** 2 < 0.02
            Image.fromarray((60 * rows + 120 * disc).astype(np.uint8)).save(path, compress_level=1)
    return folder


class Served:
    """The command, and what asks it.

    Args:
        folder: The folder to annotate.
    """

    def __init__(self, folder: Path) -> None:
        self.began = time.monotonic()
        command = [sys.executable, "-m", "incontext.cli", "annotate", str(folder), "--no-browser"]
        self.command = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.command.stdout
        found = re.search(r"http\S+", self.command.stdout.readline())
        assert found, "the command ended before it told its address"
        self.address = found[0]
        self.facts = Path(f"/proc/{self.command.pid}")

    def ask(self, path: str, content: object = None, method: str | None = None) -> bytes:
        """Ask the server."""
        data = None if content is None else json.dumps(content).encode()
        headers = {"x-tab": TAB, "content-type": "application/json"}
        with urlopen(Request(self.address + path, data, headers, method=method), timeout=600) as answer:
            return answer.read()

    def session(self) -> Any:
        """Ask for the state of the folder."""
        return json.loads(self.ask("api/session"))

    @property
    def seconds(self) -> float:
        """Seconds since the command was given."""
        return time.monotonic() - self.began

    @property
    def memory_mb(self) -> float:
        """Memory that the process has to itself or shares."""
        return int((self.facts / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MB

    @property
    def cpu_s(self) -> float:
        """Seconds of a processor core that the process has taken."""
        user, system = (self.facts / "stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def wait_until_idle(self) -> None:
        """Wait until nothing goes on in the background."""
        while self.session()["progress"]["stage"] not in ("idle", "waiting"):
            time.sleep(0.5)


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve a folder, as its only tab."""
    found = Served(folder)
    try:
        with urlopen(f"{found.address}api/events?tab={TAB}", timeout=600):
            yield found
    finally:
        found.command.terminate()
        found.command.wait()


def disc(side_px: int) -> list[int]:
    """Runs of a disc in the middle of an image."""
    radius, middle = side_px // 8, side_px // 2
    runs = []
    for row in range(middle - radius, middle + radius):
        half = int((radius**2 - (row - middle) ** 2) ** 0.5)
        runs += [row * side_px + middle - half, 2 * half + 1]
    return runs


def measure_many(folder: Path) -> None:
    """Measure a folder of many images."""
    with served(folder) as page:
        page.session()
        print(f"{COUNT} images of {SIDE_PX}²: listed after {page.seconds:.1f} s, {page.memory_mb:.0f} MB")
        page.wait_until_idle()
        page.ask("api/images/0/strokes", {"plane": 0, "tool": "brush", "runs": {"1": disc(SIDE_PX)}})
        began, before = time.monotonic(), page.cpu_s
        page.ask("api/images/0/accept", {})
        while page.session()["progress"]["done"] < 1:
            time.sleep(0.05)
        print(f"first mask {time.monotonic() - began:.1f} s ({page.cpu_s - before:.1f} s of a core) after accepting")
        page.wait_until_idle()
        print(f"all segmented after {time.monotonic() - began:.0f} s, {page.memory_mb:.0f} MB")
        for number in range(COUNT):
            page.ask(f"api/images/{number}/thumbnail")
        for number in range(OPENED):
            page.ask(f"api/images/{number}")
            page.ask(f"api/images/{number}/planes/0")
        print(f"with all thumbnails and {OPENED} images opened: {page.memory_mb:.0f} MB")
        before = page.cpu_s
        time.sleep(IDLE_S)
        print(f"idle: {100 * (page.cpu_s - before) / IDLE_S:.2f} % of a processor core over {IDLE_S:.0f} s")


def measure_large(folder: Path) -> None:
    """Measure one large image."""
    with served(folder) as page:
        page.wait_until_idle()
        runs = {"plane": 0, "tool": "brush", "runs": {"1": disc(LARGE_PX)}}
        asked: list[tuple[str, object]] = [
            ("api/images/0", None),
            ("api/images/0/planes/0", None),
            ("api/images/0/planes/0/label", None),
            ("api/images/0/strokes", runs),
            ("api/images/0/undo", {}),
            ("api/images/0/redo", {}),
            ("api/images/0/accept", {}),
        ]
        for path, content in asked:
            began, before = time.monotonic(), page.cpu_s
            page.ask(path, content)
            took = f"{time.monotonic() - began:.2f} s ({page.cpu_s - before:.2f} s of a core)"
            print(f"{LARGE_PX}²: {path} {took}, {page.memory_mb:.0f} MB")


def main() -> None:
    """Measure one large image, then many."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        measure_large(write_images(place / "large", 1, LARGE_PX))
        measure_many(write_images(place / "many", COUNT, SIDE_PX))


if __name__ == "__main__":
    main()
