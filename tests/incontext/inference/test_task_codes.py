"""Tasks without images: they predict what the whole task predicts, and refuse what only images can do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.inference.task_codes import codes_of, tensors_of
from incontext.networks import checkpoint
from incontext.networks.sealed import read_tensors
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

RNG = np.random.default_rng(0)
LABELS = [np.pad(np.ones((12, 8 + 2 * i), dtype=np.uint8), ((6, 14), (5 + i, 19 - 3 * i))) for i in range(4)]
LABELS = [label + 2 * np.roll(label, 13, axis=0) for label in LABELS]
IMAGES = [(40 + 50 * label + RNG.integers(0, 40, label.shape)).astype(np.uint8) for label in LABELS]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    checkpoint.save(path, SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)), {})
    return path


def fitted(weights: Path, **params: Any) -> Segmenter:
    return Segmenter(weights, size_px=32, device="cpu", **params).fit(IMAGES[1:], LABELS[1:], {1: "low", 2: "high"})


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"flips": True, "overlap": True},
        {"support": "random", "support_size": 2, "ensemble": 2},
        {"tiling": 20},
    ],
    ids=["all", "flips", "ensemble", "tiles"],
)
def test_it_predicts_what_the_whole_task_predicts(params: dict[str, Any], weights: Path, tmp_path: Path) -> None:
    whole = fitted(weights, **params)
    path = whole.save_task(tmp_path / "a.task", codes_only=True)
    loaded = Segmenter.load_task(path, weights, "cpu")
    again = Segmenter.load_task(loaded.save_task(tmp_path / "b.task"), weights, "cpu")
    ours, *others = (each.predict(IMAGES[:2]) for each in (whole, loaded, again))
    for theirs in others:
        np.testing.assert_array_equal(theirs.probabilities, ours.probabilities)
        assert theirs.classes == ours.classes


def test_the_code_of_one_image_is_that_of_its_copies(weights: Path, tmp_path: Path) -> None:
    whole = Segmenter(weights, size_px=32, device="cpu").fit(IMAGES[1], LABELS[1])
    loaded = Segmenter.load_task(whole.save_task(tmp_path / "a.task", codes_only=True), weights, "cpu")
    ours, theirs = whole.predict(IMAGES[:1]), loaded.predict(IMAGES[:1])
    assert "5 changed copies" in ours.report.support
    assert theirs.report.support == ours.report.support
    np.testing.assert_array_equal(theirs.probabilities[0], ours.probabilities[0])


def test_it_holds_no_image_and_no_label(weights: Path, tmp_path: Path) -> None:
    tensors = read_tensors(fitted(weights).save_task(tmp_path / "a.task", codes_only=True))
    assert all(name.startswith("code.") for name in tensors)
    assert not any(name.rpartition(".")[2] in ("images", "labels", "planes", "masks") for name in tensors)


def test_a_support_for_each_image_has_no_code(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="support is not one for all images"):
        fitted(weights, support="nearest", support_size=1).save_task(tmp_path / "a.task", codes_only=True)
    assert not list(tmp_path.iterdir())


def test_what_only_images_can_do_is_refused(weights: Path, tmp_path: Path) -> None:
    loaded = Segmenter.load_task(fitted(weights).save_task(tmp_path / "a.task", codes_only=True), weights, "cpu")
    volume = np.stack(IMAGES)
    for work in (
        lambda: loaded.add(IMAGES[0], LABELS[0]),
        lambda: loaded.propagate(volume, {0: LABELS[0]}),
        lambda: loaded.uncertainty(IMAGES[0]),
    ):
        with pytest.raises(ValueError, match="expected labelled images, got their code alone"):
            work()
    assert loaded.expected_ is None
    assert loaded.predict(IMAGES[0]).presence is None


def test_codes_of_another_network_are_refused(weights: Path, tmp_path: Path) -> None:
    path = fitted(weights).save_task(tmp_path / "a.task", codes_only=True)
    loaded = Segmenter.load_task(path, weights, "cpu")
    torch.manual_seed(1)
    loaded.weights = SupportOnceNet(SupportOnceConfig(channels=(16, 8, 8), heads=1, head_channels=4))
    with pytest.raises(ValueError, match="do not fit the network: expected"):
        loaded.predict(IMAGES[0])


def test_tensors_are_taken_apart_and_put_together(weights: Path) -> None:
    codes = fitted(weights, flips=True).without_images().codes
    assert codes is not None
    tensors = tensors_of(codes)
    back = tensors_of(codes_of(tensors, 2))
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda tensors: tensors.pop("code.0.0.1.mean_label"), "code is incomplete"),
        (lambda tensors: tensors.pop("code.0.0.1.moments_0"), "code has an odd part"),
        (lambda tensors: tensors.update({"code.0.0.0.keys_9": torch.zeros(1)}), "code has an odd part"),
        (lambda tensors: tensors.update({"code.2.0.0.mean_label": torch.zeros(1)}), "codes are incomplete"),
        (lambda tensors: tensors.update({"images": torch.zeros(1)}), "odd tensor"),
        (lambda tensors: tensors["code.0.0.0.mean_label"].fill_(torch.nan), "finite numbers of float32"),
        (lambda tensors: tensors.clear(), "codes are incomplete"),
    ],
)
def test_damaged_codes_are_refused(damage: Any, told: str, weights: Path) -> None:
    codes = fitted(weights).without_images().codes
    assert codes is not None
    tensors = tensors_of(codes)
    damage(tensors)
    with pytest.raises(ValueError, match=told):
        codes_of(tensors, 2)
