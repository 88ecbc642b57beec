"""Tuning of a copy of a network on the labelled images of a task."""

from collections.abc import Iterable, Iterator, Mapping

import pytest
import torch
from torch import nn

from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.networks.weights_delta import Tuned
from incontext.training import tuning
from incontext.training.tuning import TuningConfig, TuningImages, in_rounds, learning, tune
from megamed.unknown import UNKNOWN

SMALL = SupportOnceConfig(channels=(4, 8, 8, 8), heads=1, head_channels=8, groups=2, fitted_channels=4)
SHORT = TuningConfig(steps=2, judge_every=1, set_size=4, queries=2, unjudged_steps=1, unjudged_learning_rate=1e-2)
QUICK = SHORT.model_copy(update={"steps": 1, "learning_rate": 1e-2})
LEARNABLE = SHORT.model_copy(update={"steps": 4, "judge_every": 4, "learning_rate": 1e-2})


def drawings(count: int, classes: int = 1) -> TuningImages:
    """Bright squares on noise, of one size and grey value for each class."""
    generator = torch.Generator().manual_seed(0)
    images = 0.3 * torch.rand(count, 1, 32, 32, generator=generator)
    labels = torch.zeros(count, classes, 32, 32, dtype=torch.uint8)
    for index in range(count):
        for each in range(classes):
            row, column = torch.randint(2, 20, (2,), generator=generator).tolist()
            window = slice(row, row + 8), slice(column, column + 8)
            images[index, 0][window] += 0.6 / (each + 1)
            labels[index, each][window] = 1
    annotated = torch.ones(count, classes, dtype=torch.bool)
    return TuningImages(images.clamp(0, 1), labels, annotated, torch.arange(count))


def counts_of(tuned: Tuned) -> Mapping[str, torch.Tensor]:
    """What a network was moved by, if it was."""
    assert tuned.delta is not None, tuned.reason
    return tuned.delta.counts


@pytest.fixture
def network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SMALL).eval()


def test_a_network_that_gains_is_moved(network: SupportOnceNet) -> None:
    found = tune(network, drawings(6), LEARNABLE)
    assert found.delta is not None
    assert "tuned 4 steps: leave-one-out Dice 0." in found.reason
    data = drawings(6)
    asked, label = data.images[:1], data.labels[:1] > 0

    def overlap(each: SupportOnceNet) -> float:
        mask = each(asked, data.images[None, 1:], data.labels[None, 1:].float()) > 0
        return (mask & label).sum().item() / (mask | label).sum().item()

    assert overlap(found.delta.added_to(network)) > overlap(network)


def test_the_network_and_the_generator_stay_as_they_are(network: SupportOnceNet) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    tune(network, drawings(4), SHORT)
    assert torch.equal(torch.rand(1), drawn)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_equal_seeds_give_equal_networks(network: SupportOnceNet) -> None:
    first, second, other = (counts_of(tune(network, drawings(4, classes=2), QUICK, seed)) for seed in (1, 1, 2))
    assert all(torch.equal(count, second[name]) for name, count in first.items())
    assert not all(torch.equal(count, other[name]) for name, count in first.items())


def test_what_does_not_gain_is_not_kept(network: SupportOnceNet) -> None:
    found = tune(network, drawings(4), SHORT.model_copy(update={"learning_rate": 1e-12}))
    assert found.delta is None
    assert found.reason.startswith("not tuned")


@pytest.mark.parametrize("count", [1, 3])
def test_of_few_images_augmented_copies_are_learned(network: SupportOnceNet, count: int) -> None:
    found = tune(network, drawings(count), SHORT)
    assert found.reason.startswith("tuned 1 steps on augmented copies: labelled images are too few to judge by")
    assert counts_of(found)


def test_of_few_images_nothing_is_learned_unless_it_is_asked_for(network: SupportOnceNet) -> None:
    found = tune(network, drawings(3))
    assert found.delta is None
    assert found.reason == "not tuned: expected 4 images of a class to judge by, got fewer"


def test_of_empty_labels_nothing_is_learned(network: SupportOnceNet) -> None:
    data = drawings(2)
    empty = TuningImages(data.images, torch.zeros_like(data.labels), data.annotated, data.groups)
    assert tune(network, empty, SHORT) == Tuned(None, "not tuned: no labelled image shows a class")


def test_tiles_of_one_image_are_one_image(network: SupportOnceNet) -> None:
    data = drawings(8)
    of_two = TuningImages(data.images, data.labels, data.annotated, torch.arange(8) // 4)
    assert "too few to judge by" in tune(network, of_two, SHORT).reason


@pytest.mark.parametrize(("gains", "is_kept"), [([0.1, 0.2, 0.1, 0.2], True), ([0.3, -0.1, -0.1, 0.0], False)])
def test_a_gain_counts_if_it_is_beyond_doubt(
    network: SupportOnceNet, monkeypatch: pytest.MonkeyPatch, gains: list[float], is_kept: bool
) -> None:
    """Half of the standard error of the mean is 0.014 for the former gains, and 0.047 for the latter, of 0.025."""
    judged = iter([0.5] * 4 + [0.5 + gain for gain in gains])
    monkeypatch.setattr(tuning, "_judge", lambda *about: torch.tensor([next(judged)]))
    found = tune(network, drawings(4), QUICK)
    assert (found.delta is not None) == is_kept
    assert "leave-one-out Dice 0.50 " in found.reason


def test_there_are_no_more_parts_than_images_that_show_something(network: SupportOnceNet) -> None:
    data = drawings(7)
    labels = data.labels.clone()
    labels[4:] = 0
    some = TuningImages(data.images, labels, data.annotated, data.groups)
    assert tune(network, some, QUICK.model_copy(update={"folds": 9})).reason.startswith(("tuned", "not tuned: leave"))


def test_a_part_may_show_nothing_that_is_judged(network: SupportOnceNet) -> None:
    plans = [tuning._ClassPlan(0, [[0, 1], [2, 3], []], [0, 1, 2, 3])]
    judged = [len(tuning._judge(network, drawings(4), plans, fold)) for fold in range(3)]
    assert judged == [2, 2, 0]


def test_no_copy_is_judged_by_what_it_learns(network: SupportOnceNet, monkeypatch: pytest.MonkeyPatch) -> None:
    learned, judged = {}, {}

    class Learner(tuning._Learner):
        def __init__(self, network, data, plans, fold, config) -> None:
            super().__init__(network, data, plans, fold, config)
            learned[fold] = {*plans[0].learned(fold)}

    def judge(network, data, plans, fold) -> torch.Tensor:
        judged[fold] = {*plans[0].folds[fold]}
        return torch.tensor([0.5])

    monkeypatch.setattr(tuning, "_Learner", Learner)
    monkeypatch.setattr(tuning, "_judge", judge)
    data = drawings(7)
    tune(network, TuningImages(data.images, data.labels, data.annotated, torch.tensor([0, 1, 2, 3, 3, 4, 4])), QUICK)
    assert len(learned) == QUICK.folds
    for fold, images in judged.items():
        assert images
        assert images | learned[fold] == {*range(7)}
        assert not images & learned[fold]
        assert not {3, 4} & images or {3, 4} <= images  # of one volume


def test_an_interruption_leaves_the_generator_as_it_was(network: SupportOnceNet) -> None:
    def track(steps: Iterable[int]) -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    torch.manual_seed(3)
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        tune(network, drawings(4), SHORT, track=track)
    assert torch.equal(torch.get_rng_state(), state)


def test_unknown_and_unannotated_parts_teach_nothing(network: SupportOnceNet) -> None:
    data = drawings(5, classes=2)
    unknown = data.labels.clone()
    unknown[:, 0, :4] = UNKNOWN
    annotated = data.annotated.clone()
    annotated[4, 1] = False
    unknown[4, 1] = 0
    first = counts_of(tune(network, TuningImages(data.images, unknown, annotated, data.groups), QUICK))
    unknown[4, 1] = 1
    again = counts_of(tune(network, TuningImages(data.images, unknown, annotated, data.groups), QUICK))
    assert all(torch.equal(count, again[name]) for name, count in first.items())


def test_a_network_that_encodes_whole_sets_is_tuned_too() -> None:
    torch.manual_seed(0)
    network: nn.Module = CrossBlockNet(CrossBlockConfig((4, 4), (4,))).eval()
    assert tune(network, drawings(4), SHORT).reason.startswith(("tuned", "not tuned: leave"))


def test_only_what_shall_learn_is_moved(network: SupportOnceNet) -> None:
    config = LEARNABLE.model_copy(update={"learned": ("decoder", "head"), "augmentation": 0.0})
    assert {name.split(".")[0] for name in counts_of(tune(network, drawings(4), config))} == {"decoder", "head"}


def test_rounds_take_one_of_every_group_first() -> None:
    assert in_rounds([0, 1, 2, 3, 4], groups=[7, 7, 8, 8, 9]) == [0, 2, 4, 1, 3]
    assert in_rounds([0, 1, 2], groups=[7, 8, 9, 7], taken=[3]) == [1, 2, 0]


def test_learning_is_seeded_differentiable_and_leaves_no_trace() -> None:
    before = torch.get_rng_state()
    drawn = []
    with torch.inference_mode():
        for seed in (1, 1, 2):
            with learning(seed):
                drawn.append(torch.rand(1).item())
                assert torch.ones(1, requires_grad=True).mul(2).requires_grad
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("config", "images", "steps"), [({}, 16, 60), ({}, 17, 75), ({"steps": 3}, 64, 3)])
def test_many_images_are_learned_for_longer_unless_somebody_says_how_long(config, images, steps):
    assert TuningConfig(**config).steps_of(images) == steps
