"""Figures with intervals: every row of every panel has its dot and its bar, at its own height."""

import pytest

from caf_video.errors import InputError
from caf_video.rendering import IntervalPanel, interval_panels
from caf_video.rendering.intervals import interval_figure

PANELS = [
    IntervalPanel("pointing", {"ours": (0.9, 0.8, 0.95), "theirs": (0.5, 0.4, 0.6)}),
    IntervalPanel("when", {"theirs": (0.3, 0.1, 0.4), "third": (0.7, 0.6, 0.8)}, "lower is better"),
]


def test_a_row_keeps_its_height_and_colour_through_the_panels() -> None:
    figure = interval_figure(PANELS)
    drawn = []
    for axis in figure.axes:
        bars, dots = axis.lines[::2], axis.lines[1::2]
        drawn.append(
            {
                int(dot.get_ydata()[0]): (
                    *bar.get_xdata(), dot.get_xdata()[0], dot.get_color(), bar.get_color()
                )
                for bar, dot in zip(bars, dots, strict=True)
            }
        )  # fmt: skip
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["third", "theirs", "ours"]  # upwards
    assert drawn[0][2][:3] == (0.8, 0.95, 0.9) and drawn[1][0][:3] == (0.6, 0.8, 0.7)
    assert drawn[0][1][:3] == (0.4, 0.6, 0.5) and drawn[1][1][:3] == (0.1, 0.4, 0.3)
    assert drawn[0][1][3:] == drawn[1][1][3:] != drawn[0][2][3:]
    assert set(drawn[0]) == {1, 2} and set(drawn[1]) == {0, 1}


def test_the_picture_is_one_and_nothing_to_draw_is_refused() -> None:
    picture = interval_panels(PANELS)
    assert picture.width > 800 and len(picture.getcolors(1 << 20) or ()) > 3
    with pytest.raises(InputError, match="no figures"):
        interval_panels([IntervalPanel("empty", {})])
