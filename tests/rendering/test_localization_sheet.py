"""Fig. 7's sheet: a column for each method, boxes where they are, words that say what was found."""

import numpy as np
import pytest
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering import Answer, SheetImage, localization_sheet, threshold_curves
from caf_video.rendering.localization_sheet import GAP, MARGIN, TITLE_HEIGHT
from caf_video.rendering.style import PREDICTION, TRUTH


def line(*, boxes=((20, 20, 60, 60),), answers: int = 2, heat: float = 0.0) -> SheetImage:
    image = np.full((100, 200, 3), 120, np.uint8)
    made = Answer(np.full((100, 200), heat, np.float32), np.array([(80, 30, 180, 90)]), 0.62, True)
    return SheetImage("photograph", "dog", image, boxes, [made] * answers)


def pixels_of(sheet: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    return np.argwhere((np.asarray(sheet) == colour).all(axis=2))


def test_boxes_lie_where_they_are_in_every_column() -> None:
    sheet = localization_sheet([line()], ["l2-caf", "cam"], width=100)  # half size
    legend = MARGIN + TITLE_HEIGHT + 50 + 8
    for colour, columns, box in ((TRUTH, (0, 1, 2), (10, 10, 30, 30)),
                                 (PREDICTION, (1, 2), (40, 15, 90, 45))):  # fmt: skip
        found = pixels_of(sheet, colour)
        found = found[found[:, 0] < legend]
        expected = [
            (MARGIN + column * (100 + GAP) + box[0], MARGIN + column * (100 + GAP) + box[2])
            for column in columns
        ]
        for left, right in expected:
            inside = found[(found[:, 1] >= left - 4) & (found[:, 1] < right + 4)]
            assert abs(inside[:, 1].min() - left) <= 3 and abs(inside[:, 1].max() + 1 - right) <= 3
            top = MARGIN + TITLE_HEIGHT
            assert abs(inside[:, 0].min() - top - box[1]) <= 3
            assert abs(inside[:, 0].max() + 1 - top - box[3]) <= 3


def test_no_heat_and_negative_heat_leave_the_photograph() -> None:
    for heat in (0.0, -3.0):
        sheet = localization_sheet([line(boxes=(), answers=1, heat=heat)], ["cam"], width=200)
        left, top = MARGIN + 200 + GAP, MARGIN + TITLE_HEIGHT
        region = np.asarray(sheet)[top : top + 20, left : left + 60]
        assert (region == 120).all()


def test_a_sheet_grows_by_its_lines_and_methods() -> None:
    one = localization_sheet([line(answers=1)], ["a"], width=100)
    two = localization_sheet([line(answers=2)] * 2, ["a", "b"], width=100)
    assert two.width - one.width == 100 + GAP
    assert two.height > one.height + 50


def test_wrong_sheets_are_named() -> None:
    with pytest.raises(InputError, match="no images for a sheet"):
        localization_sheet([], ["a"])
    with pytest.raises(InputError, match="photograph: 3 methods but 2 answers"):
        localization_sheet([line()], ["a", "b", "c"])


def test_threshold_curves_have_a_panel_for_each_protocol() -> None:
    curve = (np.linspace(0, 1, 20), np.linspace(0.2, 0.8, 20))
    one = threshold_curves({"simple": {"cam": curve}})
    two = threshold_curves({"simple": {"cam": curve}, "maxboxacc": {"cam": curve, "l2": curve}})
    assert two.width == 2 * one.width and two.height == one.height
    flat = threshold_curves({"simple": {"cam": (curve[0], np.zeros(20))}})
    assert np.asarray(flat).tobytes() != np.asarray(one).tobytes()
    with pytest.raises(InputError, match="no threshold curves"):
        threshold_curves({"simple": {}})
    with pytest.raises(InputError, match="cam: 20 thresholds but 3 accuracies"):
        threshold_curves({"simple": {"cam": (curve[0], [0.1, 0.2, 0.3])}})
