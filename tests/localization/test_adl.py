"""The `adl` protocol: through the published evaluator's colours, and by hand."""

import cv2
import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray

from caf_video.errors import InputError
from caf_video.localization import localize


def box_through_colours(heatmap: NDArray[np.floating]) -> list[int]:
    """As the published code does it: paint, turn to grey, threshold at 0.2, draw contours."""
    intensity = heatmap.astype(np.float64)
    intensity = intensity - intensity.min()
    with np.errstate(invalid="ignore"):
        intensity = intensity / intensity.max()
    colours = matplotlib.colormaps["cubehelix"](intensity)[..., :3].astype(np.float32) * 255
    grey = cv2.cvtColor(colours.astype(np.uint8), cv2.COLOR_RGB2GRAY)
    mask = cv2.threshold(grey, int(grey.max() * 0.2), 255, cv2.THRESH_TOZERO)[1]
    contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return [0, 0, 1, 1]
    x, y, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return [x, y, x + width, y + height]


def test_the_box_is_the_one_found_through_the_colours(heatmaps) -> None:
    for heatmap in heatmaps:
        assert localize("adl", heatmap).tolist() == [box_through_colours(heatmap)]


def test_the_threshold_lies_between_two_of_256_colours() -> None:
    """51 is int(0.2 * 255), and the 52nd colour is the first that is brighter."""
    for share, found in ((52 / 256, True), (np.nextafter(52 / 256, 0), False)):
        heatmap = np.zeros((20, 20))
        heatmap[3:5, 3:5] = 1.0
        heatmap[8:18, 8:18] = share
        assert (localize("adl", heatmap).tolist() == [[8, 8, 18, 18]]) == found
        assert localize("adl", heatmap).tolist() == [box_through_colours(heatmap)]


def test_a_line_has_no_area_and_loses_to_a_block() -> None:
    heatmap = np.zeros((20, 40))
    heatmap[2, 1:39] = 1.0
    heatmap[10:13, 5:8] = 1.0
    assert localize("adl", heatmap).tolist() == [[5, 10, 8, 13]]


def test_of_equal_areas_the_bottom_most_then_the_right_most_wins() -> None:
    heatmap = np.zeros((30, 30))
    for row, column in ((2, 2), (2, 20), (15, 3), (15, 12)):
        heatmap[row : row + 4, column : column + 4] = 1.0
    assert localize("adl", heatmap).tolist() == [[12, 15, 16, 19]]


def test_a_constant_map_gives_the_corner_pixel() -> None:
    for value in (0.0, 0.5, -3.0):
        assert localize("adl", np.full((20, 30), value)).tolist() == [[0, 0, 1, 1]]


def test_the_scale_starts_at_the_lowest_value(heatmaps) -> None:
    for heatmap in heatmaps[::10]:
        moved = heatmap.astype(np.float64) * 2 - 1024
        exact = (moved + 1024) / 2
        np.testing.assert_array_equal(localize("adl", moved), localize("adl", exact))


def test_a_single_pixel_is_its_own_box() -> None:
    heatmap = np.zeros((20, 30))
    heatmap[19, 29] = 1e-20
    assert localize("adl", heatmap).tolist() == [[29, 19, 30, 20]]


def test_a_map_that_is_not_finite_is_named() -> None:
    heatmap = np.ones((3, 4), dtype=np.float32)
    heatmap[2, 0] = -np.inf
    with pytest.raises(InputError, match="heatmap holds -inf at row 2, column 0"):
        localize("adl", heatmap)
