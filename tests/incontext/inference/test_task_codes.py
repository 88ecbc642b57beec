"""Tasks without images: they predict what the whole task predicts, and refuse what only images can do."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.folders.expectation import expectation_of, picture
from incontext.inference.left_out import MOST_SQUARES
from incontext.inference.task_codes import codes_of, left_out_of, tensors_of
from incontext.networks import checkpoint
from incontext.networks.sealed import read_sealed_metadata, read_tensors, save_sealed
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.networks.weights_delta import Tuned, WeightsDelta
from tests.incontext.test_segmenter import discs

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


def judged(weights: Path) -> Segmenter:
    """A segmenter of as many examples as are judged by each other."""
    return Segmenter(weights, size_px=32, device="cpu").fit(IMAGES, LABELS, {1: "low", 2: "high"})


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
    tensors = read_tensors(judged(weights).save_task(tmp_path / "a.task", codes_only=True))
    told = {name: each for name, each in tensors.items() if name.startswith("left_out.")}
    assert all(name.startswith("code.") for name in tensors.keys() - told.keys())
    assert not any(name.rpartition(".")[2] in ("images", "labels", "planes", "masks") for name in tensors)
    assert {len(each) for each in told.values()} == {len(IMAGES)}
    assert all(each[0].numel() <= 2 * sum((8, 8, 8)) for each in told.values())


def noisy(image: np.ndarray, seed: int) -> np.ndarray:
    return np.clip(image + np.random.default_rng(seed).normal(0, 30, image.shape), 0, 255).astype(np.uint8)


def bar(column: int) -> np.ndarray:
    """An image without a disc, of which something is drawn all the same."""
    return 50 + 60 * np.pad(np.ones((34, 6)), ((3, 3), (column, 50 - column)))


def with_empty_images(**params: Any) -> Segmenter:
    """The packaged weights, and five examples that show a disc beside five that do not."""
    images, labels = discs(5)
    images = [noisy(each, seed) for seed, each in enumerate([*images, *map(bar, range(8, 48, 8))])]
    return Segmenter(size_px=64, device="cpu", **params).fit(images, [*labels, *[0 * labels[0]] * 5])


@pytest.fixture
def asked() -> list[np.ndarray]:
    """An image with a disc, and one without."""
    return [noisy(discs(1)[0][0], 10), noisy(bar(12), 11)]


def is_like(theirs: Segmenter, ours: Segmenter, asked: list[np.ndarray]) -> bool:
    found = [each.predict(asked) for each in (theirs, ours)]
    told = [each.expected_ for each in (theirs, ours)]
    assert told[0] is not None
    assert told[1] is not None
    assert told[0].suspects == told[1].suspects
    np.testing.assert_array_equal(told[0].per_example, told[1].per_example)
    np.testing.assert_array_equal(told[0].contradiction, told[1].contradiction)
    for parts in zip(*(each.probabilities for each in found), strict=True):
        np.testing.assert_array_equal(*parts)
    np.testing.assert_array_equal(*(each.predicted_dice for each in found))
    np.testing.assert_array_equal(*(each.absent for each in found))
    return np.array_equal(*(each.presence for each in found))


@pytest.mark.parametrize("absent", ["auto", "mark"])
@pytest.mark.parametrize("is_tuned", [False, True])
def test_it_draws_nothing_that_the_whole_task_says_is_absent(
    absent: str, is_tuned: bool, asked: list[np.ndarray], tmp_path: Path
) -> None:
    whole = with_empty_images(absent=absent)
    if is_tuned:
        torch.manual_seed(0)
        moved = {name: 0.02 * torch.randn_like(each) for name, each in whole.network.named_parameters()}
        whole.set_params(tune="auto").keep_tuned(Tuned(WeightsDelta.of(moved), "moved"))
    loaded = Segmenter.load_task(whole.save_task(tmp_path / "a.task", codes_only=True), device="cpu")
    again = Segmenter.load_task(loaded.save_task(tmp_path / "b.task"), device="cpu")
    assert len(loaded.fitted.left_out) == 1 + is_tuned
    assert is_like(loaded, whole, asked)
    assert is_like(again, whole, asked)
    result = again.predict(asked)
    assert result.absent[:, 0].tolist() == [False, True]
    assert [each.any() for each in result.masks] == [True, absent == "mark"]
    assert (again.predict(asked[0]).report.tuning == "moved") == is_tuned


def test_what_tuned_codes_are_read_by_does_not_depend_on_what_is_wished(
    asked: list[np.ndarray], weights: Path, tmp_path: Path
) -> None:
    whole = fitted(weights).set_params(tune=3)
    whole.keep_tuned(Tuned(WeightsDelta.of({"head.bias": torch.ones(4)}), "moved"))
    loaded = Segmenter.load_task(whole.save_task(tmp_path / "a.task", codes_only=True), weights, "cpu")
    for change in ({}, {"tune": 0}, {"seed": 7}):
        found = loaded.set_params(**change).predict_proba(asked[0])[0]
        np.testing.assert_array_equal(found, whole.predict_proba(asked[0])[0])


def test_an_old_file_that_tells_nothing_of_its_examples_judges_no_presence(
    asked: list[np.ndarray], tmp_path: Path
) -> None:
    whole = with_empty_images()
    path = whole.save_task(tmp_path / "a.task", codes_only=True)
    about = read_sealed_metadata(path)
    assert json.loads(about["task"])["version"] == 5
    old = {**about, "task": json.dumps(json.loads(about["task"]) | {"version": 4})}
    tensors = read_tensors(path)
    save_sealed(tensors, path, old)
    with pytest.raises(ValueError, match=r"codes have an odd tensor: .* 'left_out") as refused:
        Segmenter.load_task(path)
    assert "\n" not in str(refused.value)
    codes = {name: each for name, each in tensors.items() if name.startswith("code.")}
    save_sealed(codes, path, old)
    loaded = Segmenter.load_task(path, device="cpu")
    result = loaded.predict(asked)
    assert result.presence is None
    assert loaded.expected_ is None
    for theirs, ours in zip(result.probabilities, whole.set_params(absent="keep").predict_proba(asked), strict=True):
        np.testing.assert_array_equal(theirs, ours)
    save_sealed(codes, path, about)
    with pytest.raises(ValueError, match="what examples tell of each other is odd: expected annotated"):
        Segmenter.load_task(path)


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


def test_what_the_examples_tell_stays_but_none_is_shown(weights: Path, tmp_path: Path) -> None:
    loaded = Segmenter.load_task(judged(weights).save_task(tmp_path / "a.task", codes_only=True), weights, "cpu")
    expected = expectation_of(loaded, [])
    assert expected is not None
    assert picture(loaded, replace(expected, suspects=["Labelled image 1"], numbers=[0])) is None
    with pytest.raises(ValueError, match="example cannot be shown: expected labelled images"):
        loaded.judgement.by_others(0)


def test_features_of_another_network_are_refused(weights: Path) -> None:
    whole = judged(weights)
    (told,) = (kept := whole.without_images()).left_out
    assert told.looks is not None
    for others in (replace(told, looks=told.looks[:, 1:]), replace(told, looks=None, drawn=None, labelled=None)):
        whole.go_back_to(replace(kept, left_out=(others,)))
        with pytest.raises(ValueError, match=r"does not fit the network: expected \(24, 8\) features, got"):
            whole.predict(IMAGES[0])


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


def test_what_examples_tell_is_taken_apart_and_put_together(weights: Path) -> None:
    kept = judged(weights).without_images()
    assert kept.codes is not None
    tensors = tensors_of(kept.codes, kept.left_out)
    (back,), codes = left_out_of(tensors, 2)
    assert codes.keys() == tensors_of(kept.codes).keys()
    (told,) = kept.left_out
    for name, each in told.tensors().items():
        assert torch.equal(back.tensors()[name].nan_to_num(-1), each.nan_to_num(-1))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda tensors: tensors.pop("rows"), "annotated, .*, got"),
        (lambda tensors: tensors.pop("drawn"), "annotated, .*, got"),
        (lambda tensors: tensors.update(images=torch.zeros(1)), "annotated, .*, got"),
        (lambda tensors: tensors.update(rows=tensors["rows"].float()), "rows of torch.int64"),
        (lambda tensors: tensors.update(examples=torch.tensor(0)), r"examples of torch.int64 \(1,\), got"),
        (lambda tensors: tensors.update(counts=tensors["counts"][:, :1]), r"counts of torch.float32 \(4, 2, 3\)"),
        (lambda tensors: tensors.update(surprise=tensors["surprise"][1:]), r"surprise of torch.float32 \(4, 2\)"),
        (lambda tensors: tensors.update(annotated=tensors["annotated"].float()), "annotated of torch.bool"),
        (lambda tensors: tensors.update(labelled=tensors["labelled"][..., 1:]), "labelled of torch.float32"),
        (lambda tensors: tensors.update(looks=torch.tensor(0.0)), "looks of torch.float32"),
        (lambda tensors: tensors["rows"].fill_(0), "squares of each of 4 examples"),
        (lambda tensors: tensors["rows"].sub_(1), "squares of each of 4 examples"),
        (lambda tensors: tensors["examples"].fill_(0), "squares of each of 4 examples"),
        (lambda tensors: tensors.update(rows=torch.zeros(0, dtype=torch.int64)), r"\(0, 2, 3\), got"),
        (lambda tensors: tensors["counts"].sub_(1e4), "counts within 0"),
        (lambda tensors: tensors["soft_counts"].fill_(1e30), "soft_counts within 0"),
        (lambda tensors: tensors["misplaced"].fill_(torch.nan), "misplaced within 0"),
        (lambda tensors: tensors["brightness"].fill_(torch.nan), "a finite brightness where there is a label"),
        (lambda tensors: tensors["counts"].fill_(0), "a finite brightness where there is a label"),
        (lambda tensors: tensors["drawn"].mul_(2), "drawn of unit length"),
        (lambda tensors: tensors["looks"].fill_(torch.nan), "looks of unit length"),
        (
            lambda tensors: tensors.update({n: each[[0] * MOST_SQUARES + [0, 1, 2, 3]] for n, each in tensors.items()}),
            f"1 to {MOST_SQUARES} squares, got {MOST_SQUARES + 4}",
        ),
    ],
)
def test_what_examples_tell_is_refused_if_it_is_damaged(damage: Any, told: str, weights: Path) -> None:
    (found,) = judged(weights).without_images().left_out
    tensors = {name: each.clone() for name, each in found.tensors().items()}
    damage(tensors)
    with pytest.raises(ValueError, match=f"what examples tell of each other is odd: expected .*{told}"):
        left_out_of({f"left_out.0.{name}": each for name, each in tensors.items()}, 2)
