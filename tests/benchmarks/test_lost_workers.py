"""A run outlives the workers of a Dask cluster: one, whose work another does, or all, of which it tells."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from tests.dask_cluster import Cluster, dask_cluster
from tests.killed_runs import collection, of_benchmark

PREDICTOR = """
import os, time
from pathlib import Path

HERE = Path(__file__).parent

def predict(query_images, support_images, support_labels):
    (HERE / f"{os.getpid()}.begun").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return query_images - 0.5

def another(*batch):
    return -predict(*batch)
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Iterator[Cluster]:
    """A cluster whose workers score with a predictor that says when it begins and waits until it may go on."""
    (tmp_path / "patient_one.py").write_text(PREDICTOR)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{repository}")
    monkeypatch.syspath_prepend(tmp_path)
    with dask_cluster(tmp_path) as running:
        yield running


def lose(folder: Path, killed: Sequence[subprocess.Popen[str]], of: int) -> None:
    """Kill processes once a number of workers have begun to score, and let those that are left go on."""
    for path in (*folder.glob("*.begun"), *folder.glob("go")):
        path.unlink()

    def kill() -> None:
        while len(list(folder.glob("*.begun"))) < of:
            sleep(0.01)
        for process in killed:
            process.kill()
        (folder / "go").touch()

    Thread(target=kill, daemon=True).start()


def run(folder: Path, out: str, *options: str) -> tuple[int, str]:
    predictors = ("--predictor", "patient_one:predict", "--predictor", "patient_one:another")
    asked = (*predictors, "--support-size", "2", "--draws", "2", "--device", "cpu")
    arguments = ["run", "--collection", str(folder / "collection"), *asked, "--out", str(folder / out), *options]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout + result.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_lost_workers_lose_no_row(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """First one worker is killed while it scores, then the other."""
    scheduler, (_, first, second) = cluster
    collection(tmp_path)

    lose(tmp_path, [first], of=2)
    code, text = run(tmp_path, "one", "--scheduler", scheduler)
    assert code == 0, text
    monkeypatch.setattr("megamed.executors.ALONE_SECONDS", 2.0)
    lose(tmp_path, [second], of=1)
    code, text = run(tmp_path, "both", "--scheduler", scheduler)
    assert (code, text.count("are gone: expected one at least")) == (1, 1), text
    assert "Traceback" not in text

    for out in ("whole", "both"):
        code, text = run(tmp_path, out, "--workers", "1")
        assert code == 0, text
    whole = of_benchmark(tmp_path / "whole")
    assert of_benchmark(tmp_path / "one") == of_benchmark(tmp_path / "both") == whole
