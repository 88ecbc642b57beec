"""Waiting times and frames of the page in a real browser: `python -m benchmarks.perf.time_browser`.

Chromium or Chrome opens the page of `incontext annotate`, which has the packaged weights and one thread. Measured are

* the first predicted mask and all of them, after one of 100 images of 512×512 pixels is drawn and accepted;
* clicks, from the mouse's event to the frame that shows the answer;
* the brush on an image of 2048×2048 pixels: frames per second while it draws, out of Chromium's own trace.

The load of the machine is told before and after: other work counts.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from benchmarks.perf.time_page import Served, write_images

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu"]
COUNT, SIDE_PX, BRUSHED_PX = 100, 512, 2048
CLICKS, BRUSH_S, BRUSH_PX = 20, 4.0, 60
RADIUS = 0.02**0.5
"""Radius of the disc of an image, as `write_images` draws it."""
PATIENCE_MS, HAND_MS = 120_000, 500
"""Time that anything may take, and that a hand takes from the keys to the mouse."""
TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline.frame"]
FRAME, PAINTED = "DrawFrame", "FireAnimationFrame"
"""Chromium's names of a frame that reached the screen, and of the part of one that the page paints."""
ANSWERED = """() => new Promise(answer => {
  let clicked = 0;
  addEventListener("pointerdown", event => { clicked = event.timeStamp; }, { capture: true, once: true });
  const told = document.getElementById("spoken");
  const seen = new MutationObserver(() => {
    if (!/Mask changed|Nothing changed/.test(told.textContent)) return;
    seen.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(now => answer(now - clicked)));
  });
  seen.observe(told, { childList: true });
})"""
"""Milliseconds from the next click of the mouse to the frame after the one in which its answer was painted."""

BRUSHED = """([x, y, radius, seconds]) => new Promise(answer => {
  const canvas = document.getElementById("view"), begun = performance.now();
  let moves = 0;
  const mouse = setInterval(() => {
    const spent = (performance.now() - begun) / 1000, angle = 2 * Math.PI * spent;
    if (spent >= seconds) { clearInterval(mouse); answer(moves); return; }
    const place = { clientX: x + radius * Math.cos(angle), clientY: y + radius * Math.sin(angle) };
    canvas.dispatchEvent(new PointerEvent("pointermove", { ...place, pointerId: 1, bubbles: true }));
    moves++;
  }, 4);
})"""
"""Moves of a mouse that tells of itself 250 times a second, on a circle; the driver has too few for each frame."""


def browser_path() -> str:
    """Find the browser."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, f"needs one of {', '.join(BROWSERS)}"
    return path


@contextmanager
def visited(browser: Any, folder: Path) -> Iterator[Any]:
    """Serve a folder, and open its page once the network is loaded."""
    server = Served(folder)
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    try:
        page.goto(server.address)
        page.locator("#facts dt").first.wait_for()
        page.locator("[data-tool=click]").wait_for()
        yield page
    finally:
        page.close()
        server.command.terminate()
        server.command.wait()


class ShownSquare:
    """Place of the image on the screen: fitted into the middle of the canvas.

    Args:
        page: The page.
        side_px: Side of the image, which is a square.
    """

    def __init__(self, page: Any, side_px: int) -> None:
        box = page.locator("#view").bounding_box()
        fitted = min(box["width"], box["height"]) * 0.96
        self._side = side_px * int(fitted / side_px) if fitted > side_px else fitted
        self._left, self._top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def at(self, column: float, row: float) -> tuple[float, float]:
        """Place on the screen of a place in the image, in shares of its side."""
        return self._left + (column - 0.5) * self._side, self._top + (row - 0.5) * self._side


def measure_masks(page: Any) -> None:
    """Draw the disc of the first image as a polygon, accept it, and wait for the others."""
    shown, (row, column) = ShownSquare(page, SIDE_PX), np.random.default_rng(0).uniform(0.3, 0.7, 2)
    angles = np.linspace(0, 2 * np.pi, 24)
    page.keyboard.press("p")
    for angle in angles:
        page.mouse.click(*shown.at(column + RADIUS * np.cos(angle), row + RADIUS * np.sin(angle)))
    page.locator("#undo:enabled").wait_for()
    began = time.monotonic()
    page.keyboard.press("a")
    page.locator("[data-state=predicted], [data-state=doubtful]").first.wait_for()
    first = time.monotonic() - began
    page.locator("#stage-text", has_text=f"All {COUNT - 1} segmented").wait_for()
    print(
        f"{COUNT} images of {SIDE_PX}²: first mask {first:.2f} s after accepting, all {time.monotonic() - began:.1f} s"
    )


def measure_clicks(page: Any) -> None:
    """Click at random, inside and outside by turns."""
    shown, rng, took = ShownSquare(page, SIDE_PX), np.random.default_rng(0), list[float]()
    page.keyboard.press("c")
    page.wait_for_timeout(HAND_MS)
    for number in range(CLICKS):
        waiting = page.evaluate_handle(f"() => ({{ answer: ({ANSWERED})() }})")
        page.mouse.click(*shown.at(*rng.uniform(0.2, 0.8, 2)), button=("left", "right")[number % 2])
        took.append(waiting.evaluate("each => each.answer"))
    told = (
        f"{np.median(took):.0f} ms in the median, {np.percentile(took, 95):.0f} ms at 95 %, the first {took[0]:.0f} ms"
    )
    print(f"{CLICKS} clicks on {SIDE_PX}², from mouse to pixels: {told}")


def measure_brush(browser: Any, page: Any) -> None:
    """Draw circles without a pause, and count the frames in the trace."""
    shown = ShownSquare(page, BRUSHED_PX)
    page.locator("#size").fill(str(BRUSH_PX))
    page.keyboard.press("b")
    page.mouse.move(*shown.at(0.8, 0.5))
    page.mouse.down()
    browser.start_tracing(page=page, categories=TRACED)
    middle, (edge, _) = shown.at(0.5, 0.5), shown.at(0.8, 0.5)
    moves = page.evaluate(BRUSHED, [*middle, edge - middle[0], BRUSH_S])
    events = json.loads(browser.stop_tracing())["traceEvents"]
    page.mouse.up()
    gaps = np.diff(np.sort([each["ts"] / 1000 for each in events if each["name"] == FRAME]))
    work = [each["dur"] / 1000 for each in events if each["name"] == PAINTED and "dur" in each]
    apart = f"{np.median(gaps):.1f} ms apart in the median, {np.percentile(gaps, 95):.1f} ms at 95 %"
    painting = f"the page works {np.median(work):.1f} ms for each, {np.percentile(work, 95):.1f} ms at 95 %"
    print(
        f"brush of {BRUSH_PX} px on {BRUSHED_PX}²: {1000 / gaps.mean():.0f} frames/s, {apart}; {painting}; "
        f"{moves / BRUSH_S:.0f} moves of the mouse a second"
    )


def main() -> None:
    """Measure masks and clicks, then the brush."""
    os.environ["OMP_NUM_THREADS"] = "1"
    print("load of the machine: {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg()))
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        with visited(browser, write_images(Path(place) / "many", COUNT, SIDE_PX)) as page:
            measure_masks(page)
            measure_clicks(page)
        with visited(browser, write_images(Path(place) / "large", 1, BRUSHED_PX)) as page:
            measure_brush(browser, page)
        browser.close()
    print("load of the machine: {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg()))


if __name__ == "__main__":
    main()
