"""Draw the picture of the demo by running it: `python docs/pictures_demo.py`."""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

TARGET = Path(__file__).with_name("demo.png")
COLOURS = 96
"""Number of colours of the picture: enough to look at, and its file stays small."""


def main() -> None:
    """Run the demo, and keep the picture that it leaves to look at."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "incontext.cli", "demo", "--out", folder], check=True)
        with Image.open(Path(folder, "result", "overlay.png")) as picture:
            few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
