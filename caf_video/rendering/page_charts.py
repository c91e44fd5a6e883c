"""Lines for a page: where they go in a drawing, and the ticks beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 640, 220  # of the drawing, in its own units
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 28  # around the lines

_MOST_POINTS = 1500  # of one line: more are not seen


@dataclass(frozen=True)
class Line:
    """A line of a chart: its name and the `points` of an SVG polyline."""

    name: str
    points: str


@dataclass(frozen=True)
class Tick:
    """A tick: where it is in the drawing, and what it says."""

    place: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Lines over one axis, to be drawn in WIDTH by HEIGHT.

    `levels` are flat lines, (name, y), `spans` stretches of x that are marked, (first, last).
    """

    title: str
    unit: str
    lines: list[Line]
    levels: list[tuple[str, float]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    spans: list[tuple[float, float]]

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM


def line_chart(
    title: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    unit: str = "",
    levels: Mapping[str, float] | None = None,
    spans: Sequence[tuple[float, float]] = (),
) -> Chart:
    """Lay out lines, (x, y) by name; what is not finite is a gap at its end.

    Args:
        title: What y is.
        series: Each with as many x as y; x ascending.
        unit: What x is.
        levels: Values of y to compare with, by name.
        spans: Stretches of x to mark, (first, last).
    """
    levels = levels or {}
    drawn = {}
    for name, (x, y) in series.items():
        places, values = np.asarray(x, float), np.asarray(y, float)
        keep = np.isfinite(values)
        step = max(1, math.ceil(keep.sum() / _MOST_POINTS))
        drawn[name] = places[keep][::step], values[keep][::step]
    all_x = np.concatenate([x for x, _ in drawn.values()] or [np.zeros(0)])
    all_y = np.concatenate([*(y for _, y in drawn.values()), np.array(list(levels.values()))])
    x_ticks, (x_low, x_high) = _ticks(all_x, whole=True)
    y_ticks, (y_low, y_high) = _ticks(all_y)

    def across(x: float) -> float:
        share = (x - x_low) / (x_high - x_low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def up(y: float) -> float:
        share = (y - y_low) / (y_high - y_low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    return Chart(
        title,
        unit,
        [
            Line(name, " ".join(f"{across(x)},{up(y)}" for x, y in zip(xs, ys, strict=True)))
            for name, (xs, ys) in drawn.items()
        ],
        [(name, up(value)) for name, value in levels.items()],
        [Tick(across(value), f"{value:g}") for value in x_ticks],
        [Tick(up(value), f"{value:g}") for value in y_ticks],
        [(across(max(first, x_low)), across(min(last, x_high))) for first, last in spans],
    )


def _ticks(values: np.ndarray, *, whole: bool = False) -> tuple[list[float], tuple[float, float]]:
    """Round values that cover what is there, at most 6, and the ends of the axis."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * by for by in (1, 2, 2.5, 5, 10) if power * by >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    ticks = [round(number * step, 10) for number in range(first, last + 1)]
    if not whole:
        return ticks, (ticks[0], ticks[-1])
    return [tick for tick in ticks if low <= tick <= high], (low, high)
