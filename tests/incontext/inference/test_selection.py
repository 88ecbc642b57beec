"""Selection by what images look like: on points of a plane, by hand."""

import pytest
import torch
from torch.nn import functional as F

from incontext.inference.selection import diverse, image_features, nearest
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

CORNERS = torch.tensor([[0.0, 0.0], [0.1, 0.0], [4.0, 0.0], [0.0, 3.0], [0.0, 0.1]])


def test_the_nearest_come_first() -> None:
    queries = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    assert nearest(queries, CORNERS, 3).tolist() == [[0, 1, 4], [2, 1, 0]]
    assert sorted(nearest(queries, CORNERS)[0].tolist()) == [0, 1, 2, 3, 4]


def test_diverse_candidates_are_far_apart() -> None:
    for seed in range(8):
        chosen = diverse(CORNERS, 3, torch.Generator().manual_seed(seed)).tolist()
        assert {2, 3} < set(chosen)
        assert len({*chosen} & {0, 1, 4}) == 1


def test_the_beginning_of_a_diverse_order_is_diverse() -> None:
    first, whole = (diverse(CORNERS, count, torch.Generator().manual_seed(1)).tolist() for count in (3, None))
    assert whole[:3] == first
    assert sorted(whole) == [0, 1, 2, 3, 4]


def test_equal_candidates_are_all_chosen_once() -> None:
    assert sorted(diverse(torch.zeros(4, 2), generator=torch.Generator().manual_seed(0)).tolist()) == [0, 1, 2, 3]


def test_the_seed_draws_the_first() -> None:
    starts = {int(diverse(CORNERS, 1, torch.Generator().manual_seed(seed))) for seed in range(30)}
    assert starts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("count", [0, 6])
def test_a_count_that_does_not_fit_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="count does not fit the candidates: expected 1 to 5"):
        nearest(CORNERS[:1], CORNERS, count)
    with pytest.raises(ValueError, match="count does not fit the candidates: expected 1 to 5"):
        diverse(CORNERS, count)


def test_all_may_be_asked_for_by_their_number() -> None:
    assert nearest(CORNERS[:1], CORNERS, 5).tolist() == nearest(CORNERS[:1], CORNERS).tolist()
    assert sorted(diverse(CORNERS, 5).tolist()) == [0, 1, 2, 3, 4]


def test_features_are_of_each_image_alone_and_of_unit_length_per_stage() -> None:
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)).eval()
    images = torch.rand(3, 1, 32, 32)
    features = image_features(network, images, stages=2)
    assert features.shape == (3, 16)
    torch.testing.assert_close(features[:, :8].norm(dim=1), torch.ones(3))
    torch.testing.assert_close(features[1:2], image_features(network, images[1:2], stages=2))
    torch.testing.assert_close(features[:, 8:], F.normalize(network.features(images)[-1].mean((2, 3)), dim=1).detach())
