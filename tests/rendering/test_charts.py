"""Charts: what is drawn is what was given."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.rendering.charts import bar_figure, histogram_figure, loss_curves, loss_figure


def test_bars_have_the_heights_and_reaches_that_were_given() -> None:
    groups = {"one": {"a": (2.0, 1.0, 4.0), "b": (3.0, 3.0, 3.0)}, "two": {"b": (5.0, 4.5, 6.0)}}
    axis = bar_figure(groups, "title", "ms", True).axes[0]
    assert [bar.get_height() for bars in axis.containers[::2] for bar in bars] == [2.0, 3.0, 5.0]
    assert axis.get_yscale() == "log" and axis.get_ylabel() == "ms"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b"]
    reach = axis.containers[1].lines[2][0].get_segments()[0]
    assert sorted(reach[:, 1]) == [1.0, 4.0]
    with pytest.raises(InputError, match="no bars to draw"):
        bar_figure({}, "title", "ms", False)


def test_a_histogram_has_the_shares_of_its_bins_and_the_median() -> None:
    axis = histogram_figure({"sizes": [0.1, 0.2, 0.6, 0.9]}, "share", [0, 0.5, 1]).axes[0]
    assert [bar.get_height() for bar in axis.patches[:2]] == [0.5, 0.5]
    assert axis.get_legend().get_texts()[0].get_text() == "median 0.40"
    assert axis.get_title(loc="left") == "sizes, n = 4"
    with pytest.raises(InputError, match="no values to draw a histogram of"):
        histogram_figure({"sizes": []}, "share", [0, 1])


def test_losses_are_drawn_by_how_much_they_are_above_the_least() -> None:
    figure = loss_figure({"start 0": [3.0, 1.5, 1.25]}, "title", "the exact loss")
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [2.0, 0.5, 0.25])
    drawn = loss_curves({"start 0": [3.0, 1.5]}, title="title", least="the exact loss")
    assert np.asarray(drawn).std() > 0
    with pytest.raises(InputError, match="no losses to draw"):
        loss_figure({}, "title", "least")
