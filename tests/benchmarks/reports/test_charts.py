"""Where charts put what."""

import re
from xml.etree import ElementTree

import pytest

from benchmarks.reports.charts import (
    Axis,
    ChartPoint,
    Series,
    duration,
    line_chart,
    point_chart,
    score_axis,
    size_axis,
    time_axis,
)


def point(*figures: int) -> ChartPoint:
    return ChartPoint(*map(float, figures))


LINES = (
    Series("ours", 0, (point(1, 50, 40, 60), point(100, 80, 70, 90))),
    Series("<copy>", 1, (point(1, 20, 10, 30), point(100, 25, 15, 35))),
)


def test_a_logarithmic_axis_has_equal_factors_at_equal_distances():
    axis = Axis(1.0, 100.0, (1.0, 10.0, 100.0), logarithmic=True)
    assert [axis.share(value) for value in axis.ticks] == [0, 0.5, 1]


def test_scores_are_framed_by_round_numbers():
    wide = score_axis([point(1, 50, 33, 91)])
    assert (wide.low, wide.high, wide.ticks) == (20, 100, (20, 40, 60, 80, 100))
    narrow = score_axis([point(1, 50, 50, 50)])
    assert (narrow.low, narrow.high) == (50, 60)


def test_times_lie_between_powers_of_ten():
    axis = time_axis([0.002, 0.3])
    assert [axis.write(tick) for tick in axis.ticks] == ["1 ms", "10 ms", "100 ms", "1 s"]
    assert time_axis([0.01]).ticks == pytest.approx((0.01, 0.1))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0234, "23 ms"), (4.26, "4.3 s"), (0.0001, "100 µs"), (0.0, "0 µs"), (120.0, "120 s")]
)
def test_duration(seconds: float, text: str):
    assert duration(seconds) == text


def test_every_series_is_drawn_and_named():
    for chart in (
        line_chart(LINES, size_axis([1, 100]), score_axis([point(1, 20, 0, 100)]), "by size"),
        point_chart(LINES, time_axis([0.5, 150.0]), score_axis([point(1, 20, 0, 100)]), "by time"),
    ):
        svg = ElementTree.fromstring(chart)
        assert svg.get("role") == "img"
        assert svg.get("aria-label", "").startswith("by ")
        titles = [title.text for title in svg.iter("title")]
        assert titles[0] == "ours: 50.0 (40.0, 60.0)"
        assert len(titles) == 4
        assert "<copy>: 25.0 (15.0, 35.0)" in titles


def test_higher_scores_are_drawn_higher():
    chart = line_chart(LINES[:1], size_axis([1, 100]), score_axis([point(1, 20, 0, 100)]), "by size")
    (line,) = re.findall(r'class="line" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', chart)
    x0, y0, x1, y1 = map(float, line)
    assert x0 < x1
    assert y0 > y1


def test_names_do_not_hide_each_other():
    same = [Series(name, 0, (point(1, 50, 40, 60),)) for name in ("one", "two", "three")]
    chart = point_chart(same, time_axis([1.0]), score_axis(same[0].points), "by time")
    heights = [float(y) for y in re.findall(r'class="name" x="[\d.]+" y="([\d.]+)"', chart)]
    assert heights[1] - heights[0] >= 12
    assert heights[2] - heights[1] >= 12
