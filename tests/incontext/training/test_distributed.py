"""Two processes take the steps that one process takes with their batches joined."""

import csv
import os
import subprocess
from pathlib import Path

import pytest
import torch

from incontext.training.config import read_config
from incontext.training.distributed import ALONE, own_device
from incontext.training.loop import train

CONFIG = """
steps = 4
batches_per_step = 2
warmup_steps = 1
log_every = 1
dev_every = 4
probe_every = 4
workers = 0

[network]
channels = [8, 8, 8, 8]
heads = 1
head_channels = 8

[episodes]
images_per_batch = 6
set_sizes = [2, 3]
large_share = 0
"""


def losses(path: Path) -> list[float]:
    rows = csv.DictReader(path.read_text().splitlines())
    return [float(row[name]) for row in rows for name in ("loss", "gradient_norm")]


def test_two_processes_train_as_one(repository, scripts, collection_path, tmp_path):
    (tmp_path / "small.toml").write_text(CONFIG)
    train(read_config(str(tmp_path / "small.toml")), collection_path, tmp_path / "one", "cpu")
    command = [scripts / "python", "-c", "from torch.distributed.run import main; main()"]
    command += ["--standalone", "--nproc-per-node", "2", "--no-python", scripts / "incontext"]
    command += ["train", "--config", "small.toml", "--device", "cpu", "--out", "two"]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--collection", str(collection_path)],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Wrote") == 1
    assert len(losses(tmp_path / "one" / "log.csv")) == 8
    assert losses(tmp_path / "one" / "log.csv") == pytest.approx(losses(tmp_path / "two" / "log.csv"), rel=1e-5)
    states = [torch.load(tmp_path / out / "state.pt", weights_only=True) for out in ("one", "two")]
    for name, value in states[0]["network"].items():
        torch.testing.assert_close(value, states[1]["network"][name], rtol=0, atol=1e-5)


def test_one_process_alone_has_nothing_to_add():
    value = torch.ones(3)
    ALONE.add_up([value])
    assert ALONE.first
    assert value.tolist() == [1, 1, 1]


def test_every_local_process_takes_its_own_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert own_device(torch.device("cuda:1")) == torch.device("cuda", 1)
    assert own_device(torch.device("cpu")) == torch.device("cpu")
