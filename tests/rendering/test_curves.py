import matplotlib
import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.rendering import training_curves

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
