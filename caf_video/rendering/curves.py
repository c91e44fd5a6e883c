"""Curves, handsome and plain: what training logged by step, localisation accuracy by threshold."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from caf_video.errors import InputError

LINE_COLOURS = ("#405cc4", "#c2571a", "#1f8a5b", "#8a4fa3", "#b8a01e", "#3aa0b8", "#8b8f98")
_REFERENCE_DASHES = ((4, 3), (1, 2), (6, 2, 1, 2))
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": "#1c1e22",
    "axes.labelcolor": "#686e78",
    "axes.edgecolor": "#c9ced6",
    "xtick.color": "#686e78",
    "ytick.color": "#686e78",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#eceef2",
    "axes.axisbelow": True,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.1,
    "text.parse_math": False,  # a name with dollars in it is a name
}
_MANY = 60  # points; from here on single steps hide the course, and a running mean is drawn too
_WINDOWS = 20  # the running mean spans this fraction of the run


def training_curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    references: Mapping[str, Mapping[str, float]] | None = None,
) -> Image.Image:
    """Draw logged values against step, one panel for each quantity.

    A name is 'group/quantity' ('train/loss', 'val/recall@1') or a bare quantity; series of one
    quantity share a panel, in the order they come. Panels of a recall run from 0 to 1. Values that
    are not finite leave a gap, and the panel says how many.

    Args:
        series: For each name the steps and the values, both of one length.
        references: For each quantity, named level lines: {'recall@1': {'chance': 0.1}}.

    Raises:
        InputError: If nothing was logged, or steps and values differ in length.
    """
    return figure_picture(training_figure(series, references or {}))


@rc_context(STYLE)
def training_figure(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    references: Mapping[str, Mapping[str, float]],
) -> Figure:
    """What `training_curves` makes a picture of."""
    panels: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    for name, (steps, values) in series.items():
        group, _, quantity = name.rpartition("/")
        step_array, value_array = np.asarray(steps, np.float64), np.asarray(values, np.float64)
        if step_array.shape != value_array.shape or step_array.ndim != 1:
            raise InputError(f"{name}: {step_array.size} steps but {value_array.size} values")
        if step_array.size:
            panels.setdefault(quantity, []).append((group, step_array, value_array))
    if not panels:
        raise InputError("no training curves to draw: nothing was logged")
    figure, axes = _panels(len(panels))
    for axis, (quantity, lines) in zip(axes, panels.items(), strict=True):
        _draw_panel(axis, quantity, lines, references.get(quantity, {}))
    return figure


def threshold_curves(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]], *, subtitle: str = ""
) -> Image.Image:
    """Draw accuracy against threshold, a panel for each protocol and a line for each method.

    The best of a line is marked. It was chosen on the boxes that it is measured by: an oracle.

    Args:
        panels: For each title, by method: thresholds and accuracies, both in [0, 1].
        subtitle: Under every title.

    Raises:
        InputError: If there is nothing to draw, or thresholds and accuracies differ in length.
    """
    return figure_picture(threshold_figure(panels, subtitle))


@rc_context(STYLE)
def threshold_figure(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]], subtitle: str = ""
) -> Figure:
    """What `threshold_curves` makes a picture of."""
    if not panels or not any(panels.values()):
        raise InputError("no threshold curves to draw")
    figure, axes = _panels(len(panels), width=6.6)
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for number, (name, (thresholds, accuracies)) in enumerate(lines.items()):
            x, y = np.asarray(thresholds, np.float64), np.asarray(accuracies, np.float64)
            if x.shape != y.shape or x.ndim != 1 or not x.size:
                raise InputError(f"{name}: {x.size} thresholds but {y.size} accuracies")
            best = int(y.argmax())
            colour = LINE_COLOURS[number % len(LINE_COLOURS)]
            dashes = "-" if number < len(LINE_COLOURS) else "--"
            axis.plot(x, y, dashes, color=colour, lw=1.6, label=f"{name}, best {y[best]:.3f}")
            axis.plot(x[best], y[best], "o", color=colour, ms=4)
        axis.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=18)
        axis.text(0, 1.02, subtitle, transform=axis.transAxes, fontsize=8, color="#686e78")
        axis.set_xlabel("threshold, share of the maximum")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1.02)
        axis.tick_params(length=0)
        legend = axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=7)  # hides none
        legend.get_frame().set_edgecolor("none")
    return figure


def _panels(count: int, *, width: float = 4.8) -> tuple[Figure, Sequence[Axes]]:
    """A figure and its axes side by side."""
    figure = Figure(figsize=(width * count, 3.1), dpi=160, layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


@rc_context(STYLE)
def figure_picture(figure: Figure) -> Image.Image:
    """A figure of this style as a picture."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return Image.open(buffer).convert("RGB")


def _draw_panel(
    axis: Axes,
    quantity: str,
    lines: Sequence[tuple[str, np.ndarray, np.ndarray]],
    references: Mapping[str, float],
) -> None:
    missing = 0
    for number, (group, steps, values) in enumerate(lines):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        label = group or quantity
        missing += int((~np.isfinite(values)).sum())
        if len(values) < _MANY:
            marker = "o" if len(values) < 25 else None
            axis.plot(steps, values, color=colour, lw=1.8, marker=marker, ms=3.5, label=label)
            continue
        window = max(2, len(values) // _WINDOWS)
        axis.plot(steps, values, color=colour, lw=0.7, alpha=0.3, label=f"{label}, each step")
        axis.plot(
            steps[window - 1 :],
            _running_mean(values, window),
            color=colour,
            lw=1.8,
            label=f"{label}, mean of last {window}",
        )
    for number, (name, level) in enumerate(references.items()):
        dashes = _REFERENCE_DASHES[number % len(_REFERENCE_DASHES)]
        axis.axhline(
            level, color="#686e78", lw=1.1, dashes=dashes, label=f"{name} {level:.2f}", zorder=1
        )
    title = f"{quantity}  ({missing} not finite, left out)" if missing else quantity
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axis.set_xlabel("step")
    if quantity.startswith("recall"):
        axis.set_ylim(0, 1.02)
    else:
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    axis.tick_params(length=0)
    axis.legend(fontsize=8, labelcolor="#1c1e22", framealpha=0.9, edgecolor="none")


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each value and the window − 1 before it; where one of them is missing, a gap."""
    return np.convolve(values, np.ones(window) / window, mode="valid")
