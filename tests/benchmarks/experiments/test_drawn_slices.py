"""Volumes by the distance from one drawn slice, and by the number of drawn slices: values known on drawings."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiments import drawn_slices
from benchmarks.experiments.bench import Bench
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.propagated_volumes import Question
from benchmarks.experiments.source_volumes import SourceVolume, VolumeSettings
from benchmarks.plans.task_plans import Settings
from incontext import Segmenter
from megamed.readers.volume import Volume


class Copier(Segmenter):
    """Copies the nearest drawn slice, the first of two."""

    calls = 0

    def __init__(self) -> None:
        pass

    def propagate(self, path: Path, labels: dict[int, np.ndarray], axis: int, config: object) -> list[np.ndarray]:
        Copier.calls += 1
        planes = [labels[min(labels, key=lambda drawn: abs(drawn - index))] for index in range(20)]
        return [np.stack(planes, axis)]


def cone(width: int = 15, slices: int = 15) -> SourceVolume:
    """A volume of 20 slices, in 15 of which a bar begins, one pixel longer from slice to slice."""
    label = np.zeros((24, 16, 20), bool)
    for index in range(slices):
        label[: width - index, 3, 2 + index] = True
    volume = Volume(label.astype(np.uint8), (1.0, 1.0, 3.0), np.diag([1.0, 1, 3, 1]))
    return SourceVolume("cells", "s0", "s0_a", "drawing", volume, 2, {"disc": label})


def test_dice_by_distance_and_number_is_known_of_copies() -> None:
    found = drawn_slices.measure(Copier(), Question(cone(), "disc", [cone()], 7))
    height = 8  # of the middle slice of 15
    expected = {
        distance: np.mean([2 * min(height, length) / (height + length) for length in lengths])
        for distance in drawn_slices.DISTANCES
        if (lengths := [each for each in (height - distance, height + distance) if 1 <= each <= 15])
    }
    assert found[drawn_slices.REACH] == pytest.approx(expected, abs=1e-6)
    assert list(expected) == [1, 3, 5]
    by_number = found[drawn_slices.WHOLE]
    assert list(by_number) == [1, 3, 7]
    copied = 2 * (sum(range(1, height)) + height * (16 - height)) / (20 * height + sum(range(1, 16)))
    assert by_number[1] == pytest.approx(copied, abs=1e-6)
    assert by_number[1] < by_number[3] < by_number[7]


def test_points_are_means_by_dataset_and_a_second_run_measures_nothing(
    new_bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"")
    volumes = {"a": cone(), "b": cone(slices=6)}
    monkeypatch.setattr(drawn_slices, "Segmenter", lambda weights, device: Copier())
    monkeypatch.setattr(drawn_slices, "read_volumes", lambda card, case: [volumes[case.name]])
    monkeypatch.setattr(drawn_slices, "find_volumes", lambda root, settings: [])
    monkeypatch.setattr(drawn_slices, "datasets_below", lambda root: {"cells", "elsewhere"})
    asked = Settings("heldout", queries=2)
    bench = new_bench("drawn-slices", asked, predictors=(str(weights),), data="datasets")
    with pytest.raises(ValueError, match="No volume can be asked about: expected a structure on more than 7 slices"):
        drawn_slices.drawn_slices(bench)
    monkeypatch.setattr(drawn_slices, "find_volumes", lambda root, settings: [(_Card(), [_Case("a"), _Case("b")])])
    findings = drawn_slices.drawn_slices(bench)
    assert {(point.place.panel, point.place.x) for point in findings.points} == {
        *((drawn_slices.REACH, x) for x in (1, 3, 5)), *((drawn_slices.WHOLE, x) for x in (1, 3, 7))
    }  # fmt: skip
    assert {point.place.series for point in findings.points} == {"cells"}
    before = Copier.calls
    assert drawn_slices.drawn_slices(bench) == findings
    assert Copier.calls == before
    assert EXPERIMENTS["drawn-slices"].kind == "volumes"


class _Card:
    masks = ("disc",)


class _Case:
    images = ("image",)

    def __init__(self, name: str) -> None:
        self.name = name


def test_the_files_must_be_named(new_bench: Callable[..., Bench]) -> None:
    with pytest.raises(ValueError, match="expected a folder of datasets, got none"):
        drawn_slices.drawn_slices(new_bench("drawn-slices"))


def test_datasets_of_the_suite_without_source_files_are_left_out(
    new_bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, asked = tmp_path / "weights", []
    weights.write_bytes(b"")
    bench = new_bench("drawn-slices", predictors=(str(weights),), data=str(tmp_path))
    monkeypatch.setattr(drawn_slices, "datasets_below", lambda root: {"elsewhere"})
    with pytest.raises(ValueError, match="has no dataset of suite 'heldout'"):
        drawn_slices.drawn_slices(bench)

    def find(root: Path, settings: VolumeSettings) -> list[object]:
        asked.append(settings.datasets)
        return []

    monkeypatch.setattr(drawn_slices, "datasets_below", lambda root: {"cells", "elsewhere"})
    monkeypatch.setattr(drawn_slices, "find_volumes", find)
    with pytest.raises(ValueError, match="No volume can be asked about"):
        drawn_slices.drawn_slices(bench)
    assert asked == [("cells",)]
