"""The probe and the cost as experiments: what is measured becomes points, once."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments import measuring
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.measuring import PLAIN, cost, ours_ms, probing, times_ms
from incontext.networks import checkpoint
from incontext.networks.checkpoint import NAMED
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

NewBench = Callable[..., Bench]


def ends(value: Interval) -> tuple[float, float, float]:
    return value.mean, value.low, value.high


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8, 8), heads=1, head_channels=8))
    checkpoint.save(tmp_path / "tiny.safetensors", network, {})
    return tmp_path / "tiny.safetensors"


def test_a_probe_is_made_with_as_many_seeds_as_draws(
    new_bench: NewBench, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    def probe_suite(path: Path, settings: object, weights: Path, device: str) -> dict[str, object]:
        seeds.append(settings.seed)
        return {"scores": {"true": 0.5 + settings.seed / 10, "blank": 0.2, "restored": 0.4}, "passes": True}

    monkeypatch.setattr(measuring, "probe_suite", probe_suite)
    bench = new_bench("probe", predictors=(str(weights),))
    first, second = probing(bench), probing(bench)
    assert seeds == [0, 1]
    assert first == second
    true, blank, restored = first.points
    assert [point.place.x for point in first.points] == ["true", "blank", "restored"]
    assert (true.reference, blank.reference) == (None, Coordinates("true"))
    assert ends(true.value) == pytest.approx((0.55, 0.5, 0.6))
    assert ends(blank.value) == pytest.approx((0.2, 0.2, 0.2))
    assert ends(blank.difference) == pytest.approx((-0.35, -0.4, -0.3))
    assert restored.about == "the same masks, exchanged back"


def test_costs_are_per_query_and_the_plain_one_is_flat(
    new_bench: NewBench, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "SUPPORT_SIZES", (1, 4))
    monkeypatch.setattr(measuring, "QUERIES", (1, 10))
    monkeypatch.setattr(measuring, "plain_ms", lambda size, runs: {"1": [100.0 * size, 120.0 * size, 90.0 * size]})
    monkeypatch.setattr(
        measuring, "ours_ms", lambda weights, size, runs: {"1": [20.0 * size] * 3, "10": [5.0, 6.0, 7.0]}
    )
    points = {point.place: point.value for point in cost(new_bench("cost", predictors=(str(weights),))).points}
    assert len(points) == 2 * 2 * 2
    assert points[Coordinates(10, "tiny", "S = 4")] == Interval(6.0, 5.0, 7.0)
    assert {points[Coordinates(count, PLAIN, "S = 4")] for count in (1, 10)} == {Interval(400.0, 360.0, 480.0)}


class Toilsome(nn.Module):
    """A network and a clock in one: it reads a support image in 3 s, and segments a query in 1 s."""

    seconds = 0.0

    def encode_support(self, images: Tensor, labels: Tensor) -> Tensor:
        self.seconds += 3 * images.shape[1]
        return labels

    def segment(self, queries: Tensor, code: Tensor) -> Tensor:
        self.seconds += len(queries)
        return queries


def test_many_queries_share_the_reading_of_their_support(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Toilsome()
    monkeypatch.setattr(measuring, "QUERIES", (1, 20))
    monkeypatch.setattr(measuring, "load_network", lambda path: network)
    monkeypatch.setattr(measuring, "time", SimpleNamespace(process_time=lambda: network.seconds))
    found = ours_ms(weights, 8, 2)
    assert found == {"1": [pytest.approx(25_000)] * 2, "20": [pytest.approx(2_200)] * 2}


def test_the_first_run_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 10.0, 10.001, 20.0, 20.002, 30.0, 30.003])
    monkeypatch.setattr(measuring.time, "process_time", lambda: next(clock))
    assert times_ms(lambda: None, 3) == pytest.approx([1, 2, 3])


@pytest.mark.parametrize(("name", "weights"), [("packaged", "default"), ("default", "default"), ("open", "open")])
def test_the_network_that_is_looked_into_is_known_by_name(new_bench: NewBench, name: str, weights: str) -> None:
    assert new_bench("probe", predictors=(name,)).weights == NAMED[weights]


@pytest.mark.parametrize("names", [("packaged", "mean-mask"), ("mean-mask",)])
def test_one_network_is_looked_into(new_bench: NewBench, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="The experiment looks into one network"):
        probing(new_bench("probe", predictors=names))
    with pytest.raises(ValueError, match="The experiment looks into one network"):
        cost(new_bench("cost", predictors=names))
