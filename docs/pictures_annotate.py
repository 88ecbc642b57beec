"""Take pictures of the page with its example: `python docs/pictures_annotate.py`."""

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
SIZE_PX = {"width": 1240, "height": 760}
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
            expect(page.locator("#stage-text")).to_have_text("All 17 segmented", timeout=PATIENCE_MS)
            page.locator("#images li").nth(5).click()
            expect(page.locator("#facts")).to_contain_text("Predicted Dice")
            over_the_image(page)
            picture(page, "annotate.png")
            page.keyboard.press("t")
            page.keyboard.press("o")
            over_the_image(page)
            picture(page, "annotate-dark.png")
            browser.close()
        server.send_signal(signal.SIGINT)
        server.wait()


def over_the_image(page: Page) -> None:
    """Hold the pen over the image, where its ring is seen."""
    box = page.locator("#view").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.4)
    page.wait_for_timeout(500)


def picture(page: Page, name: str) -> None:
    """Write what is on the screen, in few colours."""
    seen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    seen.quantize(COLOURS, dither=Image.Dither.NONE).save(HERE / name, optimize=True)
    sys.stdout.write(f"{name}: {os.path.getsize(HERE / name)} bytes\n")


if __name__ == "__main__":
    main()
