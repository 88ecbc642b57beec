"""Figures: what is where, seen on the axes rather than in pixels."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.analysis.statistics import Interval
from benchmarks.experiments import figure
from benchmarks.experiments.bench import Coordinates, Findings, Point
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.figure import SPREAD_SHARE, draw

CLEAN = Coordinates(0, "as they are")
INTERVAL = Interval(0.5, 0.4, 0.65)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Draws an experiment and returns the figure."""
    kept = []
    monkeypatch.setattr(figure, "Figure", lambda *args, **options: kept.append(Figure(*args, **options)) or kept[-1])

    def of(name: str, points: list[Point]) -> Figure:
        draw(tmp_path / "figure.png", EXPERIMENTS[name], Findings(points, {}))
        with Image.open(tmp_path / "figure.png") as picture:
            assert min(picture.size) > 300
        return kept[-1]

    return of


def test_panels_stand_side_by_side_and_the_reference_goes_across(drawn) -> None:
    less = Interval(-0.2, -0.3, -0.1)
    points = [Point(CLEAN, INTERVAL)]
    points += [
        Point(Coordinates(grade, "noise", side), INTERVAL, CLEAN, less)
        for side in ("query", "both")
        for grade in (1, 2, 3)
    ]
    figure = drawn("corruption", points)
    assert [each.get_title() for each in figure.axes] == ["query", "both"]
    assert figure.axes[0].get_ylabel() == "Dice, %, difference"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["as they are", "noise"]
    for each in figure.axes:
        assert sorted({tuple(line.get_ydata()) for line in each.get_lines()}) == [
            (-30, -30, -30), (-20, -20, -20), (-10, -10, -10), (0, 0)
        ]  # fmt: skip


@pytest.mark.parametrize(("name", "places"), [("support-size", (1, 2, 16)), ("fairness", ("small", "medium", "large"))])
def test_one_subject_is_written_in_place_of_an_interval(drawn, name: str, places: tuple[int | str, ...]) -> None:
    lone = Interval(0.5, 0.5, 0.5, subjects=1)
    points = [Point(Coordinates(place, "ours"), lone if place == places[0] else INTERVAL) for place in places]
    (axes,) = drawn(name, points).axes
    assert [text.get_text() for text in axes.texts] == ["one subject"]
    (whiskers,) = [each.get_segments() for each in axes.collections]
    assert sum(len(each) == 2 and bool(np.isfinite(each).all()) for each in whiskers) == len(places) - 1


def test_numbers_are_written_along_a_logarithmic_axis(drawn) -> None:
    (axes,) = drawn("support-size", [Point(Coordinates(size, "ours"), INTERVAL) for size in (1, 2, 16)]).axes
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "16"]
    assert axes.get_xlabel() == "labelled examples"


def test_series_stand_beside_each_other_where_they_meet(drawn) -> None:
    points = [Point(Coordinates(size, name), INTERVAL) for name in ("ours", "theirs") for size in (1, 100)]
    (axes,) = drawn("support-size", points).axes
    ours, theirs = (line.get_xdata() for line in axes.get_lines() if line.get_linestyle() == "-")
    assert [float(there / here) for here, there in zip(ours, theirs, strict=True)] == pytest.approx(
        [100**SPREAD_SHARE] * 2
    )


def test_names_are_bars_a_colour_per_series(drawn) -> None:
    points = [Point(Coordinates(name, series), INTERVAL) for name in ("ct", "mr") for series in ("with", "without")]
    (axes,) = drawn("leave-one-out", points).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["ct", "mr"]
    assert sorted(bar.get_x() + bar.get_width() / 2 for bar in axes.patches) == pytest.approx([-0.2, 0.2, 0.8, 1.2])
    assert {bar.get_height() for bar in axes.patches} == {50}


def test_a_series_has_one_colour_in_all_panels(drawn) -> None:
    """Panels have one legend, so another series has another colour, wherever it stands."""
    points = [Point(Coordinates("ct", series, panel), INTERVAL) for panel, series in ("ax", "bx", "by")]
    left, right = ({bar.get_facecolor() for bar in axes.patches} for axes in drawn("leave-one-out", points).axes)
    assert len(left) == 1
    assert len(right) == 2
    assert left < right
    lines = [Point(Coordinates(1, series, panel), INTERVAL) for panel, series in ("ax", "by")]
    colours = [{line.get_color() for line in axes.get_lines()} for axes in drawn("support-size", lines).axes]
    assert not colours[0] & colours[1]
