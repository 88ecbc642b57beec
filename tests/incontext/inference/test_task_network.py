"""The network of a task: which one computes when, and what a saved task remembers of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from incontext import Segmenter
from incontext.folders.expectation import expectation_of
from incontext.inference import backends
from incontext.inference.support_pool import Pool
from incontext.inference.task_file import describe_task
from incontext.inference.task_network import groups_of
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.networks.weights_delta import Tuned, WeightsDelta
from incontext.training import tuning

LABELS = [np.pad(np.ones((12, 8 + 2 * i), dtype=np.uint8), ((6, 14), (5 + i, 19 - 3 * i))) for i in range(5)]
IMAGES = [40 + 150 * label for label in LABELS]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = SupportOnceNet(SupportOnceConfig(channels=(4, 8, 8), heads=1, head_channels=8, groups=2))
    checkpoint.save(path, network, {})
    return path


class Brightener:
    """Stands for tuning: moves logits by one, and counts."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []

    def __call__(self, network: nn.Module, data: tuning.TuningImages, *_: Any) -> Tuned:
        self.groups.append(data.groups.tolist())
        return Tuned(WeightsDelta.of({"head.bias": torch.ones(4)}), "tuned 1 steps: better")


@pytest.fixture
def tuner(monkeypatch: pytest.MonkeyPatch) -> Brightener:
    stub = Brightener()
    monkeypatch.setattr(tuning, "tune", stub)
    return stub


def fitted(weights: Path | nn.Module, **params: Any) -> Segmenter:
    return Segmenter(weights, size_px=32, device="cpu", **params).fit(IMAGES[1:], LABELS[1:])


def log_odds(segmenter: Segmenter) -> np.ndarray:
    probabilities = segmenter.predict_proba(IMAGES[0])[0]
    return np.log(probabilities) - np.log1p(-probabilities)


def test_the_tuned_network_computes_and_the_report_says_so(weights: Path, tuner: Brightener) -> None:
    plain, tuned = fitted(weights), fitted(weights, tune="auto")
    assert tuner.groups == [[0, 1, 2, 3]]
    np.testing.assert_allclose(log_odds(tuned) - log_odds(plain), 1, atol=1e-3)
    assert tuned.predict(IMAGES[0]).report.tuning == "tuned 1 steps: better"
    assert plain.predict(IMAGES[0]).report.tuning is None
    assert plain.tuned is None


def test_examples_are_judged_by_the_network_that_has_not_learned_them(weights: Path, tuner: Brightener) -> None:
    plain, tuned = fitted(weights), fitted(weights, tune="auto")
    surprise = [each.judgement.left_out.surprise for each in (plain, tuned)]
    assert not torch.allclose(*surprise)
    judged = [each.expected_ for each in (plain, tuned)]
    assert all(judged)
    np.testing.assert_array_equal(*[each.contradiction for each in judged if each])
    np.testing.assert_array_equal(*[each.judgement.by_others(1)[2] for each in (plain, tuned)])
    told = [expectation_of(each) for each in (plain, tuned)]
    assert [each.before_tuning for each in told if each] == [False, True]
    lines = [next(each.lines()) for each in told if each]
    assert lines[1] == lines[0].replace(": so", " before tuning: so")


def test_it_is_tuned_anew_only_if_something_has_changed_that_counts(weights: Path, tuner: Brightener) -> None:
    segmenter = fitted(weights, tune=5)
    segmenter.predict(IMAGES[:2])
    segmenter.set_params(support="random", support_size=2).predict(IMAGES[:2])
    assert len(tuner.groups) == 1
    segmenter.set_params(seed=1).predict(IMAGES[0])
    assert len(tuner.groups) == 2
    segmenter.set_params(tune=0).predict(IMAGES[0])
    segmenter.set_params(tune=5).fit(IMAGES[:3], LABELS[:3])
    assert len(tuner.groups) == 3


def test_a_module_that_was_trained_on_is_tuned_anew(weights: Path, tuner: Brightener) -> None:
    module = checkpoint.load(weights)
    segmenter = fitted(module, tune=5)
    with torch.no_grad():
        module.get_parameter("head.bias").add_(2)
    plain = fitted(module)
    np.testing.assert_allclose(log_odds(segmenter) - log_odds(plain), 1, atol=1e-3)
    assert len(tuner.groups) == 2


def test_a_saved_task_brings_the_tuned_network(weights: Path, tuner: Brightener, tmp_path: Path) -> None:
    segmenter = fitted(weights, tune="auto")
    path = segmenter.save_task(tmp_path / "disc.task")
    again = Segmenter.load_task(path, weights, device="cpu")
    np.testing.assert_array_equal(log_odds(again), log_odds(segmenter))
    assert len(tuner.groups) == 1
    assert describe_task(path)["tuning"] == "tuned 1 steps: better"
    third = Segmenter.load_task(again.save_task(tmp_path / "again.task"), weights, device="cpu")
    np.testing.assert_array_equal(log_odds(third), log_odds(segmenter))


def test_a_saved_task_remembers_that_tuning_gained_nothing(
    weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tuning, "tune", lambda *_: Tuned(None, "not tuned: no gain"))
    segmenter = fitted(weights, tune="auto")
    path = segmenter.save_task(tmp_path / "disc.task")
    monkeypatch.setattr(tuning, "tune", None)
    again = Segmenter.load_task(path, weights, device="cpu")
    np.testing.assert_array_equal(log_odds(again), log_odds(fitted(weights)))
    assert again.tuned is not None
    assert again.tuned.reason == "not tuned: no gain"


def test_a_task_that_was_tuned_fits_no_other_network(weights: Path, tuner: Brightener, tmp_path: Path) -> None:
    path = fitted(weights, tune="auto").save_task(tmp_path / "disc.task")
    other = tmp_path / "other.safetensors"
    checkpoint.save(other, SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)), {})
    with pytest.raises(FileNotFoundError, match="weights of the task are not at hand"):
        Segmenter.load_task(path, other)


def test_a_network_that_cannot_leave_an_image_out_stays_as_it_is() -> None:
    class MeanLabel(nn.Module):
        def forward(self, query: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return 20 * labels.mean(1) - 10

    segmenter = fitted(MeanLabel(), tune="auto")
    assert segmenter.predict(IMAGES[0]).report.tuning == "not tuned: the network has no method leave_one_out"


@pytest.mark.parametrize(("volumes", "groups"), [(4, [0, 0, 1, 1, 2, 2, 3, 3]), (3, [0, 1, 2, 3, 4, 5])])
def test_planes_of_a_volume_judge_each_other_only_if_volumes_are_few(volumes: int, groups: list[int]) -> None:
    assert groups_of(pool_of(torch.arange(2 * volumes) // 2)).tolist() == groups


def test_volumes_that_show_nothing_judge_nothing() -> None:
    pool = pool_of(torch.arange(8) // 2)
    pool.labels[:2] = 0
    assert groups_of(pool).tolist() == list(range(8))


@pytest.mark.parametrize(
    ("subjects", "groups"), [([0, 0, 1, 1, 2, 3], [0, 0, 1, 1, 2, 3]), ([0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 4, 5])]
)
def test_images_of_a_subject_judge_each_other_only_if_subjects_are_few(subjects: list[int], groups: list[int]) -> None:
    pool = replace(pool_of(torch.arange(6)), subjects=torch.tensor(subjects))
    assert groups_of(pool).tolist() == groups


def pool_of(examples: torch.Tensor) -> Pool:
    """Squares that all show a class, and the examples that they are of."""
    squares, annotated = torch.ones(len(examples), 1, 8, 8), torch.ones(len(examples), 1, dtype=torch.bool)
    return Pool(squares, squares.byte(), annotated, torch.arange(len(examples)), examples)


def test_tuning_that_is_interrupted_leaves_the_examples_as_they_were(weights: Path) -> None:
    def stop(steps: Sequence[int]) -> Iterator[int]:
        raise KeyboardInterrupt
        yield from steps

    segmenter = Segmenter(weights, size_px=32, device="cpu", tune=2)
    segmenter.track_tuning = stop
    with pytest.raises(KeyboardInterrupt):
        segmenter.fit(IMAGES, LABELS)
    assert not segmenter.has_examples


def test_the_outcome_of_tuning_is_shown_without_the_weights(weights: Path, tuner: Brightener) -> None:
    assert repr(fitted(weights, tune="auto").tuned) == "Tuned(reason='tuned 1 steps: better')"


def test_labels_of_a_volume_s_planes_tune_its_network(weights: Path, tuner: Brightener) -> None:
    volume = np.stack(IMAGES)
    drawn = {0: LABELS[0], 4: LABELS[4]}
    found = Segmenter(weights, size_px=32, device="cpu", tune="auto").propagate(volume, drawn)
    assert tuner.groups == [[0, 1]]
    assert found.report.tuning == "tuned 1 steps: better"


def test_examples_of_other_volumes_have_tuned_the_network_before(weights: Path, tuner: Brightener) -> None:
    segmenter = fitted(weights, tune="auto")
    found = segmenter.propagate(np.stack(IMAGES), {0: LABELS[0]})
    assert len(tuner.groups) == 1
    assert found.report.tuning == "tuned 1 steps: better"


def test_graphs_are_those_of_the_tuned_network(
    weights: Path, tuner: Brightener, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[nn.Module] = []

    def of(network: nn.Module) -> nn.Module:
        asked.append(network)
        return network

    monkeypatch.setattr(backends.OnnxBackend, "of", of)
    plain, tuned = fitted(weights, backend="onnx"), fitted(weights, backend="onnx", tune="auto")
    np.testing.assert_allclose(log_odds(tuned) - log_odds(plain), 1, atol=1e-3)
    assert len(asked) == 2


@pytest.mark.parametrize("mistake", ["fast", -1, True])
def test_a_mistake_is_told_before_anything_is_read(mistake: str | int) -> None:
    with pytest.raises(ValueError, match="tune is unknown: expected 'auto', 0 or a number of steps"):
        Segmenter("nowhere.safetensors", tune=mistake).fit(["nowhere.png"], ["nowhere.png"])


def test_a_network_is_really_tuned_without_being_changed(weights: Path) -> None:
    module = checkpoint.load(weights)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    segmenter = fitted(module, tune=1)
    assert segmenter.tuned is not None
    assert segmenter.tuned.reason.startswith(("tuned 1 steps", "not tuned: leave-one-out"))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
