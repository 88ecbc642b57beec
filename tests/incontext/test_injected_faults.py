"""Whatever fails in any stage of a command is told in a line, and what is done stays."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext import Segmenter
from incontext.cli import app
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from tests.incontext.test_damaged_files import TRAINING
from tests.injected import ERRORS, ends_well, inject

IN_ONE_IMAGE = {
    "read": "incontext.folders.segment_folder:read_source_image",
    "predict": "incontext.segmenter:Segmenter.predict",
    "write": "incontext.inference.segmentation:Segmentation.write",
    "report": "incontext.folders.segment_folder:_report",
}
"""Stages of one image by what they do."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled image, two others, a tiny checkpoint and a task; not to be changed."""
    home = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8))
    checkpoint.save(home / "tiny.safetensors", network, {})
    label = np.pad(np.ones((12, 12), dtype=np.uint8), 10)
    for name in ("support/images/1", "query/2", "query/3"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(90 * label).save(home / f"{name}.png")
    (home / "support/labels").mkdir()
    Image.fromarray(label).save(home / "support/labels/1.png")
    Segmenter(home / "tiny.safetensors", size_px=64, device="cpu").fit(90 * label, label).save_task(home / "a.task")
    np.save(home / "volume.npy", np.stack([90 * label] * 3))
    np.save(home / "planes.npy", np.stack([label, 0 * label, label]))
    return home


def segment(home: Path, out: Path) -> tuple[object, ...]:
    return ("segment", "--task", home / "a.task", "--query", home / "query", "--out", out, "--device", "cpu", "--quiet")


@pytest.fixture
def segmented(home: Path) -> tuple[object, ...]:
    """Arguments that name the task's weights, which lie beside it."""
    return ("--weights", home / "tiny.safetensors")


@pytest.mark.parametrize("stage", IN_ONE_IMAGE)
def test_one_image_fails_and_no_other(
    home: Path, segmented: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    for number, error in enumerate(ERRORS[::2]):
        out = tmp_path / str(number)
        with monkeypatch.context() as patch:
            inject(patch, IN_ONE_IMAGE[stage], error, "2.png")
            result = ends_well(app, *segment(home, out), *segmented)
        assert result.exit_code == 3
        assert [line for line in result.stderr.splitlines() if line.startswith("Failed: 2.png: ")], result.stderr
        assert (out / "masks" / "3.png").is_file()
        assert (out / "overlay.png").is_file()
        summary = json.loads((out / "summary.json").read_text())
        assert [*summary["failures"]] == ["2.png"]
        assert [each["file"] for each in summary["images"]] == ["3.png"]


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("incontext.folders.preview:_tiles", "2.png in overlay.png"),
        ("incontext.folders.segment_folder:_png", "overlay.png"),
        ("incontext.folders.segment_folder:write_tool_files", "files for coco"),
    ],
)
def test_what_is_made_of_the_masks_fails_alone(
    home: Path,
    segmented: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    what: str,
) -> None:
    for number, error in enumerate(ERRORS[1:3]):
        out = tmp_path / str(number)
        with monkeypatch.context() as patch:
            inject(patch, place, error, "2.png" if what.startswith("2") else "")
            result = ends_well(app, *segment(home, out), *segmented, "--write", "coco")
        assert [line for line in result.stderr.splitlines() if line.startswith(f"Failed: {what}: ")], result.stderr
        assert [*json.loads((out / "summary.json").read_text())["failures"]] == [what]
        assert len(list((out / "masks").iterdir())) == 2


WHOLE = {
    "segment": ("incontext.folders.segment_folder:read_folder", "incontext.folders.segment_folder:as_json"),
    "check": ("incontext.folders.check_folder:read_folder", "incontext.folders.file_facts:_picture"),
    "save-task": ("incontext.segmenter:Segmenter.fit", "incontext.inference.task_file:save_sealed"),
    "propagate": ("incontext.segmenter:Segmenter.propagate", "incontext.inference.segmentation:Segmentation.write"),
    "info": ("incontext.networks.checkpoint:read_sealed_metadata",),
    "convert": ("incontext.networks.universeg:read_state", "incontext.networks.universeg:checkpoint.load"),
    "average": ("incontext.training.averaging:Checkpoint.build", "incontext.networks.checkpoint:save_sealed"),
    "export": ("incontext.networks.onnx_graphs:export_checkpoint",),
    "train": (
        "incontext.training.episodes:TrainingData.load",
        "incontext.training.loop:training_step",
        "incontext.training.state:write_state",
        "incontext.networks.checkpoint:save_sealed",
    ),
    "calibrate": ("incontext.training.calibration:dev_tasks", "incontext.training.calibration:calibrate"),
    "demo": ("incontext.folders.demo:run",),
}
"""Places in commands that fail as a whole, or in part."""


@pytest.mark.parametrize(("command", "place"), [(name, place) for name, places in WHOLE.items() for place in places])
def test_a_command_ends_in_one_line(
    home: Path, collection_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, place: str
) -> None:
    (tmp_path / "small.toml").write_text(TRAINING)
    weights = ("--weights", home / "tiny.safetensors")
    to = "universeg" if "load" in place else "incontext"
    arguments = {
        "segment": ("--task", home / "a.task", "--query", home / "query", "--out", tmp_path / "out", *weights),
        "check": (home / "support",),
        "save-task": ("--support", home / "support", "--out", tmp_path / "b.task", *weights),
        "propagate": (home / "volume.npy", "--labels", home / "planes.npy", "--out", tmp_path / "o.npy", *weights),
        "info": (home / "tiny.safetensors",),
        "convert": (home / "tiny.safetensors", tmp_path / "o.pt", "--to", to),
        "average": (home / "tiny.safetensors", home / "tiny.safetensors", "--out", tmp_path / "mean.safetensors"),
        "export": ("--out", tmp_path / "onnx", *weights),
        "train": ("--collection", collection_path, "--out", tmp_path / "run", "--config", tmp_path / "small.toml"),
        "calibrate": ("--collection", collection_path, *weights),
        "demo": ("--out", tmp_path / "demo", *weights),
    }[command]
    for error in ERRORS[-1:] if command == "train" else ERRORS[::2]:
        with monkeypatch.context() as patch:
            inject(patch, place, error)
            ends_well(app, command, *arguments)
