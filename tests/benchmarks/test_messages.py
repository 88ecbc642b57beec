"""Whatever goes wrong is one line on stderr, and exit status 1."""

from pathlib import Path

import pytest

from benchmarks.messages import tell_failures
from tests.benchmarks.squares import build_squares
from tests.benchmarks.test_cli import bench

CRASH = """
import os
def crash(*_):
    {how}
"""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_squares(tmp_path_factory.mktemp("messages"), "heldout")


def test_a_name_with_a_newline_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell_failures({("mine:p", "task\nof two lines"): "died"})
    assert capsys.readouterr().err == "failed mine:p on task of two lines: died\n"


@pytest.mark.parametrize(
    "how",
    [
        *("raise MemoryError", "raise RuntimeError('HDF5')", "raise KeyError(1)", "raise TypeError", "crash()"),
        *("raise SystemExit(0)", "raise type('Odd', (Exception,), {})('a\\nb')"),
    ],
)
def test_what_a_predictor_raises_harms_no_other(
    how: str, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"crash_{abs(hash(how))}"
    (tmp_path / f"{module}.py").write_text(CRASH.replace("{how}", how))
    monkeypatch.syspath_prepend(tmp_path)
    asked = ("run", "--collection", collection, "--out", tmp_path / "out", "--support-size", 2, "--draws", 1)
    code, output, errors = bench(*asked, "--predictor", f"{module}:crash", "--predictor", "mean-mask", "--workers", 1)
    assert code == 3
    assert "mean-mask" in output
    assert errors.count(f"failed {module}:crash on squares/drawing/2d/square: ") == 1


def test_a_killed_worker_is_told_in_one_line(collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crash_worker.py").write_text(CRASH.replace("{how}", "os.kill(os.getpid(), 9)"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    asked = ("run", "--collection", collection, "--out", tmp_path / "out", "--support-size", 2, "--draws", 1)
    code, _, errors = bench(*asked, "--predictor", "crash_worker:crash", "--workers", 2)
    assert code == 1
    assert errors.splitlines()[-1].startswith("Error: A worker died")
