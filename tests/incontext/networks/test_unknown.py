"""What nobody judged of a support is in no prototype, no fit and no prior of the network."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from incontext.networks.checkpoint import PACKAGED, load
from incontext.networks.measures import calibration_error, dice
from incontext.networks.support_code import SupportCode
from incontext.networks.support_once import SupportOnceNet
from incontext.networks.unknown import as_shares, judged, kinds, known_part, mean_over_images, means, readings
from megamed.unknown import UNKNOWN, UNKNOWN_SHARE

SIZE_PX = 64


@pytest.fixture(scope="module")
def network() -> SupportOnceNet:
    return load(PACKAGED).eval()


def examples(count: int = 4) -> tuple[Tensor, Tensor]:
    """Images with a bright disc, and their labels, of which a frame around the disc is unknown in every other one."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(*[torch.arange(SIZE_PX)] * 2, indexing="ij")
    images, labels = [], []
    for index in range(count):
        distances = ((rows - 24 - 4 * index) ** 2 + (columns - 30) ** 2).sqrt()
        label = (distances < 12).float()
        images.append(0.2 + 0.5 * label + 0.1 * torch.rand(SIZE_PX, SIZE_PX, generator=generator))
        ring = (distances - 12).abs() < 2
        labels.append(torch.where(ring & (index % 2 == 0), UNKNOWN_SHARE, label))
    return torch.stack(images)[None, :, None], torch.stack(labels)[None, :, None]


def test_bytes_become_shares() -> None:
    labels = torch.tensor([0, 1, UNKNOWN], dtype=torch.uint8)
    assert as_shares(labels).tolist() == [0, 1, UNKNOWN_SHARE]
    assert judged(as_shares(labels)).tolist() == [True, True, False]


def test_unknown_pixels_are_of_no_kind() -> None:
    labels = torch.tensor([[1.0, 1, 0, 0], [1, 0.5, 0.5, 0.5]])[None, None]
    shares = kinds(labels, known_part(labels), (1, 2))
    assert shares[0, :, 0, 0].tolist() == [[0.75, 0], [0, 0.5]]
    assert kinds(labels, None, (1, 1)).sum() == 1, "what is not asked for costs nothing"


def test_means_are_of_what_is_known() -> None:
    labels = torch.tensor([[1.0, 0, 0.5, 0.5], [0.5, 1, 0.5, 0.5], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]])[None, None]
    found = means(labels, known_part(labels), (2, 2), 2)[0, 0]
    assert found[:, 0].tolist() == pytest.approx([2 / 3, 0])
    assert found[:, 1].tolist() == pytest.approx([2 / 7] * 2), "of nothing, the mean of what is around"


def test_the_prior_is_of_those_who_judged() -> None:
    labels = torch.tensor([[1.0, 0.5, 0.5], [0.0, 1, 0.5]]).view(1, 2, 1, 1, 3)
    assert mean_over_images(labels).flatten().tolist() == pytest.approx([0.5, 1, 2 / 3])


def test_prototypes_are_means_over_judged_pixels(network: SupportOnceNet) -> None:
    """By hand, the finest stage's: features of unit length, weighted by the judged shares of their pixels."""
    images, labels = examples()
    with torch.inference_mode():
        code = network.encode_support(images, labels)
        matched = network._matched(0, network.features(images[0])[0])
        for kind, drawn in enumerate((labels[0] == 1, labels[0] == 0)):
            shares = F.avg_pool2d(drawn.float(), 2)
            expected = F.normalize((matched * shares).sum((0, 2, 3)), dim=0)
            torch.testing.assert_close(code.prototypes[0][0, kind], expected)


def test_exchanging_the_kinds_exchanges_their_prototypes(network: SupportOnceNet) -> None:
    images, labels = examples()
    with torch.inference_mode():
        code, exchanged = (network.encode_support(images, each) for each in (labels, 1 - labels))
    for one, other in zip(code.prototypes, exchanged.prototypes, strict=True):
        torch.testing.assert_close(one, other.flip(1))


def test_an_image_of_which_nothing_was_judged_is_as_if_it_were_not_there(network: SupportOnceNet) -> None:
    images, labels = examples()
    blind = torch.full_like(labels[:, :2], UNKNOWN_SHARE)
    with torch.inference_mode():
        alone = network.segment(images[0, :1], network.encode_support(images, labels))
        beside = network.encode_support(torch.cat([images, images[:, :2].flip(-1)], 1), torch.cat([labels, blind], 1))
        assert beside.seen is not None
        torch.testing.assert_close(network.segment(images[0, :1], beside), alone, atol=0.02, rtol=0)


def test_a_support_of_which_nothing_was_judged_says_nothing(network: SupportOnceNet) -> None:
    images, labels = examples()
    with torch.inference_mode():
        code = network.encode_support(images, torch.full_like(labels, UNKNOWN_SHARE))
        assert network.segment(images[0, :1], code).isfinite().all()


def test_batches_of_sets_with_and_without_unknown_pixels(network: SupportOnceNet) -> None:
    images, labels = examples()
    plain = (labels > UNKNOWN_SHARE).float()
    with torch.inference_mode():
        codes = [network.encode_support(images, each) for each in (labels, plain)]
        together = network.segment(images[0, :2], SupportCode.stacked(codes))
        for index, code in enumerate(codes):
            alone = network.segment(images[0, index : index + 1], code)
            torch.testing.assert_close(together[index : index + 1], alone, atol=1e-4, rtol=1e-4)


def test_leaving_one_out_is_calling_with_the_others(network: SupportOnceNet) -> None:
    images, labels = examples()
    labels[0, 0, 0, :32] = UNKNOWN_SHARE
    with torch.inference_mode():
        (found,) = network.leave_one_out(images, labels)
        for index in range(images.shape[1]):
            others = [other for other in range(images.shape[1]) if other != index]
            alone = network(images[:, index], images[:, others], labels[:, others])
            torch.testing.assert_close(found[index : index + 1], alone, atol=1e-4, rtol=1e-4)


def test_a_half_annotated_support_is_no_worse_than_its_judged_half(network: SupportOnceNet) -> None:
    """Read as background, the unknown half of a disc teaches that half of what looks like it is none."""
    images, labels = examples()
    truth = (labels > UNKNOWN_SHARE).float()
    half = truth.clone()
    half[..., 30:] = UNKNOWN_SHARE
    query, drawn = images[0, 1:2], truth[0, 1:2] > 0
    with torch.inference_mode():
        honest = network.segment(query, network.encode_support(images[:, 2:], half[:, 2:])) > 0
        wrong = network.segment(query, network.encode_support(images[:, 2:], (half[:, 2:] == 1).float())) > 0
    assert dice(honest, drawn) > max(0.8, dice(wrong, drawn) + 0.1)


def test_measures_leave_unknown_pixels_out() -> None:
    masks, labels = torch.tensor([[[1, 1, 0]]]) > 0, torch.tensor([[[1, 0, 0]]]) > 0
    known = torch.tensor([[[True, False, True]]])
    assert dice(masks, labels).item() == pytest.approx(2 / 3)
    assert dice(masks, labels, known).item() == 1
    probabilities = masks.float()
    assert calibration_error(probabilities, labels, known=known).item() == 0
    assert calibration_error(probabilities, labels).item() == pytest.approx(1 / 3)


def test_both_readings_of_a_label() -> None:
    labels = torch.tensor([[[[0, 1, UNKNOWN_SHARE]]]])
    assert readings(labels)[0, :, 0].tolist() == [[0, 1, 0], [0, 1, 1]]
    assert torch.equal(readings(labels).mean(1, keepdim=True), labels)
    assert readings(labels.round()) is not None
