"""A run that was killed ends as one that was not, and no run goes on from another's state."""

import csv
import json
import os
import pickle
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig
from incontext.training import loop
from incontext.training.config import TrainConfig
from incontext.training.episodes import EpisodeConfig
from incontext.training.loop import train
from incontext.training.saved_state import read_state, write_state
from incontext.training.state import TrainState, describe_origin, union
from megamed.build import BuildOptions, build
from megamed.standardise import Standard
from tests.incontext.conftest import draw_dataset
from tests.killed_runs import finish

CPU = torch.device("cpu")
SMALL = TrainConfig(
    network=SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8, fitted_channels=4),
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


def run_until_killed(collection_path: Path, out: Path) -> int:
    """Train in a process of its own, which is killed at step 5, and return how it ended."""
    if process := os.fork():
        return finish(process)
    step = loop.training_step

    def step_or_die(state, *rest):
        if state.step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(state, *rest)

    loop.training_step = step_or_die
    try:
        train(SMALL, collection_path, out, "cpu")
    finally:
        os._exit(70)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{k: v for k, v in row.items() if k not in CLOCK} for row in csv.DictReader(file)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_a_killed_run_ends_as_an_undisturbed_one(collection_path, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(SMALL, collection_path, straight, "cpu")
    assert run_until_killed(collection_path, killed) == -signal.SIGKILL
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


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "expected a hash at its end, got an empty file"),
        (lambda content: content[: len(content) // 2], "expected a hash at its end, got none"),
        (lambda content: content[:-1], "expected a hash at its end, got none"),
        (lambda content: content[:1000] + b"?" + content[1001:], "expected a content of"),
        (lambda content: content[:-1] + b"?", "expected a content of"),
        (lambda content: bytes(len(content) - 71) + content[-71:], "expected a content of"),
        (lambda content: pickle.dumps({"step": 1}), "expected a hash at its end, got none"),
    ],
    ids=["empty", "half", "shorter", "changed", "hash changed", "zeroed", "foreign"],
)
def test_a_damaged_state_is_refused_with_the_cure(damage, reason, tmp_path):
    path = tmp_path / "state.pt"
    TrainState.start(SMALL, CPU).save(path, SMALL)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"state\.pt is .*{reason}.*Move it away to start anew") as found:
        TrainState.resume(path, SMALL, CPU)
    assert str(found.value).isprintable()


def test_a_state_with_more_in_it_is_of_another_version(tmp_path):
    TrainState.start(SMALL, CPU).save(tmp_path / "state.pt", SMALL)
    write_state(tmp_path / "state.pt", read_state(tmp_path / "state.pt", CPU) | {"experts": 4})
    with pytest.raises(ValueError, match=r"is of another version.*other in experts"):
        TrainState.resume(tmp_path / "state.pt", SMALL, CPU)
    write_state(tmp_path / "state.pt", {})
    with pytest.raises(ValueError, match="is of another version"):
        TrainState.resume(tmp_path / "state.pt", SMALL, CPU)


def test_a_state_stays_a_file_of_torch(tmp_path):
    write_state(tmp_path / "state.pt", {"step": 3, "weight": torch.ones(2)})
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 3


@pytest.fixture
def other_collection_path(tmp_path):
    """A collection whose cells are others, under another licence, and that lacks bones."""
    draw_dataset(tmp_path / "raw" / "cells", "train", 4)
    card = tmp_path / "raw" / "cells" / "meta.json"
    card.write_text(card.read_text().replace("CC0", "CC BY-NC 4.0"))
    draw_dataset(tmp_path / "raw" / "toys", "auxiliary", 4)
    with ThreadPoolExecutor(1) as executor:
        build(tmp_path / "raw", tmp_path / "other", BuildOptions(Standard(size_px=32)), executor, lambda *_: None)
    return tmp_path / "other"


def test_a_run_goes_on_with_the_collection_that_it_began_with(collection_path, other_collection_path, tmp_path):
    short, longer = (SMALL.model_copy(update={"steps": steps, "workers": 0}) for steps in (2, 3))
    train(short, collection_path, tmp_path / "run", "cpu")
    moved = shutil.copytree(collection_path, tmp_path / "moved")
    with pytest.raises(ValueError, match=r"collection is another than the run began with: .* got bones, cells changed"):
        train(longer, other_collection_path, tmp_path / "run", "cpu")
    assert TrainState.resume(tmp_path / "run" / "state.pt", longer, CPU).step == 2
    train(longer, moved, tmp_path / "run", "cpu")


def test_no_licence_vanishes_when_a_run_goes_on_with_other_data(collection_path, other_collection_path, tmp_path):
    runs = ((2, collection_path), (3, other_collection_path), (4, collection_path), (5, collection_path))
    for number, (steps, path) in enumerate(runs):
        config = SMALL.model_copy(update={"steps": steps, "workers": 0})
        weights = train(config, path, tmp_path / "run", "cpu", other_collection=number in (1, 2))
        datasets = checkpoint.read_metadata(weights)["provenance"]["datasets"]
        cells = "CC0 | CC BY-NC 4.0" if number else "CC0"
        assert datasets == {"bones": "CC0", "cells": cells, "toys": "CC0"}


def test_licences_are_kept_apart_in_their_union():
    assert union({"a": "CC BY"}, {"a": "CC BY-NC", "b": "MIT"}, {"a": "CC BY"}) == {"a": "CC BY | CC BY-NC", "b": "MIT"}
    assert union({"a": "CC BY | CC BY-NC"}, {"a": "CC BY"}) == {"a": "CC BY | CC BY-NC"}


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
