"""Whatever happened to a file of our own, a command gives the right result, or one line that says what is wrong.

`MUTATIONS=200` in the environment tries so many changes of each kind of file, in place of a few.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from typer.testing import CliRunner

from incontext import Segmenter
from incontext.cli import app
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from tests.incontext.mutations import mutated

COUNT = int(os.environ.get("MUTATIONS", "7"))
LONGEST_SECONDS = 20
TRAINING = """steps = 1
workers = 0
network = {channels = [8, 8, 8, 8], heads = 1, head_channels = 8}
episodes = {images_per_batch = 4, set_sizes = [2], large_share = 0}
"""
CALIBRATION = {"temperature": 1.5, "quality": {"bias": 0.1, "confidence": 1.0, "coverage": 0.3, "flag_below": 0.6}}


def outcome(*arguments: object) -> str:
    """Run a command: empty if it succeeds, else its one line of an error."""
    started = time.process_time()
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert time.process_time() - started < LONGEST_SECONDS
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    if result.exit_code == 0:
        return ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith(("Error: ", "Failed: ")), lines
    return lines[0]


def has_checksum(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return "checksum" in (file.metadata() or {})
    except SafetensorError:
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images with a label, an image without, and a tiny checkpoint."""
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8))
    checkpoint.save(tmp_path / "tiny.safetensors", network, {"datasets": {"cells": "CC0"}, "training": {"seed": 1}})
    checkpoint.write_calibration(tmp_path / "tiny.safetensors", CALIBRATION)
    rng = np.random.default_rng(0)
    for part in ("support/images", "support/labels", "query"):
        (tmp_path / part).mkdir(parents=True)
    label = np.pad(np.ones((12, 12), dtype=np.uint8), 10)
    for name in ("support/images/1", "query/2"):
        Image.fromarray((90 * label + rng.integers(0, 60, label.shape)).astype(np.uint8)).save(tmp_path / f"{name}.png")
    Image.fromarray(label).save(tmp_path / "support/labels/1.png")
    return tmp_path


def check(path: Path, use: Callable[[Path], str]) -> int:
    """Try changes of a file, and return how many of them were refused.

    Args:
        path: The file, which is left as it was.
        use: Function that runs a command with an output folder, and returns its error.
    """
    content, out = path.read_bytes(), path.parent / "out"
    assert use(out / "right") == ""
    right, refused = results(out / "right"), 0
    for name, changed in mutated(content, COUNT):
        path.write_bytes(changed)
        if use(out / name):
            refused += 1
        elif has_checksum(path):  # else it may be another file that is as good
            assert results(out / name) == right, name
    path.write_bytes(content)
    return refused


def results(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((out / "masks").iterdir())]


def test_damaged_checkpoints(folder: Path) -> None:
    path = folder / "tiny.safetensors"
    examples = ("--support", folder / "support", "--query", folder / "query", "--weights", path, "--no-preview")
    assert check(path, lambda out: outcome("segment", *examples, "--out", out)) > COUNT / 2


def test_damaged_tasks(folder: Path) -> None:
    image, label = (np.asarray(Image.open(folder / "support" / part / "1.png")) for part in ("images", "labels"))
    segmenter = Segmenter(folder / "tiny.safetensors", size_px=64, device="cpu").fit(image, label)
    path = segmenter.save_task(folder / "a.task", author="A. Person")
    given = ("--task", path, "--query", folder / "query", "--no-preview")
    assert check(path, lambda out: outcome("segment", *given, "--out", out)) > COUNT / 2


def test_damaged_states(collection_path: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(TRAINING)
    path = tmp_path / "run" / "state.pt"
    command = ("train", "--collection", collection_path, "--out", path.parent, "--config", tmp_path / "small.toml")
    assert outcome(*command) == ""
    content = path.read_bytes()
    for name, changed in mutated(content, COUNT):
        path.write_bytes(changed)
        assert bool(outcome(*command)) == (changed != content), name


def test_links_in_a_circle(folder: Path) -> None:
    circle, weights = folder / "circle", ("--weights", folder / "tiny.safetensors")
    circle.symlink_to(circle.name)
    images = ("segment", "--support", folder / "support", "--query", circle, "--out", folder / "out", *weights)
    film = ("propagate", folder / "query", "--quiet", *weights)
    for arguments in (images, (*film, "--labels", circle, "--out", folder / "out"), (*film, "--out", circle)):
        assert "circle" in (told := outcome(*arguments))
        assert "unforeseen" not in told
