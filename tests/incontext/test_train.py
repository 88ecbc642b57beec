"""Training learns, resumes to the same state, and draws the same batches whatever the worker."""

import json

import pytest
import torch

from incontext import checkpoint
from incontext.episodes import TrainingData
from incontext.support_once import SupportOnceConfig
from incontext.train import StepBatches, TrainConfig, TrainState, train, training_step

SMALL = TrainConfig(
    network=SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8),
    steps=6,
    images_per_step=6,
    set_sizes=(2, 3),
    warmup_steps=2,
    dev_every=3,
    checkpoint_every=3,
    workers=0,
)


@pytest.fixture
def batches(collection_path) -> StepBatches:
    return StepBatches(SMALL, TrainingData.load(collection_path, SMALL.seed))


def test_a_batch_depends_on_its_step_alone(batches):
    ahead = batches[4]
    torch.manual_seed(99)
    batches[0]
    for first, second in zip(ahead, batches[4], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(batches[0][0], batches[1][0])


def test_preparing_a_batch_leaves_the_global_generator_alone(batches):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    batches[0]
    assert torch.equal(torch.rand(3), expected)


def test_a_resumed_run_ends_in_the_same_state(collection_path, tmp_path):
    halfway = SMALL.model_copy(update={"steps": 3, "decay_share": 0.0})
    constant = SMALL.model_copy(update={"decay_share": 0.0})
    train(constant, collection_path, tmp_path / "straight")
    train(halfway, collection_path, tmp_path / "resumed")
    train(constant, collection_path, tmp_path / "resumed")
    states = [torch.load(tmp_path / run / "state.pt", weights_only=True) for run in ("straight", "resumed")]
    assert states[0]["step"] == states[1]["step"] == 6
    for part in ("network", "average"):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), name


def test_a_run_leaves_weights_log_and_provenance(collection_path, tmp_path):
    weights = train(SMALL, collection_path, tmp_path)
    assert checkpoint.load(weights).config == SMALL.network
    provenance = checkpoint.read_metadata(weights)["provenance"]
    assert provenance["datasets"] == {"bones": "CC0", "cells": "CC0", "toys": "CC0"}
    assert provenance["steps"] == 6
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    assert set(lines[-1]["dev_datasets"]) == {"eyes"}


def test_another_configuration_does_not_continue_a_run(collection_path, tmp_path):
    train(SMALL, collection_path, tmp_path)
    with pytest.raises(ValueError, match="trained differently: expected the same seed"):
        train(SMALL.model_copy(update={"seed": 1}), collection_path, tmp_path)


def test_training_fits_a_batch(batches):
    config = SMALL.model_copy(update={"steps": 100, "learning_rate": 5e-3})
    state = TrainState.start(config, torch.device("cpu"))
    images, labels = batches[0]
    losses = [training_step(state, config, images, labels)["loss"] for _ in range(60)]
    assert losses[-1] < 0.6 * losses[0]


def test_the_learning_rate_warms_up_stays_and_falls():
    config = TrainConfig(steps=100, learning_rate=1.0, warmup_steps=9, decay_share=0.2)
    assert [config.learning_rate_at(step) for step in (0, 9, 50, 80, 90, 99)] == pytest.approx(
        [0.1, 1, 1, 1, 0.5, 0.05]
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_runs_on_cuda(collection_path, tmp_path):
    assert train(SMALL, collection_path, tmp_path, "cuda").is_file()
