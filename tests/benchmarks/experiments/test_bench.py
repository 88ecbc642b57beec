"""Options and folders: nonsense is refused, and what was measured is not measured again."""

from collections.abc import Callable

import pytest

from benchmarks.experiments import bench
from benchmarks.experiments.bench import Bench, Coordinates, ExperimentOptions
from benchmarks.plans.task_plans import Settings

NewBench = Callable[..., Bench]


@pytest.mark.parametrize("wrong", [{"by": "colour"}, {"steps": 0}, {"seeds": 0}])
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ExperimentOptions(Settings(), **wrong)


def test_a_place_is_written_from_the_outside_in() -> None:
    assert str(Coordinates(4.0, "random", "left")) == "left, random, 4"
    assert str(Coordinates("none")) == "none"


def test_a_folder_is_of_one_experiment(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch) -> None:
    new_bench("support-size").claim({"4": "a"})
    new_bench("support-size").claim({"8": "b"})
    with pytest.raises(ValueError, match="expected experiment = support-size, got cost"):
        new_bench("cost").claim()
    with pytest.raises(ValueError, match="expected predictor 4 = a, got c"):
        new_bench("support-size").claim({"4": "c"})
    with pytest.raises(ValueError, match="expected options = "):
        new_bench("support-size", steps=200).claim()
    monkeypatch.setattr(bench, "__version__", "later")
    with pytest.raises(ValueError, match=r"another run: expected version = .*, got later"):
        new_bench("support-size").claim()


def test_what_was_measured_is_kept(new_bench: NewBench) -> None:
    measured = new_bench("cost")
    assert measured.kept("some", lambda: {"16": [1.5, 2]}) == {"16": [1.5, 2]}
    assert measured.kept("some", lambda: 1 / 0) == {"16": [1.5, 2]}
