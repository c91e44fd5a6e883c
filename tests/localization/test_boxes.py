"""IoU in both conventions: by loops over pixels, by hand, and the published evaluator's numbers."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.localization import box_iou


def pixels_of(box: np.ndarray, *, inclusive: bool) -> set[tuple[int, int]]:
    x1, y1, x2, y2 = (int(corner) for corner in box)
    return {(x, y) for x in range(x1, x2 + inclusive) for y in range(y1, y2 + inclusive)}


@pytest.mark.parametrize(("convention", "inclusive"), [("inclusive", True), ("exact", False)])
def test_iou_counts_the_pixels_of_whole_boxes(
    convention: str, inclusive: bool, random: np.random.Generator
) -> None:
    corners = random.integers(-3, 9, size=(2, 12, 2, 2))
    one, other = (np.concatenate([c.min(axis=1), c.max(axis=1)], axis=1) for c in corners)
    ious = box_iou(one, other[:7], convention=convention)
    assert ious.shape == (12, 7)
    for i in range(12):
        for j in range(7):
            a = pixels_of(one[i], inclusive=inclusive)
            b = pixels_of(other[j], inclusive=inclusive)
            assert ious[i, j] == (len(a & b) / len(a | b) if a | b else 0)


def test_the_numbers_of_the_published_evaluators_own_tests() -> None:
    """wsolevaluation, evaluation_test.py."""
    assert box_iou([[1, 2, 5, 6]], [[3, 1, 4, 5]], convention="inclusive") == 8 / 27
    boxes = [[1, 1, 3, 3], [4, 4, 5, 5]]
    np.testing.assert_array_equal(box_iou(boxes, boxes, convention="inclusive"), np.eye(2))
    points = box_iou(np.zeros((3, 4)), np.zeros((5, 4)), convention="inclusive")
    np.testing.assert_array_equal(points, np.ones((3, 5)))


def test_a_perfect_three_by_three_box_scores_nine_sixteenths_as_published() -> None:
    """Its pixels are 2 to 4; with x + width and the + 1 the found box is 4 x 4."""
    assert box_iou([[2, 2, 2 + 3, 2 + 3]], [[2, 2, 4, 4]], convention="inclusive") == 0.5625


def test_exact_boxes_have_fractions_of_pixels() -> None:
    assert box_iou([[0, 0, 1, 1]], [[0.5, 0, 1.5, 1]], convention="exact") == 0.5 / 1.5
    assert box_iou([[0, 0, 1, 1]], [[1, 0, 2, 1]], convention="exact") == 0


def test_boxes_without_area_overlap_nothing_when_exact() -> None:
    assert box_iou([[3, 3, 3, 3]], [[3, 3, 3, 3]], convention="exact") == 0


@pytest.mark.parametrize("convention", ["inclusive", "exact"])
def test_iou_is_symmetric_and_moves_with_the_boxes(
    convention: str, random: np.random.Generator
) -> None:
    corners = random.uniform(-50, 50, size=(2, 20, 2, 2))
    one, other = (np.concatenate([c.min(axis=1), c.max(axis=1)], axis=1) for c in corners)
    ious = box_iou(one, other, convention=convention)
    np.testing.assert_array_equal(box_iou(other, one, convention=convention), ious.T)
    np.testing.assert_allclose(box_iou(one + 100, other + 100, convention=convention), ious)
    assert (np.diag(box_iou(one, one, convention=convention)) == 1).all()
    assert box_iou(one[:0], other, convention=convention).shape == (0, 20)


def test_wrong_boxes_are_named() -> None:
    good = [[0, 0, 1, 1]]
    with pytest.raises(InputError, match=r"boxes of shape \(4,\): wanted \(n, 4\)"):
        box_iou(good[0], good, convention="exact")
    with pytest.raises(InputError, match=r"number 1 is \(5, 0, 4, 1\): wanted finite x1 <= x2"):
        box_iou(good, [good[0], [5, 0, 4, 1]], convention="exact")
    for bad in (np.nan, np.inf, -np.inf):
        for corner in range(4):
            box = np.array([[0.0, 0.0, 1.0, 1.0]])
            box[0, corner] = bad
            with pytest.raises(InputError, match="number 0 is"):
                box_iou(box, good, convention="inclusive")
    with pytest.raises(InputError, match="unknown IoU convention 'plus one'"):
        box_iou(good, good, convention="plus one")
