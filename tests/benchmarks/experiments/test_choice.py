"""Choice of supports: by image features alone, of other subjects, and in an order that features decide."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.experiments import choice
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.choice import chosen_pools, support_choice
from benchmarks.experiments.supports import pools

NewBench = Callable[..., Bench]


class Eye:
    """Sees the centre of the drawings, which their row in the collection decides: (row % 7)."""

    def features(self, images: Tensor) -> list[Tensor]:
        places = torch.arange(16.0)
        centre = (images[:, 0].mean(2) * places).sum(1) / images[:, 0].mean(2).sum(1)
        return [torch.stack([centre, torch.full_like(centre, 30.0)], 1)[..., None, None]]


@pytest.fixture
def bench(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(choice, "load_network", lambda path, device: Eye())
    return new_bench("support-choice")


def test_the_nearest_image_of_another_subject_comes_first(bench: Bench) -> None:
    whole = pools(bench)
    for way in ("nearest by features", "nearest by pixels"):
        plan = chosen_pools(bench, whole)[way][0]
        for episode in plan.episodes:
            place = episode.query.row % 7
            apart = [abs(sample.row % 7 - place) for sample in episode.support]
            assert apart[0] == min(apart)
            assert episode.query.subject not in {sample.subject for sample in episode.support}
            subjects = [sample.subject for sample in episode.support]
            assert len(set(subjects[:5])) == 5


def test_what_chance_has_no_part_in_is_asked_once(bench: Bench) -> None:
    by_series = {condition.place.series: condition for condition in support_choice(bench)}
    assert {series: len(each.plans[0].episodes) for series, each in by_series.items()} == {
        "random": 8, "nearest by features": 4, "nearest by pixels": 4, "diverse": 8
    }  # fmt: skip


def test_all_ways_ask_the_same_and_are_compared_with_chance(bench: Bench) -> None:
    conditions = support_choice(bench)
    assert len(conditions) == 4 * len(choice.SIZES)
    asked = {tuple(sorted({each.query.case for each in one.plans[0].episodes})) for one in conditions}
    assert len(asked) == 1
    for condition in conditions:
        assert condition.reference == Coordinates(condition.place.x, "random")
        assert {len(each.support) for each in condition.plans[0].episodes} <= {condition.place.x, 9, 10, 11}


def test_diverse_supports_cover_more_than_random_ones(bench: Bench) -> None:
    def spread(series: str) -> float:
        plan = next(each for each in support_choice(bench) if each.place == Coordinates(4, series)).plans[0]
        places = [[sample.row % 7 for sample in episode.support] for episode in plan.episodes]
        return sum(max(each) - min(each) for each in places)

    assert spread("diverse") > spread("random")


def test_labels_are_not_looked_at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pools(bench)
    monkeypatch.setattr(
        type(bench.collection), "images", lambda self, task, rows: torch.rand(len(rows), 16, 16).numpy()
    )
    monkeypatch.setattr(type(bench.collection), "labels", None)
    assert set(chosen_pools(bench, whole)) == {"nearest by features", "nearest by pixels", "diverse"}
