"""Training learns, means the same loss however it is split, stops when it diverges, and tells what it did."""

import csv
import itertools
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

from incontext.networks import checkpoint
from incontext.networks.cross_block import CrossBlockConfig
from incontext.networks.support_once import SupportOnceConfig
from incontext.training import loader, loop, objectives
from incontext.training.augment import AugmentConfig
from incontext.training.batches import Batch, StepBatches
from incontext.training.config import TrainConfig
from incontext.training.episodes import EpisodeConfig, TrainingData
from incontext.training.loader import StepInput
from incontext.training.loop import fits_halved, halved, provenance, train, training_step
from incontext.training.losses import segmentation_loss
from incontext.training.state import TrainState
from megamed.files import exclusive

CPU = torch.device("cpu")
NETWORKS = {
    "support-once": SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8, fitted_channels=4),
    "cross-block": CrossBlockConfig((4, 4), (4,)),
}
SMALL = TrainConfig(
    network=NETWORKS["support-once"],
    episodes=EpisodeConfig(images_per_batch=6, set_sizes=(2, 3), large_share=0),
    steps=6,
    warmup_steps=2,
    log_every=2,
    dev_every=3,
    probe_every=6,
    checkpoint_every=3,
    workers=0,
)


@pytest.fixture(scope="module")
def batches(collection_path) -> list[Batch]:
    data = TrainingData.load(collection_path, SMALL.seed)
    return list(map(StepBatches(SMALL.episodes, AugmentConfig(), data, 0, 4).__getitem__, range(4)))


@pytest.fixture(scope="module")
def finished_run(collection_path, tmp_path_factory) -> Path:
    """The folder of a run of six steps."""
    out = tmp_path_factory.mktemp("run")
    train(SMALL, collection_path, out)
    return out


def given(*batches: Batch) -> StepInput:
    return StepInput(dict(enumerate(batches)), cpu_seconds=0.0, waited_seconds=0.0)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("family", NETWORKS)
def test_training_fits_a_batch(family, batches):
    config = SMALL.model_copy(update={"network": NETWORKS[family], "steps": 1000, "learning_rate": 2e-2})
    state = TrainState.start(config, CPU)
    losses = [training_step(state, config, given(batches[0]))["loss"] for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]


def test_small_images_come_first_and_keep_what_half_covers():
    images, labels = torch.zeros(2, 1, 2, 1, 4, 4).unbind()
    images[..., :2], labels[..., 0, :], labels[..., 2:, 3] = 1, 1, 1
    small = halved(Batch(images, labels, labels, queries=1))
    assert small.images[0, 0, 0].tolist() == [[1, 0], [1, 0]]
    assert small.labels[0, 1, 0].tolist() == [[1, 1], [0, 1]]
    assert small.queries == 1


@pytest.mark.parametrize(
    ("side", "family", "fits"),
    [(32, "support-once", True), (48, "support-once", False), (6, "cross-block", True), (7, "cross-block", False)],
)
def test_only_what_the_network_takes_is_halved(side, family, fits):
    batch = Batch(*torch.zeros(3, 1, 2, 1, side, side).unbind(), queries=1)
    assert fits_halved(batch, SMALL.model_copy(update={"network": NETWORKS[family]})) == fits


def test_the_first_share_of_a_training_sees_small_images(batches, monkeypatch):
    config = SMALL.model_copy(update={"steps": 4, "small_share": 0.5})
    state, sides = TrainState.start(config, CPU), []
    answer = state.network.leave_one_out

    def noted(images, *rest):
        sides.append(images.shape[-1])
        return answer(images, *rest)

    monkeypatch.setattr(state.network, "leave_one_out", noted)
    for _ in range(4):
        training_step(state, config, given(batches[0]))
    assert sides == [16, 16, 32, 32]


def test_a_step_costs_beside_those_before_it(batches):
    state = TrainState.start(SMALL, CPU)
    for step in (1, 2):
        training_step(state, SMALL, replace(given(batches[0]), cpu_seconds=1000.0))
        assert state.cpu_seconds > 1000 * step


def test_a_step_means_over_the_queries_of_all_its_batches(batches):
    config = SMALL.model_copy(update={"small_share": 0.0})
    small, large = Batch(*(part[:1] for part in batches[0][:3]), queries=1), batches[1]
    state = TrainState.start(config, CPU)
    logits, labels = [], []
    for images, annotation, _, queries in (small, large):
        logits.append(state.network.leave_one_out(images, annotation, queries).flatten(0, 1))
        labels.append(annotation[:, :queries].flatten(0, 1))
    expected = segmentation_loss(torch.cat(logits), torch.cat(labels))
    gradients = torch.autograd.grad(expected, list(state.network.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    figures = training_step(state, config, given(small, large))
    assert figures["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert figures["gradient_norm"] == pytest.approx(norm, rel=1e-4)


def test_a_run_leaves_weights_and_provenance(finished_run):
    weights = finished_run / "weights.safetensors"
    assert checkpoint.load(weights).config == SMALL.network
    source = checkpoint.read_metadata(weights)["provenance"]
    assert source["datasets"] == {"bones": "CC0", "cells": "CC0", "toys": "CC0"}
    assert source["steps"] == 6
    assert source["queries"] == 6 * 6
    assert source["cpu_seconds"] > 0
    assert source["init_from"] is None
    assert TrainConfig.model_validate(source["training"]) == SMALL


def test_a_run_leaves_tables(finished_run):
    log = rows(finished_run / "log.csv")
    assert [row["step"] for row in log] == ["2", "4", "6"]
    assert all(0 <= float(row["waiting"]) <= 1 for row in log)
    assert [float(row["learning_rate"]) for row in log[:1]] == pytest.approx([1.5e-3 * (1 / 3 + 2 / 3) / 2])
    assert [list(row) for row in rows(finished_run / "dev.csv")] == 2 * [["step", "cpu_minutes", "mean", "eyes"]]
    assert {"true", "wrong", "inverted"} < set(rows(finished_run / "probe.csv")[0])


def test_the_best_weights_on_dev_are_kept(finished_run):
    best = checkpoint.read_metadata(finished_run / "best.safetensors")["provenance"]
    by_step = {int(row["step"]): float(row["mean"]) for row in rows(finished_run / "dev.csv")}
    assert by_step[best["steps"]] == max(by_step.values()) == pytest.approx(best["dev_dice"], rel=1e-5)


def test_worse_weights_on_dev_are_not_kept_and_the_end_is_saved(collection_path, tmp_path, monkeypatch):
    found = iter([0.6, 0.3])
    monkeypatch.setattr(objectives, "dev_dice", lambda *_: {"eyes": next(found)})
    config = SMALL.model_copy(update={"steps": 4, "dev_every": 2, "probe_every": 100, "checkpoint_every": 100})
    train(config, collection_path, tmp_path, "cpu")
    best = checkpoint.read_metadata(tmp_path / "best.safetensors")["provenance"]
    assert (best["steps"], best["dev_dice"]) == (2, 0.6)
    assert TrainState.resume(tmp_path / "state.pt", config, CPU).step == 4


def test_weights_know_what_those_they_began_with_were_trained_on(collection_path):
    data, state = TrainingData.load(collection_path, SMALL.seed), TrainState.start(SMALL, CPU)
    state.origin = {"provenance": {"datasets": {"elsewhere": "CC BY 4.0"}}}
    assert provenance(SMALL, data, state)["datasets"] == {"elsewhere": "CC BY 4.0"} | data.licenses


def test_a_finished_run_is_left_as_it_is(finished_run, collection_path):
    before = {path: path.read_bytes() for path in finished_run.glob("*.*")}
    train(SMALL, collection_path, finished_run)
    assert {path: path.read_bytes() for path in finished_run.glob("*.*")} == before


def test_another_configuration_does_not_continue_a_run(finished_run, collection_path):
    with pytest.raises(ValueError, match="trained differently: expected the same seed"):
        train(SMALL.model_copy(update={"seed": 1}), collection_path, finished_run)


def test_two_trainings_do_not_share_a_folder(finished_run, collection_path):
    with exclusive(finished_run), pytest.raises(ValueError, match="expected to train there alone"):
        train(SMALL, collection_path, finished_run)


def test_minutes_take_the_place_of_steps(collection_path, tmp_path, monkeypatch):
    readings = itertools.count(step=0.1)  # of the clock, which stands still but for them
    clock = SimpleNamespace(process_time=lambda: next(readings), perf_counter=time.perf_counter)
    for module in (loader, loop):
        monkeypatch.setattr(module, "time", clock)
    config = SMALL.model_copy(update={"steps": 1, "minutes": 0.01, "dev_every": 1000, "probe_every": 1000})
    train(config, collection_path, tmp_path)
    last = rows(tmp_path / "log.csv")[-1]
    assert int(last["step"]) > 1
    assert 0.01 <= float(last["cpu_minutes"]) < 0.03
    assert float(last["learning_rate"]) < config.learning_rate


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_a_run_begins_with_other_weights(schedule, finished_run, collection_path, tmp_path):
    start = finished_run / "weights.safetensors"
    config = SMALL.model_copy(update={"init_from": start, "steps": 1, "schedule": schedule, "learning_rate": 1e-9})
    weights = train(config, collection_path, tmp_path)
    found, began = (checkpoint.load(path).state_dict() for path in (weights, start))
    assert found.keys() == began.keys()
    for name, value in began.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)
    origin = checkpoint.read_metadata(weights)["provenance"]["init_from"]
    assert len(origin["sha256"]) == 64
    assert origin["provenance"]["steps"] == 6


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_its_batch(collection_path, tmp_path):
    config = SMALL.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0, "decay_share": 0.0})
    with pytest.raises(FloatingPointError, match=r"diverged at step \d+: .* Its batch is in .*failed_batch"):
        train(config, collection_path, tmp_path)
    with safe_open(tmp_path / "failed_batch.safetensors", "pt") as file:
        (number,) = json.loads(file.metadata()["queries"])
        images, labels = file.get_tensor(f"images.{number}"), file.get_tensor(f"labels.{number}")
    data = TrainingData.load(collection_path, config.seed)
    again = StepBatches(config.episodes, config.augmentation, data, config.seed, 6)[int(number)]
    assert torch.equal(again.images, images)
    assert torch.equal(again.labels, labels)


def test_a_step_that_diverges_changes_nothing(batches):
    state = TrainState.start(SMALL, CPU)
    before = [value.clone() for value in state.network.state_dict().values()]
    broken = batches[0]._replace(images=batches[0].images * float("nan"))
    with pytest.raises(FloatingPointError, match="got a loss of nan"):
        training_step(state, SMALL, given(batches[1], broken))
    assert state.step == 0
    assert all(map(torch.equal, before, state.network.state_dict().values()))


def test_mixed_precision_is_refused_on_a_processor(collection_path, tmp_path):
    with pytest.raises(ValueError, match="expected cuda, got cpu"):
        train(SMALL.model_copy(update={"mixed_precision": True}), collection_path, tmp_path, "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mixed_precision", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", NETWORKS)
def test_training_runs_on_cuda(family, mixed_precision, collection_path, tmp_path):
    config = SMALL.model_copy(update={"network": NETWORKS[family], "mixed_precision": mixed_precision})
    assert train(config, collection_path, tmp_path, "cuda").is_file()


@pytest.mark.parametrize("name", ["weights.safetensors", "log.csv", "probe.csv"])
def test_files_of_somebody_else_are_not_replaced(collection_path, tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("mine\n1\n")
    (tmp_path / "subjects.csv").write_text("subject,sex\n1,f")
    monkeypatch.setattr(loop, "training_step", None)
    with pytest.raises(ValueError, match=rf"{name} is somebody's own: .* Move it away"):
        train(SMALL, collection_path, tmp_path)
    assert (tmp_path / name).read_text() == "mine\n1\n"
    assert (tmp_path / "subjects.csv").read_text() == "subject,sex\n1,f"


def test_a_run_goes_on_where_it_was_copied_to(finished_run, collection_path, tmp_path):
    for path in finished_run.glob("[!.]*.*"):
        shutil.copy(path, tmp_path)
    train(SMALL.model_copy(update={"steps": 7}), collection_path, tmp_path)
    assert checkpoint.read_metadata(tmp_path / "weights.safetensors")["provenance"]["steps"] == 7
