"""Charts of a study: bars with spread, histograms, curves on a logarithmic scale."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering.curves import LINE_COLOURS, STYLE, figure_picture

Spread = tuple[float, float, float]  # a value, the low and the high end around it


def bar_chart(
    groups: Mapping[str, Mapping[str, Spread]], *, title: str, label: str, logarithmic: bool = False
) -> Image.Image:
    """Groups of bars, a colour for each name, with the spread of each as a whisker.

    Args:
        groups: For each group, by name a value and its low and high end.
        title: Above the chart.
        label: Of the values, with their unit.
        logarithmic: The scale of the values.

    Raises:
        InputError: If there is nothing to draw.
    """
    return figure_picture(bar_figure(groups, title, label, logarithmic))


@rc_context(STYLE)
def bar_figure(
    groups: Mapping[str, Mapping[str, Spread]], title: str, label: str, logarithmic: bool
) -> Figure:
    """What `bar_chart` makes a picture of."""
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    if not names:
        raise InputError("no bars to draw")
    width = 0.8 / len(names)
    size = (max(4.8, 0.28 * len(groups) * len(names) + 2.6), 3.4)
    figure = Figure(figsize=size, dpi=160, layout="constrained")
    axis = figure.subplots()
    for number, name in enumerate(names):
        there = [(at, bars[name]) for at, bars in enumerate(groups.values()) if name in bars]
        places = [at + (number - (len(names) - 1) / 2) * width for at, _ in there]
        values, low, high = np.array([spread for _, spread in there]).T
        axis.bar(
            places, values, 0.9 * width, label=name,
            color=LINE_COLOURS[number % len(LINE_COLOURS)],
            alpha=1.0 if number < len(LINE_COLOURS) else 0.5,
        )  # fmt: skip
        reach = [(values - low).clip(min=0), (high - values).clip(min=0)]
        axis.errorbar(
            places, values, reach, fmt="none", ecolor="#1c1e22", elinewidth=0.9, capsize=2
        )
    axis.set_xticks(range(len(groups)), list(groups))
    axis.tick_params(length=0)
    axis.set_ylabel(label)
    if logarithmic:
        _logarithmic(axis)
    else:
        axis.axhline(0, color="#c9ced6", lw=0.8)
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    legend = axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    legend.get_frame().set_edgecolor("none")
    return figure


def histogram(panels: Mapping[str, ArrayLike], *, label: str, bins: Sequence[float]) -> Image.Image:
    """Shares of values in bins, a panel for each title, with the median marked.

    Args:
        panels: By title the values.
        label: Of the values, with their unit.
        bins: Their edges.

    Raises:
        InputError: If there is nothing to draw.
    """
    return figure_picture(histogram_figure(panels, label, bins))


@rc_context(STYLE)
def histogram_figure(panels: Mapping[str, ArrayLike], label: str, bins: Sequence[float]) -> Figure:
    """What `histogram` makes a picture of."""
    values = {title: np.asarray(one, np.float64) for title, one in panels.items()}
    if not values or not all(one.size for one in values.values()):
        raise InputError("no values to draw a histogram of")
    figure = Figure(figsize=(4.8 * len(values), 3.1), dpi=160, layout="constrained")
    axes = figure.subplots(1, len(values), squeeze=False, sharey=True)[0]
    for number, (axis, (title, one)) in enumerate(zip(axes, values.items(), strict=True)):
        axis.hist(
            one, bins=list(bins), weights=np.full(one.shape, 1 / one.size),
            color=LINE_COLOURS[number % len(LINE_COLOURS)], rwidth=0.92,
        )  # fmt: skip
        middle = float(np.median(one))
        axis.axvline(middle, color="#1c1e22", lw=1.1, ls=(0, (4, 3)), label=f"median {middle:.2f}")
        axis.set_title(f"{title}, n = {one.size}", loc="left", fontsize=11, fontweight="bold")
        axis.set_xlabel(label)
        axis.tick_params(length=0)
        axis.legend(fontsize=8, edgecolor="none")
    axes[0].set_ylabel("share")
    return figure


def loss_curves(lines: Mapping[str, ArrayLike], *, title: str, least: str) -> Image.Image:
    """Losses by step, a line each, by how much they are above the least there is.

    Args:
        lines: By name the loss of every step, over the least.
        title: Above the chart.
        least: What the least is.

    Raises:
        InputError: If there is nothing to draw.
    """
    return figure_picture(loss_figure(lines, title, least))


@rc_context(STYLE)
def loss_figure(lines: Mapping[str, ArrayLike], title: str, least: str) -> Figure:
    """What `loss_curves` makes a picture of."""
    if not lines:
        raise InputError("no losses to draw")
    figure = Figure(figsize=(5.6, 3.1), dpi=160, layout="constrained")
    axis = figure.subplots()
    for number, (name, losses) in enumerate(lines.items()):
        above = np.asarray(losses, np.float64) - 1
        axis.plot(above, color=LINE_COLOURS[number % len(LINE_COLOURS)], lw=1.4, label=name)
    _logarithmic(axis)
    axis.set_xlabel("step")
    axis.set_ylabel(f"above {least}, relative")
    axis.tick_params(length=0)
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axis.legend(fontsize=8, edgecolor="none")
    return figure


def _logarithmic(axis: Axes) -> None:
    """A logarithmic scale whose labels are numbers, not mathematics that STYLE would not set."""
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(lambda value, _: "")
