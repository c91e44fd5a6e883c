"""Figures with their intervals: a panel for each quantity, a dot and a bar for each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering.curves import LINE_COLOURS, STYLE, figure_picture


@dataclass(frozen=True)
class IntervalPanel:
    """One quantity.

    Attributes:
        title: What it is.
        rows: By name: value, low and high.
        note: Under the title; "" for nothing.
    """

    title: str
    rows: Mapping[str, tuple[float, float, float]]
    note: str = ""


def interval_panels(panels: Sequence[IntervalPanel]) -> Image.Image:
    """Draw panels side by side; rows keep one height and colour through all panels that have them.

    Raises:
        InputError: There is nothing to draw.
    """
    return figure_picture(interval_figure(panels))


@rc_context(STYLE)
def interval_figure(panels: Sequence[IntervalPanel]) -> Figure:
    """What `interval_panels` makes a picture of."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.rows))
    if not names:
        raise InputError("no figures to draw")
    size = (2.0 + 2.7 * len(panels), 1.1 + 0.24 * len(names))
    figure = Figure(figsize=size, dpi=160, layout="constrained")
    for axis, panel in zip(
        figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels, strict=True
    ):
        for height, name in enumerate(reversed(names)):
            if name in panel.rows:
                value, low, high = panel.rows[name]
                colour = LINE_COLOURS[names.index(name) % len(LINE_COLOURS)]
                axis.plot([low, high], [height, height], color=colour, lw=2.2, alpha=0.55)
                axis.plot(value, height, "o", color=colour, ms=4.5)
        axis.set_yticks(range(len(names)), list(reversed(names)))
        axis.set_ylim(-0.7, len(names) - 0.3)
        axis.set_title(panel.title, loc="left", fontsize=10, fontweight="bold", pad=14)
        axis.text(0, 1.01, panel.note, transform=axis.transAxes, fontsize=7, color="#686e78")
        axis.grid(axis="x", color="#eceef2")
        axis.tick_params(length=0)
    return figure
