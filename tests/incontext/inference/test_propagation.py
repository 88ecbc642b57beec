"""Laws of propagation: on a small network of random weights, and on networks so simple that the result is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar
from weakref import WeakSet

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from incontext.inference.backends import backend_of
from incontext.inference.planes import CERTAIN
from incontext.inference.propagation import (
    SINGLE,
    LabelledPlanes,
    LabelledStructure,
    Propagation,
    against_others,
    confidence,
    interpolated,
    propagate,
    propagate_all,
    waves,
)
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

SIDE = 32
ALONE = Propagation(reach=0, continuity=0.0, neighbours=0.0)
"""Every plane by the labels alone."""
JOINING = Propagation(continuity=0.0, neighbours=0.0)
TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(
        SupportOnceConfig(channels=(8, 8, 12, 16), heads=2, head_channels=8, fitted_channels=4)
    ).eval()


def disc(column: float, radius: float = 5) -> Tensor:
    """A disc on a plane (1, 32, 32) in {0, 1}, in the middle row."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return ((rows - SIDE / 2) ** 2 + (columns - column) ** 2 <= radius**2).float()[None]


def noise(count: int) -> Tensor:
    return torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(count))


@dataclass(eq=False)
class Labels:
    """The codes of the fakes: the labels themselves, all that exist being counted."""

    values: Tensor
    living: ClassVar = WeakSet["Labels"]()

    def __post_init__(self) -> None:
        self.living.add(self)

    @classmethod
    def joined(cls, parts: Sequence["Labels"]) -> "Labels":
        return cls(torch.cat([part.values for part in parts], 1))

    def select(self, indices: Tensor) -> "Labels":
        return Labels(self.values[0, indices])

    def pooled(self) -> Tensor:
        return self.values.amax(1)


class Follower:
    """Finds what is bright where a support had its label, to ±8, or near there, to 2."""

    def __init__(self) -> None:
        self.read: list[Tensor] = []
        self.most = 0

    def encode_images(self, images: Tensor, labels: Tensor) -> Labels:
        self.read += list(images)
        return Labels(labels[None].clone())

    def segment(self, queries: Tensor, code: Tensor) -> Tensor:
        self.most = max(self.most, len(Labels.living))
        there = code.repeat_interleave(len(queries) // len(code), 0)
        logits = torch.where(there > 0, 8.0, torch.where(F.max_pool2d(there, 5, 1, 2) > 0, 2.0, -8.0))
        return torch.where(queries > 0.5, logits, -8.0)


class Seer(Follower):
    """Takes brightness for logits, whatever the support: 0.5 is 0, and a tenth more is 1."""

    def segment(self, queries: Tensor, code: Tensor) -> Tensor:
        return 10 * (queries - 0.5)


def test_waves_go_out_from_all_starts_at_once():
    assert list(waves(7, [2, 5])) == [[1, 3, 4, 6], [0]]
    assert list(waves(2, [0, 1])) == []


def test_labels_are_interpolated_between_and_recede_beyond():
    left, right = torch.zeros(2, 1, 16, 16).unbind()
    left[..., 4:10] = 1
    right[..., 6:12] = 1
    found = interpolated({1: left, 3: right}, 6, step=1 / 16) > 0
    ends = [(int(columns[0]), int(columns[-1])) for columns in (plane[0, 0].nonzero() for plane in found)]
    assert ends == [(5, 8), (4, 9), (5, 10), (6, 11), (7, 10), (8, 9)]


def test_from_a_single_label_shapes_recede_more_slowly():
    label = torch.zeros(1, 16, 16)
    label[..., 4:12] = 1
    found = interpolated({0: label}, 5, step=1 / 16) > 0
    widths = [int(plane.sum()) // 16 for plane in found]
    assert widths == [2 * sum(depth + 0.5 > SINGLE * index for depth in range(4)) for index in range(5)]


def test_confidence_is_the_dice_that_a_mask_expects():
    sure, torn, nothing = torch.full((3, 1, 50, 50), -30.0).unbind()
    sure[0, :20] = 30
    torn[0, :20] = torch.tensor(3.0).log()  # probability 3/4
    found = confidence(torch.stack([sure, torn, nothing, torch.full_like(sure, -0.01)]))
    assert found.tolist() == pytest.approx([1, 1502.5 / 1752.5, 1, 0], abs=0.003)


@torch.no_grad()
def test_without_anything_else_each_plane_is_segmented_by_the_labels(network):
    planes, labels = noise(7), {1: disc(12), 4: disc(20)}
    found = propagate(network, planes, labels, config=ALONE)
    support = planes[[1, 4]][None], torch.stack([labels[1], labels[4]])[None]
    asked = [0, 2, 3, 5, 6]
    torch.testing.assert_close(found[asked], network.segment(planes[asked], network.encode_support(*support)))


@torch.no_grad()
def test_a_network_that_reads_supports_as_a_whole_propagates_too():
    torch.manual_seed(0)
    network = CrossBlockNet(CrossBlockConfig((4, 4), (4,))).eval()
    planes, labels = noise(4), {0: disc(12), 3: disc(20)}
    found = propagate(backend_of(network), planes, labels, config=JOINING)
    images, known = planes[[0, 3]][None], torch.stack([labels[0], labels[3]])[None]
    torch.testing.assert_close(found[[1]], network(planes[[1]], images, known), **TOLERANCE)


@pytest.mark.parametrize("config", [ALONE, Propagation()], ids=["alone", "propagation"])
def test_labelled_planes_keep_their_labels(network, config):
    labels = {0: disc(12), 3: torch.zeros(1, SIDE, SIDE), 4: disc(20)}
    found = propagate(network, noise(6), labels, config=config)
    for index, label in labels.items():
        assert torch.equal(found[index], CERTAIN * (2 * label - 1))


def test_batches_change_nothing(network):
    planes, labels = noise(9), {2: disc(12), 6: disc(20)}
    whole, single = (
        propagate(network, planes, labels, config=Propagation(reach=2, batch_size=size)) for size in (16, 1)
    )
    torch.testing.assert_close(whole, single, **TOLERANCE)


def test_the_axis_has_no_direction(network):
    planes, labels = noise(9), {2: disc(12), 5: disc(20)}
    turned = propagate(network, planes.flip(0), {8 - index: label for index, label in labels.items()})
    torch.testing.assert_close(turned.flip(0), propagate(network, planes, labels), **TOLERANCE)


def test_predictions_that_join_let_a_label_follow_what_moves():
    discs = torch.stack([disc(8 + 2 * index) for index in range(9)])
    alone, joining = (propagate(Follower(), discs, {0: discs[0]}, config=config) for config in (ALONE, JOINING))
    assert torch.equal(joining > 0, discs > 0)
    assert not (alone[8] > 0).any()


@pytest.fixture
def halves() -> list[Tensor]:
    """Two halves (1, 32, 32) of a square that look alike and touch."""
    left, right = torch.zeros(2, 1, SIDE, SIDE)
    left[:, 8:24, 8:16] = 1
    right[:, 8:24, 16:24] = 1
    return [left, right]


def test_structures_side_by_side_do_not_grow_into_each_other(halves):
    planes = torch.stack([halves[0] + halves[1]] * 6)
    found = propagate_all(Follower(), planes, [LabelledStructure({0: half}) for half in halves], JOINING)
    masks = against_others(found) > 0
    assert torch.equal(masks[5], torch.cat(halves) > 0)
    alone = propagate(Follower(), planes, {0: halves[0]}, config=JOINING)
    assert torch.equal(alone[5] > 0, planes[5] > 0)


def test_structures_that_may_overlap_travel_as_if_alone(halves):
    planes, structures = torch.stack([halves[0] + halves[1]] * 6), [LabelledStructure({0: half}) for half in halves]
    found = propagate_all(Follower(), planes, structures, overlap=True)
    for index, half in enumerate(halves):
        assert torch.equal(found[:, [index]], propagate(Follower(), planes, {0: half}))


@torch.no_grad()
def test_the_order_of_structures_is_irrelevant(network):
    planes, structures = noise(5), [LabelledStructure({1: disc(column)}) for column in (8, 16, 24)]
    found, turned = (propagate_all(network, planes, each) for each in (structures, structures[::-1]))
    torch.testing.assert_close(found, turned.flip(1), **TOLERANCE)


def test_a_structure_is_weighed_against_the_background_and_all_others():
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    shares = torch.cat([torch.zeros(2, 1, 4, 4), logits], 1).softmax(1)[:, 1:]
    torch.testing.assert_close(against_others(logits).sigmoid(), shares)
    assert torch.equal(against_others(logits[:, :1]), logits[:, :1])


def test_predictions_join_only_if_sure():
    discs = torch.stack([disc(8 + 2 * index) for index in range(9)])
    strict = Propagation(continuity=0.0, neighbours=0.0, confidence=1.01)
    found = propagate(Follower(), discs, {0: discs[0]}, config=strict)
    torch.testing.assert_close(found, propagate(Follower(), discs, {0: discs[0]}, config=ALONE))


def test_every_plane_is_read_once_and_forgotten():
    network = Follower()
    planes = torch.stack([disc(16)] * 120)
    propagate(network, planes, {40: disc(16), 80: disc(16)}, config=Propagation(continuity=0.0, batch_size=2))
    assert len(network.read) == 120
    held = 2 + 2 * 4  # labelled planes; predictions of two waves, as the next is read before the last is forgotten
    assert network.most <= held + 2 + 3  # a batch being read; what is joined, selected and asked


def test_a_shape_that_agrees_pulls_planes_between_and_recedes_beyond():
    stripe = torch.zeros(1, SIDE, SIDE)
    stripe[..., 28:] = 1
    label, spoiled = disc(12, radius=8), (disc(12, radius=8) + stripe).clamp(max=1)
    planes = torch.stack([label, *[0.05 + 0.5 * spoiled] * 3, label, *[0.05 + 0.5 * spoiled] * 20])
    found, plain = (
        propagate(Seer(), planes, {0: label, 4: label}, config=Propagation(continuity=pull, step=0.05, neighbours=0.0))
        for pull in (32.0, 0.0)
    )
    assert torch.equal(plain[1:4] > 0, torch.stack([spoiled] * 3) > 0)
    assert torch.equal(found[1:4] > 0, torch.stack([label] * 3) > 0)
    sizes = (found[4:] > 0).sum(dim=(1, 2, 3)).tolist()
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2] > sizes[-1] == 0
    assert (plain[-1] > 0).any()


def test_a_shape_that_disagrees_is_not_heard():
    frames = torch.stack([disc(column) for column in (6, 24, 16, 26, 6)])
    labels = {0: disc(6), 4: disc(6)}
    pulled = propagate(Seer(), frames, labels, config=Propagation(neighbours=0.0))
    torch.testing.assert_close(pulled, propagate(Seer(), frames, labels, config=JOINING))


def test_in_a_still_film_labels_stay_and_in_one_that_moves_they_do_not_count():
    label, still = disc(12), Propagation(continuity=0.0, neighbours=0.0, stillness=256.0)
    wider = disc(12, radius=6)
    stays = propagate(Seer(), torch.stack([0.8 * wider] * 3), {0: label}, config=still)
    assert torch.equal(stays[1:] > 0, torch.stack([label] * 2) > 0)
    frames = torch.stack([disc(column) for column in (6, 16, 26)])
    found, plain = (propagate(Seer(), frames, {0: label}, config=config) for config in (still, JOINING))
    assert torch.equal(found, plain)


def test_a_plane_gives_in_to_neighbours_that_are_alike():
    planes = torch.stack([0.9 * disc(16)] * 3)
    planes[0, 0, 16, 16] = planes[2, 0, 16, 16] = 0.9
    planes[1, 0, 16, 16] = 0.4
    found = propagate(Seer(), planes, {0: disc(16)}, config=Propagation(continuity=0.0))
    likeness = 2 * (disc(16).sum() - 1) / (2 * disc(16).sum() - 1)
    weight = 0.3 * (2 * likeness - 1)
    assert found[1, 0, 16, 16].item() == pytest.approx(((2 * 4 * weight - 1) / (1 + 2 * weight)).item(), abs=1e-4)
    assert found[1, 0, 16, 16] > 0
    assert found[1, 0, 0, 0].item() == pytest.approx(-5)


def test_a_plane_ignores_neighbours_that_are_not_alike():
    frames = torch.stack([0.9 * disc(column) for column in (6, 14, 22)])
    found, alone = (
        propagate(Seer(), frames, {0: disc(6)}, config=Propagation(continuity=0.0, neighbours=weight))
        for weight in (0.3, 0.0)
    )
    torch.testing.assert_close(found, alone)


@torch.no_grad()
def test_of_other_volumes_the_planes_that_look_alike_are_asked(network):
    planes = noise(3)
    strange = LabelledPlanes(
        torch.cat([0.1 * noise(4), planes[[1]], planes[[2]]]), torch.stack([disc(4 * index + 4) for index in range(6)])
    )
    config = Propagation(nearest=1, reach=0, continuity=0.0, neighbours=0.0)
    found = propagate(network, planes, {0: disc(16)}, strange, config)
    for index, twin in ((1, 4), (2, 5)):
        images = torch.stack([planes[0], strange.images[twin]])[None]
        labels = torch.stack([disc(16), strange.labels[twin]])[None]
        torch.testing.assert_close(found[[index]], network(planes[[index]], images, labels), **TOLERANCE)


def test_a_volume_without_labels_is_segmented_from_what_is_surest():
    discs = torch.stack([disc(4 + 2 * index) for index in range(9)])
    others = LabelledPlanes(discs[[4]], discs[[4]])
    found = propagate(Follower(), discs, {}, others, replace(JOINING, seeds=1))
    assert torch.equal(found > 0, discs > 0)


def test_where_nothing_is_found_nothing_travels():
    others = LabelledPlanes(disc(6)[None], disc(6)[None])
    assert not (propagate(Follower(), torch.zeros(4, 1, SIDE, SIDE), {}, others) > 0).any()


@pytest.mark.parametrize(
    ("labels", "others", "complaint"),
    [
        ({}, None, "at least one labelled plane"),
        ({4: disc(16)}, None, "indices from 0 to 3, got 4"),
        ({-1: disc(16)}, None, "indices from 0 to 3, got -1"),
        ({0: torch.zeros(1, 8, 8)}, None, r"labels\[0\] does not fit"),
        ({}, LabelledPlanes(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)), "others.images does not fit"),
        ({}, LabelledPlanes(noise(20), noise(20)), "Pass fewer"),
    ],
    ids=["nothing", "beyond", "before", "size", "others", "too many"],
)
def test_what_does_not_fit_is_refused(labels, others, complaint):
    with pytest.raises(ValueError, match=complaint):
        propagate(Follower(), noise(4), labels, others)


@pytest.mark.parametrize("name", ["nearest", "seeds", "batch_size", "reach", "confidence", "step"])
def test_impossible_settings_are_refused(name):
    value = -0.5 if name in ("confidence", "step") else -1
    with pytest.raises(ValueError, match=f"{name} is too small"):
        Propagation(**{name: value})
