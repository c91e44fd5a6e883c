import re

import matplotlib
import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.rendering import training_curves
from caf_video.rendering.curves import threshold_figure, training_figure

STEPS = np.arange(10)


def has_colour(picture, colour):
    distance = np.abs(np.asarray(picture).astype(int) - colour).max(axis=2)
    return (distance < 12).any()


def test_there_is_one_panel_for_each_quantity():
    one = training_curves({"train/loss": (STEPS, STEPS), "val/loss": (STEPS, STEPS)})
    two = training_curves({"train/loss": (STEPS, STEPS), "val/recall@1": (STEPS, STEPS / 10)})
    assert two.width == 2 * one.width and two.height == one.height


def test_each_series_has_its_colour():
    lone = training_curves({"train/loss": (STEPS, STEPS)})
    both = training_curves({"train/loss": (STEPS, STEPS), "val/loss": (STEPS, STEPS[::-1])})
    blue, orange = (64, 92, 196), (194, 87, 26)
    assert has_colour(lone, blue) and not has_colour(lone, orange)
    assert has_colour(both, blue) and has_colour(both, orange)


def test_a_long_noisy_series_one_point_and_names_full_of_symbols_can_be_drawn():
    training_curves(
        {"a/$\\frac": (np.arange(500), np.random.default_rng(0).random(500)), "b/x": ([3], [0.5])},
        references={"x": {"$chance": 0.1}},
    )


def test_values_that_are_not_finite_leave_a_gap():
    values = np.array([1.0, np.nan, 2.0, np.inf, 3.0, 3.0, 2.0, 1.0, 2.0, 1.0])
    assert has_colour(training_curves({"loss": (STEPS, values)}), (64, 92, 196))
    training_curves({"loss": (STEPS, np.full(10, np.nan))})


def test_global_drawing_settings_are_left_as_they_were():
    before = dict(matplotlib.rcParams)
    training_curves({"loss": (STEPS, STEPS)})
    assert dict(matplotlib.rcParams) == before


def test_nothing_logged_is_an_error():
    for series in ({}, {"loss": ([], [])}):
        with pytest.raises(InputError, match="nothing was logged"):
            training_curves(series)


def test_steps_and_values_of_different_length_are_an_error():
    with pytest.raises(InputError, match="val/loss: 10 steps but 9 values"):
        training_curves({"val/loss": (STEPS, STEPS[:9])})


def lines_of(axis):
    """By label, the points of each line."""
    return {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in axis.get_lines()}


def words_of(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_steps_run_to_the_right_and_values_upwards_in_the_panel_of_their_quantity():
    values = STEPS**2 / 100
    figure = training_figure(
        {"train/loss": (STEPS, values), "val/loss": (STEPS[::3], values[::3]),
         "val/recall@1": (STEPS + 5, 1 - values)}, {}
    )  # fmt: skip
    loss, recall = figure.axes
    assert loss.get_title("left") == "loss" and recall.get_title("left") == "recall@1"
    assert loss.get_xlabel() == "step"
    found = lines_of(loss)
    assert list(found) == words_of(loss) == ["train", "val"]
    for name, every in (("train", 1), ("val", 3)):
        assert found[name][0].tolist() == STEPS[::every].tolist()
        assert found[name][1].tolist() == values[::every].tolist()
    assert lines_of(recall)["val"][1].tolist() == (1 - values).tolist()
    assert recall.get_ylim() == (0, 1.02)


def test_chance_is_a_level_line_at_its_height_in_its_own_panel():
    figure = training_figure(
        {"val/recall@1": (STEPS, STEPS / 10), "val/loss": (STEPS, STEPS)},
        {"recall@1": {"chance": 0.125, "frozen": 0.5}},
    )
    recall, loss = figure.axes
    found = lines_of(recall)
    assert words_of(recall) == ["val", "chance 0.12", "frozen 0.50"]
    assert set(found["chance 0.12"][1]) == {0.125} and set(found["frozen 0.50"][1]) == {0.5}
    assert words_of(loss) == ["val"]


def test_the_running_mean_stands_at_the_last_step_of_its_window():
    steps, values = np.arange(100), np.random.default_rng(1).random(100)
    (axis,) = training_figure({"train/loss": (steps, values)}, {}).axes
    each, mean = lines_of(axis).items()
    assert each[0] == "train, each step" and each[1][1].tolist() == values.tolist()
    window = int(re.fullmatch(r"train, mean of last (\d+)", mean[0]).group(1))
    for step, value in zip(mean[1][0].astype(int), mean[1][1], strict=True):
        assert value == pytest.approx(sum(values[step - window + 1 : step + 1]) / window)
    assert len(mean[1][0]) == 101 - window


def test_a_panel_counts_what_is_not_finite():
    values = np.array([1.0, np.nan, 2.0, np.inf])
    (axis,) = training_figure({"loss": (np.arange(4), values)}, {}).axes
    assert axis.get_title("left") == "loss  (2 not finite, left out)"


def test_accuracy_stands_over_its_threshold_and_under_its_methods_name():
    thresholds = np.array([0.1, 0.3, 0.6, 0.9])
    curves = {"l2-caf": np.array([0.2, 0.7, 0.5, 0.1]), "cam": np.array([0.3, 0.4, 0.6, 0.55])}
    panels = {
        "simple": {name: (thresholds, curve) for name, curve in curves.items()},
        "maxboxacc": {"l2-caf": (thresholds / 2, 1 - curves["cam"])},
    }
    simple, oracle = threshold_figure(panels, "said below").axes
    assert (simple.get_title("left"), oracle.get_title("left")) == ("simple", "maxboxacc")
    assert simple.get_xlabel() == "threshold, share of the maximum"
    assert words_of(simple) == ["l2-caf, best 0.700", "cam, best 0.600"]
    assert words_of(oracle) == ["l2-caf, best 0.700"]
    drawn = simple.get_lines()
    for (name, curve), line, best in zip(curves.items(), drawn[::2], drawn[1::2], strict=True):
        assert line.get_label().startswith(f"{name}, ")
        assert line.get_xdata().tolist() == thresholds.tolist()
        assert line.get_ydata().tolist() == curve.tolist()
        at = curve.tolist().index(max(curve))
        assert np.ravel(best.get_xdata()).tolist() == [thresholds[at]]
        assert np.ravel(best.get_ydata()).tolist() == [max(curve)]
        assert best.get_color() == line.get_color()
    assert oracle.get_lines()[0].get_xdata().tolist() == (thresholds / 2).tolist()
    assert [axis.get_xlim() + axis.get_ylim() for axis in (simple, oracle)] == [(0, 1, 0, 1.02)] * 2
