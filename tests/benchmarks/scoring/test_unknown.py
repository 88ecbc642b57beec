"""No predictor, metric or comparison looks at what a collection holds of pixels that nobody judged."""

import pytest
import torch
from torch import Tensor

from benchmarks.predictors import known_predictors, load_predictor
from benchmarks.predictors.unet import UNetSettings, train_unet, unet_support
from benchmarks.scoring.calibration_metrics import brier
from benchmarks.scoring.evaluator import EpisodeImages
from benchmarks.scoring.measurements import Measured
from benchmarks.scoring.metrics import METRICS, measure
from incontext.networks.unknown import as_shares
from megamed.unknown import UNKNOWN, UNKNOWN_SHARE

SIZE_PX = 32


def example(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A support of images with a brighter square, and labels that do not know a frame around it and a corner."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(1, 3, 1, SIZE_PX, SIZE_PX)
    for index in range(3):
        place = 8 + 2 * index
        labels[0, index, 0, place - 2 : place + 12, place - 2 : place + 12] = UNKNOWN_SHARE
        labels[0, index, 0, place : place + 10, place : place + 10] = 1
    labels[..., :5, :5] = UNKNOWN_SHARE
    images = 0.2 + 0.5 * (labels == 1).float() + 0.1 * torch.rand(labels.shape, generator=generator)
    return images, labels


def test_logits_of_unknown_pixels_change_no_measure() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 1, SIZE_PX, SIZE_PX, generator=generator)
    labels = torch.rand(logits.shape, generator=generator) > 0.6
    known = torch.rand(logits.shape, generator=generator) > 0.3
    known[1::2] = known[::2]  # two draws of a query have its label
    labels[1::2] = labels[::2]
    others = torch.where(known, logits, torch.randn(logits.shape, generator=generator) * 9)
    first, second = (Measured.of(each, labels & known, 2, known) for each in (logits, others))
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.masks, second.masks)
    assert not torch.equal(first.values, Measured.of(logits, labels, 2).values)


def test_measures_of_known_pixels_are_those_of_an_image_without_the_others() -> None:
    """Where whole columns are unknown, the rest of the image is scored as if it were all there is."""
    generator = torch.Generator().manual_seed(2)
    probabilities = torch.rand(2, 1, 16, 24, generator=generator)
    labels, masks = torch.rand(probabilities.shape, generator=generator) > 0.5, probabilities >= 0.5
    known = torch.zeros_like(labels)
    known[..., :16] = True
    found = measure(masks, labels, probabilities, known=known)
    expected = measure(masks[..., :16], labels[..., :16], probabilities[..., :16])
    for name in METRICS:
        torch.testing.assert_close(found[name], expected[name], msg=name)


def test_perfect_masks_are_perfect_whatever_is_unknown() -> None:
    _, labels = example()
    known, drawn = labels[0] != UNKNOWN_SHARE, labels[0] == 1
    found = measure(drawn | ~known, drawn, drawn.float(), known=known)
    for name, metric in METRICS.items():
        assert found[name].tolist() == [metric.perfect] * 3, name


def test_brier_is_a_mean_over_known_pixels() -> None:
    probabilities = torch.tensor([[[[0.5, 1, 0]]]])
    known = torch.tensor([[[[True, False, True]]]])
    assert brier(probabilities, torch.zeros(1, 1, 1, 3) > 0, known).item() == pytest.approx(0.125)


@pytest.mark.parametrize("name", ["mean-mask", "nearest-copy", "atlas", "forest", "panet", "alpnet", "packaged"])
def test_predictors_learn_from_unknown_pixels_neither_foreground_nor_background(name: str) -> None:
    """Exchanging the kinds in the support exchanges them in the answer: unknown pixels pull to neither side."""
    if name == "forest":
        pytest.importorskip("sklearn")
    assert name in known_predictors()
    predict = load_predictor(name).predict
    images, labels = example()
    if name == "packaged":
        images, labels = (each.repeat_interleave(2, -1).repeat_interleave(2, -2) for each in (images, labels))
    with torch.inference_mode():
        logits = predict(images[:, 0], images, labels)  # type: ignore[operator]
        exchanged = predict(images[:, 0], images, 1 - labels)  # type: ignore[operator]
    assert logits.isfinite().all()
    judged, tied = labels[:, 0] != UNKNOWN_SHARE, logits.abs() < 1e-3
    agreement = ((logits >= 0) == (exchanged < 0))[judged & ~tied].float().mean()
    assert agreement > (0.9 if name in ("packaged", "forest") else 0.999), agreement
    assert ((logits >= 0) == (labels[:, 0] == 1))[judged].float().mean() > 0.85


def test_a_unet_learns_from_judged_pixels_alone() -> None:
    images, labels = example()
    settings = UNetSettings(channels=(4, 8), steps=2)
    trained = train_unet(images[0], labels[0], settings, seed=0)
    blind = train_unet(images[0], torch.full_like(labels[0], UNKNOWN_SHARE), settings, seed=0)
    pairs = zip(trained.network.parameters(), blind.network.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)
    assert unet_support(settings)(images[:, 0], images, labels).isfinite().all()


def test_episodes_know_which_pixels_of_a_query_were_judged() -> None:
    labels = torch.tensor([[[[0, 1, UNKNOWN]]]], dtype=torch.uint8)
    images = EpisodeImages(labels, labels, {0: 0}, {}, True)
    assert torch.equal(images.examples(torch.tensor([0]))[1], as_shares(labels))
