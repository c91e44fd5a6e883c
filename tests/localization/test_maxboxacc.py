"""The `maxboxacc` protocols: the published loop over 1000 thresholds, and its tests' numbers."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from caf_video.errors import InputError
from caf_video.localization import (
    PROTOCOLS,
    box_iou,
    localization_hits,
    localize,
    measure,
    threshold_curve,
)

THOUSAND = np.arange(0, 1, 0.001)
BOTH = ("maxboxacc", "maxboxacc_v2")


def published_boxes(
    heatmap: NDArray[np.floating], threshold: float, *, every: bool
) -> NDArray[np.int64]:
    """The rule of wsolevaluation, one threshold."""
    height, width = heatmap.shape
    scaled = heatmap.astype(np.float64)
    if scaled.min() == scaled.max():
        scaled = np.zeros_like(scaled)
    else:
        scaled = scaled - scaled.min()
        scaled = scaled / scaled.max()
    grey = (scaled * 255).astype(np.uint8)
    mask = cv2.threshold(grey, int(threshold * grey.max()), 255, cv2.THRESH_BINARY)[1]
    contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return np.array([[0, 0, 0, 0]])
    if not every:
        contours = [max(contours, key=cv2.contourArea)]
    boxes = [cv2.boundingRect(contour) for contour in contours]
    return np.array([(x, y, min(x + w, width - 1), min(y + h, height - 1)) for x, y, w, h in boxes])


def published_overlaps(
    heatmap: NDArray[np.floating], truth: NDArray[np.float64], *, every: bool
) -> NDArray[np.float64]:
    """Best IoU at each of the 1000 thresholds."""
    found: dict[int, float] = {}  # a threshold only matters through int(threshold * 255)
    overlaps = []
    for threshold in THOUSAND:
        level = int(threshold * 255)
        if level not in found:
            boxes = published_boxes(heatmap, threshold, every=every)
            found[level] = box_iou(boxes, truth, convention="inclusive").max()
        overlaps.append(found[level])
    return np.array(overlaps)


def some_boxes(random: np.random.Generator) -> NDArray[np.float64]:
    corners = random.integers(0, 41, size=(random.integers(1, 4), 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(float)


def test_a_sweep_is_the_loop_over_a_thousand_thresholds(
    heatmaps, random: np.random.Generator
) -> None:
    level_of = [int(threshold * 255) for threshold in THOUSAND]
    for heatmap in heatmaps:
        truth = some_boxes(random)
        overlaps = measure(heatmap, truth, BOTH)
        for name, every in zip(BOTH, (False, True), strict=True):
            expected = published_overlaps(heatmap, truth, every=every)
            np.testing.assert_array_equal(overlaps[name][level_of], expected)


@pytest.mark.parametrize("grid", [8, 14])
def test_a_sweep_of_a_full_size_map_is_that_loop(grid: int, random: np.random.Generator) -> None:
    level_of = [int(threshold * 255) for threshold in THOUSAND]
    truth = np.array([[30.0, 40.0, 150.0, 170.0], [100.0, 90.0, 220.0, 200.0]])
    for _ in range(3):
        coarse = np.abs(random.normal(size=(grid, grid))).astype(np.float32)
        heatmap = cv2.resize(coarse, (227, 227), interpolation=cv2.INTER_LINEAR)
        overlaps = measure(heatmap, truth, BOTH)
        for name, every in zip(BOTH, (False, True), strict=True):
            expected = published_overlaps(heatmap, truth, every=every)
            np.testing.assert_array_equal(overlaps[name][level_of], expected)


def test_a_sweep_of_a_map_of_more_tops_than_a_byte_can_number_is_that_loop(
    random: np.random.Generator,
) -> None:
    heatmap = 0.2 * random.random((64, 80))
    heatmap[5:12, 5:15] += 0.5
    heatmap[40:60, 20:60] += 0.5
    tops = heatmap == cv2.dilate(heatmap, np.ones((3, 3)))  # of 8 neighbours each
    assert tops.sum() > 256
    level_of = [int(threshold * 255) for threshold in THOUSAND]
    truth = np.array([[20.0, 40.0, 59.0, 59.0]])
    overlaps = measure(heatmap, truth, BOTH)
    for name, every in zip(BOTH, (False, True), strict=True):
        expected = published_overlaps(heatmap, truth, every=every)
        np.testing.assert_array_equal(overlaps[name][level_of], expected)


def test_what_is_in_a_hole_counts_for_the_area_of_what_is_around_it() -> None:
    """A ring of 60 pixels around an island of 121: the ring's outline holds both, and wins."""
    heatmap = np.zeros((20, 40))
    heatmap[2:18, 2:18] = 1
    heatmap[3:17, 3:17] = 0
    heatmap[5:16, 5:16] = 1
    heatmap[3:17, 22:36] = 1  # of more pixels than the ring, in a smaller outline
    overlaps = measure(heatmap, [[2, 2, 18, 18]], BOTH)
    assert (overlaps["maxboxacc"] == 1).all()
    assert (measure(heatmap, [[22, 3, 36, 17]], BOTH)["maxboxacc_v2"] == 1).all()


def test_a_threshold_stands_for_the_published_ones_of_its_level() -> None:
    thresholds = PROTOCOLS["maxboxacc"].thresholds
    levels = [int(threshold * 255) for threshold in THOUSAND]
    assert sorted(set(levels)) == list(range(255)) == [int(t * 255) for t in thresholds]
    for level, threshold in enumerate(thresholds):
        assert threshold == pytest.approx(THOUSAND[levels.index(level)], abs=1e-12)


def test_localize_at_a_threshold_is_the_published_rule(
    heatmaps, random: np.random.Generator
) -> None:
    for heatmap in heatmaps[::3]:
        threshold = float(random.random())
        for name, every in zip(BOTH, (False, True), strict=True):
            np.testing.assert_array_equal(
                localize(name, heatmap, threshold=threshold),
                published_boxes(heatmap, threshold, every=every),
            )


def test_the_boxes_of_the_published_evaluators_own_tests() -> None:
    """wsolevaluation, evaluation_test.py: two maps, five thresholds each."""
    one_mode = np.array(
        [[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]]
    )
    two_modes = np.array(
        [[0.4, 0, 0.2, 0.2, 0.2], [0.4, 0.4, 0, 0.4, 0], [0, 0, 0, 0.4, 0], [1, 0.6, 0.8, 0.2, 0.2]]
    )
    expected = {
        "one": [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]],
        "two": [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]],
    }
    for heatmap, boxes in zip((one_mode, two_modes), expected.values(), strict=True):
        for threshold, box in zip(np.arange(0, 1, 0.2), boxes, strict=True):
            assert localize("maxboxacc", heatmap, threshold=threshold).tolist() == [box]


def test_known_answers_of_contours() -> None:
    line_and_block = np.zeros((20, 40))
    line_and_block[2, 1:39] = 1.0
    line_and_block[10:13, 5:8] = 1.0
    assert localize("maxboxacc", line_and_block, threshold=0.5).tolist() == [[5, 10, 8, 13]]
    perfect = measure(line_and_block, [[5, 10, 7, 12]], ["maxboxacc"])["maxboxacc"]
    assert (perfect == 0.5625).all()
    equal = np.zeros((30, 30))
    for row, column in ((2, 2), (2, 20), (15, 3), (15, 12)):
        equal[row : row + 4, column : column + 4] = 1.0
    assert localize("maxboxacc", equal, threshold=0.5).tolist() == [[12, 15, 16, 19]]
    assert (measure(equal, [[12, 15, 16, 19]], ["maxboxacc"])["maxboxacc"] == 1).all()


def test_a_constant_map_gives_the_first_pixel_at_every_threshold() -> None:
    for value in (0.0, 0.5, -3.0):
        heatmap = np.full((20, 30), value, dtype=np.float32)
        for name in BOTH:
            assert localize(name, heatmap, threshold=0.4).tolist() == [[0, 0, 0, 0]]
        for overlaps in measure(heatmap, [[0, 0, 1, 1]], BOTH).values():
            np.testing.assert_array_equal(overlaps, np.full(255, 0.25))


def test_a_single_pixel_is_found_at_every_threshold() -> None:
    heatmap = np.zeros((20, 30))
    heatmap[7, 9] = 4
    for overlaps in measure(heatmap, [[9, 7, 10, 8]], BOTH).values():
        assert (overlaps == 1).all()


def test_the_best_threshold_is_that_of_the_data_set_for_each_iou() -> None:
    """Two images, one right at low thresholds and one at high ones: together never both."""
    heatmap = np.zeros((40, 40))
    heatmap[:30, :30] = 0.5
    heatmap[:10, :10] = 1.0
    wide, narrow = [[0, 0, 30, 30]], [[0, 0, 10, 10]]
    overlaps = np.stack(
        [measure(heatmap, truth, BOTH)["maxboxacc_v2"] for truth in (wide, wide, narrow)]
    )
    curve = threshold_curve("maxboxacc_v2", overlaps)
    assert curve.iou_levels == (0.3, 0.5, 0.7)
    assert curve.best_accuracy == pytest.approx(2 / 3)
    assert (curve.best_thresholds < 0.5).all()
    np.testing.assert_array_equal(localization_hits("maxboxacc_v2", overlaps), [1, 1, 0])
    flipped = threshold_curve("maxboxacc_v2", overlaps[1:][[0, 1, 1]])
    assert (flipped.best_thresholds >= 0.498).all()


def test_wrong_input_is_named() -> None:
    good = np.ones((3, 4))
    broken = good.copy()
    broken[0, 0] = np.nan
    with pytest.raises(InputError, match="heatmap holds nan at row 0, column 0"):
        measure(broken, [[0, 0, 1, 1]], BOTH)
    with pytest.raises(InputError, match="no ground-truth box to compare with"):
        measure(good, np.empty((0, 4)), BOTH)
    with pytest.raises(InputError, match=r"ground-truth boxes: number 0 is \(2, 0, 1, 1\)"):
        measure(good, [[2, 0, 1, 1]], BOTH)
    with pytest.raises(InputError, match="maxboxacc is an oracle and has no threshold of its own"):
        localize("maxboxacc", good)
    with pytest.raises(InputError, match="threshold 1.5: wanted a share"):
        localize("maxboxacc", good, threshold=1.5)
