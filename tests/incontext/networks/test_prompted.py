"""Prompts correct what is there: nothing without them, obedience where they are, and each query by itself."""

import pytest
import torch

from incontext.networks.prompted import (
    BOX,
    INSIDE,
    LEAST_SAID,
    OUTSIDE,
    REACH_PX,
    PromptedConfig,
    PromptedNet,
    Reading,
    answer,
    obeying,
    read,
    squared_distances,
    step_costs,
)
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

SIDE = 32


@pytest.fixture(scope="module")
def base() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8)).eval()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "geodesic"])
def network(request: pytest.FixtureRequest) -> PromptedNet:
    """A network whose last layers, which begin silent, say something."""
    torch.manual_seed(1)
    config = PromptedConfig((8, 8, 8, 8), (8, 8, 8, 8), matched_channels=4, heads=2, geodesic=request.param)
    made = PromptedNet(config).eval()
    for layer in (made.head, made.mix):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return made


@pytest.fixture(scope="module")
def reading(base: SupportOnceNet) -> Reading:
    torch.manual_seed(2)
    images, labels = torch.rand(1, 3, 1, SIDE, SIDE), (torch.rand(1, 3, 1, SIDE, SIDE) > 0.5).float()
    with torch.no_grad():
        return read(base, torch.rand(4, 1, SIDE, SIDE), base.encode_support(images, labels))


def prompts(count: int = 4) -> torch.Tensor:
    """Queries 0 and 3 without any prompt, 1 with a click on either side, 2 with a box."""
    maps = torch.zeros(count, 3, SIDE, SIDE)
    maps[1, INSIDE, 3, 4] = maps[1, OUTSIDE, 20, 30] = 1
    maps[2, BOX, 5:20, 6:25] = 1
    return maps


def test_queries_without_prompts_keep_their_logits_bit_by_bit(network, reading):
    with torch.no_grad():
        found = network.refine(network.begin(reading), prompts())
    assert torch.equal(found[[0, 3]], reading.automatic[[0, 3]])
    assert all((found[i] - reading.automatic[i]).abs().amax() > 0.1 for i in (1, 2))


def test_a_reading_is_what_the_other_network_answers(base, reading):
    torch.manual_seed(2)
    images, labels = torch.rand(1, 3, 1, SIDE, SIDE), (torch.rand(1, 3, 1, SIDE, SIDE) > 0.5).float()
    with torch.no_grad():
        asked = base.segment(reading.images, base.encode_support(images, labels))
    assert torch.equal(reading.automatic, asked)
    assert (reading.supported == 1).all()


def test_without_a_support_nothing_is_known_but_the_image(base, reading):
    with torch.no_grad():
        alone = read(base, reading.images)
    assert not alone.automatic.any()
    assert not alone.supported.any()
    for with_support, without in zip(reading.stages, alone.stages, strict=True):
        half = with_support.shape[1] // 2
        assert torch.equal(without[:, :half], with_support[:, :half])
        assert not without[:, half:].any()
        assert with_support[:, half:].any()


def test_each_query_is_answered_by_itself(network, reading):
    maps = prompts()
    with torch.no_grad():
        together = network.refine(network.begin(reading), maps)
        for i in range(4):
            alone = Reading(
                *(part[i : i + 1] for part in reading[:2]),
                tuple(s[i : i + 1] for s in reading.stages),
                reading.supported[i : i + 1],
            )
            found = network.refine(network.begin(alone), maps[i : i + 1])
            torch.testing.assert_close(found[0], together[i], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sign", [-50.0, 50.0])
def test_prompted_pixels_obey_whatever_the_network_says(network, reading, sign):
    maps = prompts()
    certain = reading._replace(automatic=torch.full_like(reading.automatic, sign))
    with torch.no_grad():
        found = network.refine(network.begin(certain), maps)
    assert found[1, 0, 3, 4] >= LEAST_SAID
    assert found[1, 0, 20, 30] <= -LEAST_SAID


def test_obedience_changes_prompted_pixels_alone():
    maps, logits = prompts(), torch.randn(4, 1, SIDE, SIDE)
    changed = obeying(logits, maps) != logits
    assert not (changed & (maps[:, :BOX].amax(1, keepdim=True) == 0)).any()


def test_a_query_without_support_becomes_its_own(base, network, reading):
    alone, maps = read(base, reading.images), prompts()
    with torch.no_grad():
        begun = network.begin(alone)
        first, found = network.refine(begun, maps), answer(base, network, begun, maps)
        code = base.encode_support(reading.images[:, None], (first > 0).float()[:, None])
        again = network.refine(network.begin(read(base, reading.images, code)), maps, first)
    assert torch.equal(found[[0, 3]], torch.zeros(2, 1, SIDE, SIDE)), "nothing is said of these"
    torch.testing.assert_close(found[1:3], again[1:3])
    assert (found[1:3] - first[1:3]).abs().amax() > 0.1
    assert torch.equal(obeying(found, maps), found)


def test_a_query_with_a_support_is_read_once(base, network, reading):
    with torch.no_grad():
        begun = network.begin(reading)
        assert torch.equal(answer(base, network, begun, prompts()), network.refine(begun, prompts()))


def test_what_was_there_before_the_latest_prompts_counts(network, reading):
    maps = prompts()
    with torch.no_grad():
        begun = network.begin(reading)
        usual = network.refine(begun, maps)
        assert torch.equal(network.refine(begun, maps, reading.automatic), usual)
        assert not torch.equal(network.refine(begun, maps, -5 * torch.ones_like(usual))[1], usual[1])


def test_a_new_network_adds_a_bump_around_each_click(base, reading):
    network = PromptedNet(PromptedConfig(read_channels=(8, 8, 8, 8), channels=(8, 8, 8, 8), matched_channels=4))
    maps = prompts()
    with torch.no_grad():
        added = network.correct(network.begin(reading), maps) - reading.automatic
    assert added[1, 0, 3, 4] == pytest.approx(4, abs=1e-3)
    assert added[1, 0, 20, 30] == pytest.approx(-4, abs=1e-3)
    assert added[1, 0, 3, 4] > added[1, 0, 3, 6] > added[1, 0, 3, 8] > 0
    assert not added[[0, 2, 3]].any()


def test_squared_distances_are_exact_within_their_reach():
    torch.manual_seed(3)
    maps = (torch.rand(2, 2, 24, 40) > 0.99).float()
    maps[1, 1] = 0
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(40), indexing="ij")
    for found, drawn in zip(squared_distances(maps).flatten(0, 1), maps.flatten(0, 1), strict=True):
        points = drawn.nonzero()
        true = torch.full((24, 40), 10_000)
        for row, column in points.tolist():
            true = torch.minimum(true, (rows - row) ** 2 + (columns - column) ** 2)
        near = true <= REACH_PX**2
        assert torch.equal(found[near], true[near].float())
        assert (found[~near] > REACH_PX**2).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"channels": (8, 8)}, "do not fit read_channels"),
        ({"channels": (8, 8, 8, 8, 6)}, "do not divide into groups"),
        ({"heads": 0}, "heads is unusable"),
    ],
)
def test_impossible_shapes_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        PromptedConfig(**change)


def test_images_that_the_network_cannot_take_are_refused(base):
    with pytest.raises(ValueError, match=r"expected sides divisible by 16, got .* to its size_px, such as"):
        read(base, torch.rand(1, 1, 24, 24))


def test_a_step_costs_more_where_grey_values_mask_or_features_change() -> None:
    shown, matched = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)
    matched[:, 0] = 1
    shown[0, 0, :, 2:] = 0.5
    shown[0, 1, 1:] = 1.0
    matched[0, :, :, 3] = torch.tensor([[0.0], [1.0]])
    down, along = step_costs(torch.tensor([0.1, 4.0, 2.0, 3.0]), shown, matched)
    torch.testing.assert_close(down[0, 0], torch.tensor([[2.1] * 4, [0.1] * 4]))
    torch.testing.assert_close(along[0, 0], torch.tensor([[0.1, 2.1, 3.1]]).expand(3, 3))
