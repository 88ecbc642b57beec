"""Supports are known by their contents."""

import torch

from benchmarks.predictors.episode import KEPT, Fitted, Support, fitted_once


def test_order_does_not_matter_and_every_pixel_does() -> None:
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = (images > 0.5).float()
    support, turned = Support.of(images, labels), Support.of(images.flip(0), labels.flip(0))
    assert support.fingerprint == turned.fingerprint
    assert torch.equal(support.images, turned.images)
    assert torch.equal((support.images > 0.5).float(), support.labels)
    other = labels.clone()
    other[0, 0, 0, 0] = 1 - other[0, 0, 0, 0]
    assert Support.of(images, other).seed != support.seed
    assert len({support, turned, Support.of(images, other)}) == 2


def test_a_support_is_learned_once_while_it_is_remembered() -> None:
    learned: list[str] = []

    def fit(support: Support) -> Fitted:
        learned.append(support.fingerprint)
        return lambda query: query + support.labels.mean()

    predict = fitted_once(fit)
    images = torch.rand(KEPT + 1, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = (images > 0.5).float()
    for _ in range(2):
        found = predict(images[:KEPT, 0], images[:KEPT], labels[:KEPT])
    assert torch.equal(found, images[:KEPT, 0] + labels[:KEPT].mean(dim=(1, 3, 4), keepdim=True)[:, 0])
    assert len(learned) == len(set(learned)) == KEPT
    predict(images[KEPT:, 0], images[KEPT:], labels[KEPT:])
    predict(images[:1, 0], images[:1], labels[:1])
    assert learned[-1] == learned[0]
