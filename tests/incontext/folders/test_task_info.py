"""A saved task is exported from the shell."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from incontext.cli import app
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.segmenter import Segmenter

CONFIG = SupportOnceConfig(channels=(4, 4, 8), heads=1, head_channels=4, groups=2, fitted_channels=2)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "w.safetensors", SupportOnceNet(CONFIG), {})
    image = np.eye(16, dtype=np.float32)
    segmenter = Segmenter(tmp_path / "w.safetensors", size_px=32, device="cpu").fit([image], [image > 0])
    return segmenter.save_task(tmp_path / "a.task", author="Ada")


def export(*options: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *map(str, options)])
    return result.exit_code, result.output.replace("\n", " ")


def test_the_author_of_a_task_is_that_of_its_model(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = []
    monkeypatch.setattr(Segmenter, "export", lambda _, path, author: exported.append((path, author)))
    code, told = export("--task", task, "--out", task.with_name("a.onnx"))
    assert (code, exported) == (0, [(task.with_name("a.onnx"), "Ada")])
    assert "It holds no images" in told


@pytest.mark.parametrize(("name", "expected"), [("a.txt", "is no file of a model"), ("a.pt2", "is somebody's own")])
def test_what_is_no_place_for_a_model_is_refused(name: str, expected: str, task: Path) -> None:
    if name == "a.pt2":
        task.with_name(name).write_text("mine")
    code, told = export("--task", task, "--out", task.with_name(name))
    assert code == 1
    assert expected in told
