"""Take pictures and a recording of the page with its example: `python docs/pictures_annotate.py`."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

HERE = Path(__file__).parent
COLOURS = 96
"""Number of colours of a picture: enough to look at, and its file stays small."""
SIZE_PX = {"width": 1280, "height": 880}
"""High enough for three pixels of the screen to each of a slice."""
WIDTH_PX, HEIGHT_PX = 197, 233
"""Sides of the example's slices."""
SHOWN = "axial_081.png"
"""A slice with deep structures."""
WRONG = ((0.34, 0.72), (0.65, 0.72), (0.42, 0.79))
"""Places of grey matter in the lowest slice that are predicted to be white, as shares of its width and height."""
PATIENCE_MS = 120_000


def main() -> None:
    """Open the example, let the others be segmented, and take pictures of it, light and dark."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "incontext.cli", "annotate", f"{folder}/brain", "--example", "--no-browser"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout
        address = server.stdout.readline().split()[-1]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE_PX)
            page.goto(address)
            film(page)
            page.locator("#images li", has_text=SHOWN).click()
            expect(page.locator("#facts")).to_contain_text("Predicted Dice")
            over_the_image(page)
            picture(page, "annotate.png")
            page.keyboard.press("t")
            page.keyboard.press("o")
            over_the_image(page)
            picture(page, "annotate-dark.png")
            browser.close()
        server.send_signal(signal.SIGTERM)
        server.wait()


def film(page: Page) -> None:
    """Write a recording of a round: the example, the worst image, clicks that correct it, and what follows."""
    frames: list[tuple[Image.Image, int]] = []

    def take(milliseconds: int) -> None:
        page.wait_for_timeout(300)
        frames.append((screen(page), milliseconds))

    expect(page.locator("#stage-text")).to_have_text("All 17 segmented", timeout=PATIENCE_MS)
    page.locator("#images [data-state=accepted]").click()
    take(2000)
    page.locator("#images li").first.click()
    take(2000)
    page.keyboard.press("c")
    page.keyboard.press("1")
    for place in WRONG:
        page.mouse.move(*place_of(page, *place))
        take(600)
        page.mouse.down()
        page.mouse.up()
        expect(page.locator("#spoken")).to_have_text("Mask changed")
        take(1000)
    page.keyboard.press("a")
    expect(page.locator("#count")).to_have_text("2 accepted of 18")
    take(1000)
    expect(page.locator("#stage-text")).to_have_text("All 16 segmented", timeout=PATIENCE_MS)
    take(2500)
    (first, _), *others = frames
    target, shown = HERE / "annotate.webp", [milliseconds for _, milliseconds in frames]
    first.save(target, save_all=True, append_images=[each for each, _ in others], duration=shown, loop=0, quality=60)
    sys.stdout.write(f"{target.name}: {os.path.getsize(target)} bytes\n")


def place_of(page: Page, across: float, down: float) -> tuple[float, float]:
    """Find a place of the image, told by shares of its width and height, on the screen, into which it is fitted."""
    box = page.locator("#view").bounding_box()
    assert box
    zoom = max(1, int(min(box["width"] / WIDTH_PX, box["height"] / HEIGHT_PX) * 0.96))
    left, top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return left + (across - 0.5) * WIDTH_PX * zoom, top + (down - 0.5) * HEIGHT_PX * zoom


def over_the_image(page: Page) -> None:
    """Hold the pen over the image, where its ring is seen."""
    page.mouse.move(*place_of(page, 0.55, 0.4))
    page.wait_for_timeout(500)


def screen(page: Page) -> Image.Image:
    """Take what is on the screen, in colour."""
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def picture(page: Page, name: str) -> None:
    """Write what is on the screen, in few colours."""
    screen(page).quantize(COLOURS, dither=Image.Dither.NONE).save(HERE / name, optimize=True)
    sys.stdout.write(f"{name}: {os.path.getsize(HERE / name)} bytes\n")


if __name__ == "__main__":
    main()
