"""Fig. 7's sheet: a column for each method, boxes where they are, words that say what was found."""

import numpy as np
import pytest
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering import Answer, SheetImage, localization_sheet, threshold_curves
from caf_video.rendering.localization_sheet import GAP, MARGIN, TITLE_HEIGHT
from caf_video.rendering.style import MUTED, PREDICTION, RIGHT, TRUTH, WRONG


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


def test_every_column_is_called_by_its_method_and_says_what_it_found(places_of) -> None:
    image = np.full((60, 120, 3), 120, np.uint8)
    none = np.zeros((60, 120), np.float32)
    answers = [Answer(none, [], 0.62, True), Answer(none, [], 0.31, False)]
    sheet = localization_sheet([SheetImage("name", "dog", image, [], answers)], ["first", "other"],
                               width=120)  # fmt: skip
    for column, (method, verdict, colour) in enumerate(
        (("first", "✓ IoU 0.62", RIGHT), ("other", "✗ IoU 0.31", WRONG)), start=1
    ):
        left = MARGIN + column * (120 + GAP)
        assert [x for x, _ in places_of(sheet, method, 11)] == [left]
        ((place, _),) = places_of(sheet, verdict, 11, colour=colour, bold=True)
        assert left < place < left + 120
    assert places_of(sheet, "name", 13, bold=True) and places_of(sheet, "dog", 12, colour=MUTED)


def test_heat_lies_where_it_is_and_under_its_method() -> None:
    """Hot at the right end of the upper half, by the first method of two, of a wide image."""
    image = np.full((60, 120, 3), 120, np.uint8)
    hot = np.zeros((60, 120), np.float32)
    hot[5:20, 90:115] = 1
    answers = [Answer(hot, [], 0.5, True), Answer(np.zeros_like(hot), [], 0.5, True)]
    sheet = np.asarray(
        localization_sheet([SheetImage("", "", image, [], answers)], ["a", "b"], width=60)
    )
    top = MARGIN + TITLE_HEIGHT
    for column in range(3):
        left = MARGIN + column * (60 + GAP)
        drawn = sheet[top : top + 30, left : left + 60]
        rows, columns = np.nonzero((drawn != 120).any(axis=2))
        if column == 1:
            assert rows.max() < 14  # 2.5 to 10, and the line around it
            assert 42 <= columns.min() and columns.max() < 60
            assert (drawn[4:9, 47:56] != 120).any(axis=2).all()
        else:
            assert not len(rows)


def test_the_legend_calls_each_colour_by_what_is_drawn_in_it(places_of) -> None:
    sheet = localization_sheet([line()], ["l2-caf", "cam"], width=300)
    pixels = np.asarray(sheet)
    for text, colour in (("ground truth", TRUTH), ("answer", PREDICTION)):
        ((left, baseline),) = places_of(sheet, text, 13, colour=MUTED)
        key = pixels[baseline - 14 : baseline + 6, left - 8 - 32 : left - 8]
        other = PREDICTION if colour == TRUTH else TRUTH
        assert (key == colour).all(axis=2).any() and not (key == other).all(axis=2).any()
    assert places_of(sheet, "heat, 0 to each map's own maximum; lines at 30, 50, 70 % of it", 13,
                     colour=MUTED)  # fmt: skip


def test_a_narrow_sheet_leaves_nothing_out_of_its_legend(places_of) -> None:
    sheet = localization_sheet([line(answers=1)], ["cam"], width=60)
    for text in ("ground truth", "answer"):
        assert places_of(sheet, text, 13, colour=MUTED)


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
