"""`Segmenter` has the manners of a scikit-learn estimator: what is promised there holds here."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.inference.segmentation import dice
from incontext.networks.checkpoint import Checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

LABELS = [np.pad(np.ones((12, 8 + 2 * i), dtype=np.uint8), ((6, 14), (5 + i, 19 - 3 * i))) for i in range(5)]
IMAGES = [40 + 150 * label for label in LABELS]


@pytest.fixture(scope="module")
def network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))


def segmenter(network: SupportOnceNet, **params: Any) -> Segmenter:
    return Segmenter(network, size_px=32, device="cpu", **params)


def test_parameters_are_stored_unchanged() -> None:
    given: dict[str, Any] = {
        "weights": "open",
        "support": "nearest",
        "support_size": 3,
        "ensemble": 2,
        "flips": True,
        "overlap": True,
        "scaling": "window",
        "tiling": 300,
        "level": 2,
        "size_px": 64,
        "device": "cpu",
        "absent": "mark",
        "memory_gb": 0.5,
        "backend": "onnx",
        "seed": 7,
        "channel": "red",
        "colours": {"#ff0000": 1},
        "unknown": 255,
        "instance_divisor": 1000,
        "tune": "auto",
    }
    assert Segmenter(**given).get_params() == given


def test_parameters_are_set_and_unknown_ones_refused() -> None:
    one = Segmenter()
    assert one.set_params(support="random", seed=3) is one
    assert (one.support, one.seed) == ("random", 3)
    with pytest.raises(ValueError, match=r"parameters are unknown: expected some of weights, .*got size, sized"):
        one.set_params(sized=1, size=2)


def test_nothing_is_loaded_or_checked_before_it_is_needed() -> None:
    Segmenter("no such file", support="no such rule")
    with pytest.raises(ValueError, match="support is unknown"):
        Segmenter("no such file", support="no such rule").fit(IMAGES, LABELS)
    fitted = Segmenter("no such file").fit(IMAGES, LABELS)
    with pytest.raises(FileNotFoundError, match="no such file"):
        fitted.predict(IMAGES)


def test_fit_then_predict_is_predict_with_examples(network: SupportOnceNet) -> None:
    one = segmenter(network)
    assert one.fit(IMAGES[1:], LABELS[1:]) is one
    fitted, given = one.predict(IMAGES[0]), segmenter(network).predict(IMAGES[0], IMAGES[1:], LABELS[1:])
    np.testing.assert_array_equal(fitted.masks[0], given.masks[0])
    np.testing.assert_array_equal(one.predict_proba(IMAGES[0])[0], given.probabilities[0])


def test_examples_of_a_call_are_forgotten(network: SupportOnceNet) -> None:
    one = segmenter(network).fit(IMAGES[1:], LABELS[1:])
    before = one.predict(IMAGES[0]).probabilities[0]
    one.predict(IMAGES[0], IMAGES[3:], LABELS[3:])
    np.testing.assert_array_equal(one.predict(IMAGES[0]).probabilities[0], before)


def test_weights_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    read = Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda path: loaded.append(path) or read(path))
    one = Segmenter(device="cpu")
    for _ in range(2):
        one.predict(IMAGES[0], IMAGES[1:], LABELS[1:])
    one.fit(IMAGES, LABELS).predict(IMAGES[0])
    assert len(loaded) == 1


def test_examples_are_needed(network: SupportOnceNet) -> None:
    with pytest.raises(ValueError, match="Segmenter knows no examples: expected labelled images, got none"):
        segmenter(network).predict(IMAGES)
    with pytest.raises(ValueError, match="go together"):
        segmenter(network).predict(IMAGES, IMAGES)
    with pytest.raises(ValueError, match="go together"):
        segmenter(network).fit(IMAGES, LABELS).predict(IMAGES, support_labels=LABELS)


def test_score_is_the_mean_dice(network: SupportOnceNet) -> None:
    labels = [label * (1 + i % 2) for i, label in enumerate(LABELS)]
    one = segmenter(network).fit(IMAGES, labels)
    masks = one.predict(IMAGES)
    expected = [
        np.mean([dice(mask == v, label == v) for v in (1, 2)]) for mask, label in zip(masks, labels, strict=True)
    ]
    assert one.score(IMAGES, labels) == pytest.approx(np.mean(expected))


def test_score_counts_classes_that_were_looked_for(network: SupportOnceNet) -> None:
    named = {"a": LABELS, "b": [None, *LABELS[1:]]}
    one = segmenter(network, overlap=True).fit(IMAGES, named)
    layers = [one.predict(IMAGES)[i] for i in range(5)]
    scores = [
        [
            dice(layer > 0, LABELS[i] > 0)
            for layer, masks in zip(layers[i], named.values(), strict=True)
            if masks[i] is not None
        ]
        for i in range(5)
    ]
    assert one.score(IMAGES, named) == pytest.approx(np.mean([np.mean(each) for each in scores]))


def test_a_changed_parameter_counts_at_once(network: SupportOnceNet) -> None:
    one = segmenter(network).fit(IMAGES, LABELS)
    whole = one.predict(IMAGES[0])
    one.support, one.support_size = "random", 1
    single = one.predict(IMAGES[0])
    assert single.report.support != whole.report.support
    assert not np.array_equal(single.probabilities[0], whole.probabilities[0])
    one.set_params(support="all", support_size=None)
    np.testing.assert_array_equal(one.predict(IMAGES[0]).probabilities[0], whole.probabilities[0])


def test_a_copy_has_its_own_examples(network: SupportOnceNet) -> None:
    one = segmenter(network).fit(IMAGES[:2], LABELS[:2])
    other = copy.copy(one).fit(IMAGES[2:], LABELS[2:])
    assert one.predict(IMAGES[0]).report.label_budget == 2
    assert other.predict(IMAGES[0]).report.label_budget == 3


def test_repr_tells_what_is_not_usual() -> None:
    assert repr(Segmenter()) == "Segmenter()"
    assert repr(Segmenter("open", support="nearest", seed=1)) == "Segmenter(weights='open', support='nearest', seed=1)"


def test_scikit_learn_clones_it(network: SupportOnceNet) -> None:
    base = pytest.importorskip("sklearn.base")
    one = Segmenter("default", support="random", support_size=2, device="cpu").fit(IMAGES, LABELS)
    other = base.clone(one)
    assert other.get_params() == one.get_params()
    with pytest.raises(ValueError, match="knows no examples"):
        other.predict(IMAGES)
    base.clone(segmenter(network)).fit(IMAGES, LABELS).predict(IMAGES[0])


def test_scikit_learn_chooses_its_parameters(network: SupportOnceNet) -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    search = selection.GridSearchCV(segmenter(network), {"support": ["all", "random"]}, cv=2)
    search.fit(IMAGES, LABELS)
    assert len(search.cv_results_["mean_test_score"]) == 2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.best_estimator_.predict(IMAGES[:2])) == 2
