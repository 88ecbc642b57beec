"""A run that was killed ends as one that was not, and no run goes on from another's state."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig
from incontext.training.config import TrainConfig
from incontext.training.episodes import EpisodeConfig
from incontext.training.loop import train
from incontext.training.state import TrainState, describe_origin

CPU = torch.device("cpu")
SMALL = TrainConfig(
    network=SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8),
    episodes=EpisodeConfig(images_per_batch=4, set_sizes=(2,), large_share=0),
    batches_per_step=2,
    steps=8,
    log_every=2,
    dev_every=4,
    probe_every=8,
    checkpoint_every=3,
    workers=1,
)
CLOCK = {"cpu_minutes", "seconds", "waiting"}
"""Columns that no two runs agree in."""

KILLED_AT_STEP_5 = """
import os, signal, sys
from pathlib import Path
from incontext.training import loop
step = loop.training_step

def step_or_die(state, *rest):
    if state.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(state, *rest)

loop.training_step = step_or_die
config, collection, out = sys.argv[1:]
loop.train(loop.TrainConfig.model_validate_json(config), Path(collection), Path(out), "cpu")
"""


def run_until_killed(repository: Path, collection_path: Path, out: Path) -> int:
    command = [sys.executable, "-c", KILLED_AT_STEP_5, SMALL.model_dump_json(), str(collection_path), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(command, cwd=out.parent, env=environment, check=False, capture_output=True).returncode


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{k: v for k, v in row.items() if k not in CLOCK} for row in csv.DictReader(file)]


def test_a_killed_run_ends_as_an_undisturbed_one(repository, collection_path, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(SMALL, collection_path, straight, "cpu")
    assert run_until_killed(repository, collection_path, killed) == -signal.SIGKILL
    # The log is ahead of the state, which was saved at step 3.
    assert [row["step"] for row in rows(killed / "log.csv")] == ["2", "4"]
    train(SMALL, collection_path, killed, "cpu")
    for table in ("log.csv", "dev.csv", "probe.csv"):
        assert rows(killed / table) == rows(straight / table)
    states = [torch.load(out / "state.pt", weights_only=True) for out in (straight, killed)]
    for part in ("network", "average"):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), name
    first, second = (json.dumps(state["optimizer"], default=torch.Tensor.tolist) for state in states)
    assert first == second


def test_save_then_resume_is_identity(tmp_path):
    state = TrainState.start(SMALL, CPU)
    state.step, state.cpu_seconds, state.best_dev, state.pending = 3, 7.5, 0.5, {"loss": [0.1, 0.2]}
    state.save(tmp_path / "state.pt", SMALL)
    again = TrainState.resume(tmp_path / "state.pt", SMALL.model_copy(update={"steps": 100, "workers": 0}), CPU)
    assert (again.step, again.cpu_seconds, again.best_dev, again.pending) == (3, 7.5, 0.5, {"loss": [0.1, 0.2]})
    assert all(map(torch.equal, again.network.state_dict().values(), state.network.state_dict().values()))


@pytest.mark.parametrize("change", [{"batches_per_step": 3}, {"seed": 1}, {"small_share": 0.25}], ids=str)
def test_what_decides_the_weights_may_not_change(change, tmp_path):
    TrainState.start(SMALL, CPU).save(tmp_path / "state.pt", SMALL)
    with pytest.raises(ValueError, match=f"expected the same {next(iter(change))}"):
        TrainState.resume(tmp_path / "state.pt", SMALL.model_copy(update=change), CPU)


def test_a_run_goes_on_without_the_weights_that_it_began_with(tmp_path):
    checkpoint.save(tmp_path / "first.safetensors", TrainState.start(SMALL, CPU).network, {})
    config = SMALL.model_copy(update={"init_from": tmp_path / "first.safetensors"})
    TrainState.start(config, CPU).save(tmp_path / "state.pt", config)
    (tmp_path / "first.safetensors").unlink()
    assert TrainState.resume(tmp_path / "state.pt", config, CPU).origin["file"] == "first.safetensors"


@pytest.mark.parametrize(("step", "weight"), [(1, 10 / 11), (10, 1 / 2), (10**6, 0.005)])
def test_the_average_follows_closely_at_first(step, weight):
    state = TrainState.start(SMALL, CPU)
    with torch.no_grad():
        for value, network in ((0.0, state.average), (1.0, state.network)):
            for parameter in network.parameters():
                parameter.fill_(value)
    state.step = step
    state.update_average(0.995)
    for parameter in state.average.parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, weight))


def test_a_state_of_another_version_is_refused(tmp_path):
    torch.save({"config": '{"images_per_step": 24}'}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="is of another version"):
        TrainState.resume(tmp_path / "state.pt", SMALL, CPU)


def test_the_seed_decides_the_weights():
    first, same, other = (TrainState.start(SMALL.model_copy(update={"seed": seed}), CPU) for seed in (0, 0, 1))
    assert torch.equal(first.network.head.weight, same.network.head.weight)
    assert not torch.equal(first.network.head.weight, other.network.head.weight)


def test_open_weights_begin_with_open_weights_only(tmp_path):
    path = tmp_path / "weights.safetensors"
    wanted = SMALL.model_copy(update={"episodes": EpisodeConfig(licence="open"), "init_from": path})
    network = TrainState.start(SMALL, CPU).network
    checkpoint.save(path, network, {"training": SMALL.model_dump(mode="json")})
    with pytest.raises(ValueError, match=r"expected weights trained with episodes\.licence open, got any"):
        TrainState.start(wanted, CPU)
    checkpoint.save(path, network, {"training": wanted.model_dump(mode="json")})
    assert describe_origin(path, wanted)["file"] == "weights.safetensors"
