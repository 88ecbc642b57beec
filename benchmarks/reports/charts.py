"""Small charts as inline SVG, which takes its colours from the page: lines over a logarithmic axis, and points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 30, 20, 10, 40
SPREAD = 5.0
"""Distance in pixels between the points of neighbouring series at the same x, so that intervals stay apart."""
MARKERS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",  # disc
    "M-3.6 -3.6h7.2v7.2h-7.2z",  # square
    "M0 -4.8l4.6 8.2h-9.2z",  # triangle
    "M0 -5l5 5l-5 5l-5 -5z",  # diamond
    "M0 4.8l4.6 -8.2h-9.2z",  # triangle upside down
    "M-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",  # cross
)


@dataclass(frozen=True)
class ChartPoint:
    """Score in per cent with its interval, at a value of the horizontal axis."""

    x: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """Points of one predictor, with its name and style."""

    name: str
    style: int
    """Index of the series' colour and marker."""
    points: tuple[ChartPoint, ...]


@dataclass(frozen=True)
class Axis:
    """Range of an axis, with the values to write at it."""

    low: float
    high: float
    ticks: tuple[float, ...]
    label: str = ""
    logarithmic: bool = False
    write: Callable[[float], str] = "{:g}".format

    def share(self, value: float) -> float:
        """Position of a value between the ends, 0 at the low and 1 at the high one; on a log scale if logarithmic."""
        low, high, value = (log10(each) if self.logarithmic else each for each in (self.low, self.high, value))
        return (value - low) / (high - low)


def size_axis(sizes: Sequence[int]) -> Axis:
    """Logarithmic axis of ascending support sizes, each of which is written."""
    ticks = tuple(map(float, sizes))
    return Axis(ticks[0] / 1.3, ticks[-1] * 1.3, ticks, "labelled examples per query", logarithmic=True)


def time_axis(seconds: Sequence[float]) -> Axis:
    """Logarithmic axis of times in seconds, from power of ten to power of ten."""
    first, last = floor(log10(min(seconds))), ceil(log10(max(seconds)))
    last += first == last
    ticks = tuple(10.0**power for power in range(first, last + 1))
    return Axis(ticks[0] / 1.4, 1.4 * ticks[-1], ticks, "time per query", logarithmic=True, write=duration)


def score_axis(points: Sequence[ChartPoint]) -> Axis:
    """Axis of scores in per cent around all intervals, in steps of ten or twenty."""
    lowest, highest = min(point.low for point in points), max(point.high for point in points)
    step = 10 if highest - lowest <= 50 else 20
    low = step * floor(lowest / step)
    high = max(step * ceil(highest / step), low + step)
    return Axis(float(low), float(high), tuple(map(float, range(low, high + 1, step))))


def duration(seconds: float) -> str:
    """Write a time with two significant digits at most: `20 ms`."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale or unit == "µs":
            return f"{float(f'{seconds / scale:.2g}'):g} {unit}"
    raise AssertionError


def line_chart(series: Sequence[Series], x: Axis, y: Axis, title: str) -> Markup:
    """Draw a line with intervals for each series, over values of x that all series share."""
    drawn = []
    for number, each in enumerate(series):
        shift = SPREAD * (number - (len(series) - 1) / 2)
        places = [(_x(x, point.x) + shift, point) for point in each.points]
        path = "M" + "L".join(f"{place:.1f} {_y(y, point.mean):.1f}" for place, point in places)
        line = Markup('<path class="line" d="{}"/>').format(path)
        drawn.append(_group(each, line + Markup("").join(_marker(each, place, point, y) for place, point in places)))
    return _figure(drawn, x, y, title)


def point_chart(series: Sequence[Series], x: Axis, y: Axis, title: str) -> Markup:
    """Draw named points with intervals."""
    drawn = []
    taken: list[tuple[float, float]] = []
    for each in series:
        for point in each.points:
            place = _x(x, point.x)
            text = _label(each.name, place, _y(y, point.mean), taken)
            drawn.append(_group(each, _marker(each, place, point, y) + text))
    return _figure(drawn, x, y, title)


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - TOP - BOTTOM)


def _group(series: Series, content: Markup) -> Markup:
    return Markup('<g class="p{}">{}</g>').format(series.style, content)


def _marker(series: Series, place: float, point: ChartPoint, y: Axis) -> Markup:
    shape = MARKERS[series.style % len(MARKERS)]
    note = f"{series.name}: {point.mean:.1f} ({point.low:.1f}, {point.high:.1f})"
    return Markup(
        '<g><title>{}</title><path class="whisker" d="M{:.1f} {:.1f}V{:.1f}"/>'
        '<path class="marker" transform="translate({:.1f} {:.1f})" d="{}"/></g>'
    ).format(note, place, _y(y, point.low), _y(y, point.high), place, _y(y, point.mean), shape)


def _label(name: str, place: float, height: float, taken: list[tuple[float, float]]) -> Markup:
    """Write a name beside its point, moved down until it hides no other."""
    right = place < (LEFT + WIDTH) / 2
    while any(abs(height - other) < 12 and abs(place - at) < WIDTH / 2 for at, other in taken):
        height += 4
    taken.append((place, height))
    return Markup('<text class="name" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        place + (9 if right else -9), height + 4, "start" if right else "end", name
    )


def _figure(drawn: Sequence[Markup], x: Axis, y: Axis, title: str) -> Markup:
    """Put a frame with both axes around what is drawn."""
    across = Markup("").join(
        Markup('<path class="grid" d="M{} {y:.1f}H{}"/><text x="{}" y="{t:.1f}" text-anchor="end">{}</text>').format(
            LEFT, WIDTH - RIGHT, LEFT - 5, y.write(tick), y=_y(y, tick), t=_y(y, tick) + 4
        )
        for tick in y.ticks
    )
    below = Markup("").join(
        Markup('<path class="tick" d="M{x:.1f} {}v4"/><text x="{x:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            HEIGHT - BOTTOM, HEIGHT - BOTTOM + 16, x.write(tick), x=_x(x, tick)
        )
        for tick in x.ticks
    )
    caption = Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
        (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x.label
    )
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, title, across + below + caption + Markup("").join(drawn)
    )
