"""A prompted network learns from its prompts, beside a network that stays as it is, and the same from equal seeds."""

import csv
from pathlib import Path

import pytest
import torch

from incontext.networks import checkpoint, prompted
from incontext.networks.prompted import INSIDE, OUTSIDE, PromptedConfig
from incontext.networks.prompted_weights import load_prompted, prompted_beside
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.training.augment import AugmentConfig
from incontext.training.batches import Batch, StepBatches
from incontext.training.config import PromptTraining, TrainConfig
from incontext.training.episodes import EpisodeConfig, TrainingData
from incontext.training.loader import StepInput
from incontext.training.loop import train, training_step
from incontext.training.objectives import objective_of
from incontext.training.prompted import CLICKS, disobedience, without_support
from incontext.training.state import TrainState

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    """The configuration of a small network beside a small one, whose weights are drawn."""
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    torch.manual_seed(0)
    base = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8))
    checkpoint.save(path, base, {"training": {"episodes": {"licence": "any"}}, "datasets": {"eyes": "CC0-1.0"}})
    return TrainConfig(
        network=PromptedConfig(read_channels=(8, 8, 8, 8), channels=(8, 8, 8, 8), matched_channels=4, heads=1),
        prompts=PromptTraining(beside=str(path), rounds=2),
        episodes=EpisodeConfig(images_per_batch=6, set_sizes=(2, 3), large_share=0),
        learning_rate=1e-2,
        steps=4,
        small_share=0,
        warmup_steps=1,
        log_every=2,
        dev_every=2,
        checkpoint_every=2,
        workers=0,
    )


@pytest.fixture(scope="module")
def batch(collection_path, config) -> Batch:
    data = TrainingData.load(collection_path, 0)
    return StepBatches(config.episodes, AugmentConfig(), data, 0, 4)[0]


def given(batch: Batch, number: int = 0) -> StepInput:
    return StepInput({number: batch}, cpu_seconds=0.0, waited_seconds=0.0)


def test_training_fits_a_batch_and_leaves_the_network_beside_it(config, batch):
    state, objective = TrainState.start(config.model_copy(update={"steps": 1000}), CPU), objective_of(config, CPU)
    before = {name: value.clone() for name, value in objective.network.state_dict().items()}
    losses = [training_step(state, config, given(batch), objective=objective)["loss"] for _ in range(12)]
    assert losses[-1] < 0.95 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in objective.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in objective.network.parameters())


def test_what_is_prompted_depends_on_seed_and_number_of_the_batch_alone(config, batch):
    def gradients(number: int, seed: int = 0) -> list[torch.Tensor]:
        changed = config.model_copy(update={"seed": seed})
        state = TrainState.start(config, CPU)
        torch.manual_seed(number)
        objective_of(changed, CPU).add_gradients(state.network, {number: batch})
        return state.gradients()

    once, again, other, reseeded = gradients(0), gradients(0), gradients(1), gradients(0, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(once, other, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(once, reseeded, strict=True))


def test_a_reading_that_loses_its_support_is_one_without(config, batch):
    network = objective_of(config, CPU).network
    images, labels = batch.images[:1], batch.labels[:1]
    with torch.no_grad():
        code = network.encode_support(images, labels)
        queries = torch.rand(2, 1, *images.shape[-2:])
        lost = without_support(prompted.read(network, queries, code), torch.tensor([0.0, 1.0]))
        alone, whole = prompted.read(network, queries), prompted.read(network, queries, code)
    for of, wanted in ((0, alone), (1, whole)):
        assert torch.equal(lost.automatic[of], wanted.automatic[of])
        assert torch.equal(lost.supported[of], wanted.supported[of])
        assert all(torch.equal(a[of], b[of]) for a, b in zip(lost.stages, wanted.stages, strict=True))


def test_disobedience_is_the_cross_entropy_of_prompted_pixels():
    maps, logits = torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    maps[0, INSIDE, 1, 1] = maps[0, OUTSIDE, 2, 2] = 1
    assert disobedience(logits, maps).item() == pytest.approx(torch.tensor(2.0).log().item() / 2)
    logits[0, 0, 1, 1], logits[0, 0, 2, 2] = 50, -50
    assert disobedience(logits, maps).item() == pytest.approx(0, abs=1e-6)
    assert disobedience(-logits, maps).item() == pytest.approx(25)


@pytest.fixture(scope="module")
def finished_run(config, collection_path, tmp_path_factory) -> Path:
    """The folder of a run of four steps."""
    return train(config, collection_path, tmp_path_factory.mktemp("run")).parent


def test_a_run_goes_on_where_it_was(config, collection_path, finished_run, tmp_path):
    train(config.model_copy(update={"steps": 2}), collection_path, tmp_path)
    again = TrainState.resume(
        train(config, collection_path, tmp_path).with_name("state.pt"), config, CPU
    ).average.state_dict()
    whole = TrainState.resume(finished_run / "state.pt", config, CPU).average.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_a_run_is_watched_by_clicks(finished_run):
    rows = list(csv.DictReader((finished_run / "dev.csv").read_text().splitlines()))
    assert {f"s{size}_clicks{clicks}" for size in (0, 4) for clicks in CLICKS} <= rows[0].keys()
    assert not (finished_run / "probe.csv").exists()


def test_weights_are_used_beside_those_that_they_were_trained_beside(config, finished_run, tmp_path):
    trained, base = finished_run / "weights.safetensors", tmp_path / "mine.safetensors"
    base.write_bytes(Path(config.prompts.beside).read_bytes())
    prompted_beside(base).write_bytes(trained.read_bytes())
    assert load_prompted(base).config == config.network
    assert checkpoint.read_metadata(trained)["provenance"]["beside"]["provenance"]["datasets"] == {"eyes": "CC0-1.0"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"network": PromptedConfig()}, "does not fit the prompted network: expected a support-once network"),
        ({"episodes": EpisodeConfig(licence="open")}, "may not be the start of open weights"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(config, change, match):
    with pytest.raises(ValueError, match=match):
        objective_of(config.model_copy(update=change), CPU)
