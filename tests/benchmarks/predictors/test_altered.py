"""Predictors behind an alteration: what they are shown, and that all else stays."""

import pytest
import torch
from torch import Tensor

from benchmarks.predictors import load_predictor, mean_mask
from benchmarks.predictors.altered import Alteration, Altered, altered, resized
from benchmarks.predictors.protocol import NamedPredictor, SharingPredictor
from benchmarks.predictors.weights import SupportOncePredictor
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

SIDE_PX = 32


class Witness:
    """Remembers what it was shown."""

    def __call__(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        self.shown = query_images, support_images, support_labels
        return query_images - 0.5


@pytest.fixture
def episode() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 4, 1, SIDE_PX, SIDE_PX), generator=generator) / 255
    labels = torch.zeros(2, 3, 1, SIDE_PX, SIDE_PX)
    labels[..., 8:20, 8:20] = 1
    return images[:, 0], images[:, 1:], labels


def changed(text: str, episode: tuple[Tensor, Tensor, Tensor]) -> list[bool]:
    """Whether queries, support images and support labels are shown otherwise."""
    witness = Witness()
    Altered(witness, Alteration.parse(text))(*episode)
    return [
        each.shape != shown.shape or not torch.equal(each, shown)
        for each, shown in zip(episode, witness.shown, strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noise-0.1", [True, True, False]),
        ("noise-0.1-query", [True, False, False]),
        ("dilated-2", [False, False, True]),
        ("exchanged-1", [False, False, False]),  # all labels are the same here
        ("size-64", [True, True, True]),
        ("moved-4", [False, True, True]),
    ],
)
def test_an_alteration_changes_its_side_alone(
    text: str, expected: list[bool], episode: tuple[Tensor, Tensor, Tensor]
) -> None:
    assert changed(text, episode) == expected


@pytest.mark.parametrize("text", ["noise-0.1", "noise-0.1-query", "jpeg-5-seed3", "size-96", "gamma-1.5-query-seed12"])
def test_an_alteration_is_read_as_it_is_written(text: str) -> None:
    assert str(Alteration.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["noise", "fog-1", "dilated-2-query", "size-64-query", "moved-4-query", "noise-0.1-support", ""]
)
def test_what_is_no_alteration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Unknown alteration: expected KIND-STRENGTH"):
        Alteration.parse(text)


def test_the_seed_changes_the_grain(episode: tuple[Tensor, Tensor, Tensor]) -> None:
    first, again, other = (Alteration.parse(f"noise-0.1-seed{seed}").queries(episode[0]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_same_image_is_altered_alike_in_query_and_support(episode: tuple[Tensor, Tensor, Tensor]) -> None:
    alteration = Alteration("noise", 0.1)
    queries, (images, labels) = episode[0], episode[1:]
    assert torch.equal(alteration.supports(images, labels)[0][0], alteration.queries(images[0]))
    assert (alteration.queries(queries) <= 1).all()


def test_another_grid_gives_logits_on_the_old_one(episode: tuple[Tensor, Tensor, Tensor]) -> None:
    witness = Witness()
    logits = Altered(witness, Alteration("size", 64.0))(*episode)
    assert [each.shape[-1] for each in witness.shown] == [64, 64, 64]
    assert set(witness.shown[2].unique().tolist()) == {0.0, 1.0}
    assert logits.shape == episode[0].shape
    torch.testing.assert_close(logits + 0.5, resized(resized(episode[0], 64), SIDE_PX))


def test_a_thin_label_survives_a_coarse_grid(episode: tuple[Tensor, Tensor, Tensor]) -> None:
    labels = torch.zeros_like(episode[2])
    labels[..., 5, :] = 1  # a row of 32, averaged with three empty ones, is a quarter
    shown = Alteration("size", 8.0).supports(episode[1], labels)[1]
    assert shown.sum((-1, -2)).min() == 8


@pytest.fixture
def network() -> SupportOncePredictor:
    torch.manual_seed(0)
    config = SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)
    return SupportOncePredictor(SupportOnceNet(config).eval(), 1.0)


@pytest.mark.parametrize("text", ["noise-0.1", "noise-0.1-query", "shifted-3", "size-64", "moved-4"])
@torch.inference_mode()
def test_reading_images_once_gives_what_calling_does(
    text: str, network: SupportOncePredictor, episode: tuple[Tensor, Tensor, Tensor]
) -> None:
    predictor = altered(NamedPredictor("tiny", network, "print", {}), Alteration.parse(text)).predict
    assert isinstance(predictor, SharingPredictor)
    queries, images, labels = episode
    codes = predictor.encode_images(images.flatten(0, 1), labels.flatten(0, 1))
    logits = predictor.segment(queries, codes.select(torch.arange(6).view(2, 3)))
    torch.testing.assert_close(logits, predictor(queries, images, labels), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits, network(queries, images, labels), atol=1e-3)


def test_what_depends_on_the_other_images_is_not_read_once(network: SupportOncePredictor) -> None:
    predictor = altered(NamedPredictor("tiny", network, "print", {}), Alteration("exchanged", 1.0)).predict
    assert not isinstance(predictor, SharingPredictor)


def test_a_name_with_a_mark_loads_an_altered_predictor(episode: tuple[Tensor, Tensor, Tensor]) -> None:
    named = load_predictor("mean-mask+dilated-2+noise-0.1")
    assert (named.name, named.fingerprint) == ("mean-mask+dilated-2+noise-0.1",) * 2
    grown = Alteration("dilated", 2.0).supports(*episode[1:])[1]
    assert torch.equal(named.predict(*episode), mean_mask(episode[0], episode[1], grown))


def test_a_learner_of_tasks_is_refused() -> None:
    with pytest.raises(ValueError, match="unet-full cannot be shown altered images"):
        load_predictor("unet-full+noise-0.1")
