"""The `cam` protocol: its published print, a statement in plain loops, maps without an answer."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from caf_video.errors import InputError
from caf_video.localization import cam_boxes, localize

Rectangle = tuple[int, int, int, int]


def rim_taken_off(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Distances to the background pixel by pixel, scaled to 255 and rounded, kept above 10."""
    background = np.argwhere(~mask)
    if not len(background):
        return mask
    distances = np.zeros(mask.shape)
    for row, column in np.argwhere(mask):
        distances[row, column] = math.sqrt(
            min((row - r) ** 2 + (column - c) ** 2 for r, c in background.tolist())
        )
    scale = 255 / distances.max()
    return np.vectorize(lambda distance: int(distance * scale + 0.5) > 10)(distances)


def segments(mask: NDArray[np.bool_], *, diagonal: bool) -> list[list[tuple[int, int]]]:
    """Connected pixels, in the order of their first pixels."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    found = []
    for seed in sorted(left):
        if seed not in left:
            continue
        left.remove(seed)
        segment, queue = [], [seed]
        while queue:
            row, column = queue.pop()
            segment.append((row, column))
            for down, right in [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                near = (row + down, column + right)
                if near in left and (diagonal or not down or not right):
                    left.remove(near)
                    queue.append(near)
        found.append(segment)
    return found


def contour_rectangles(mask: NDArray[np.bool_]) -> list[Rectangle]:
    """x, y, width, height around each segment, and around the pixels around each hole."""
    rectangles = []
    for segment in segments(mask, diagonal=True):
        (top, left), (bottom, right) = np.min(segment, axis=0), np.max(segment, axis=0)
        rectangles.append((left, top, right - left + 1, bottom - top + 1))
    framed = np.pad(~mask, 1, constant_values=True)
    for hole in segments(framed, diagonal=False)[1:]:  # the first is the outside
        (top, left), (bottom, right) = np.min(hole, axis=0), np.max(hole, axis=0)
        rectangles.append((left - 2, top - 2, right - left + 3, bottom - top + 3))
    return rectangles


def limit(value: int, low: int, high: int) -> int:
    return low if value < low else high if value > high else value


def largest_by_loops(heatmap: NDArray[np.floating]) -> tuple[int, list[Rectangle]]:
    """The largest area, and the rectangles that have it."""
    height, width = heatmap.shape
    grey = np.floor(np.clip(heatmap / heatmap.max(), 0, None) * 255 + 0.5)
    rectangles = []
    for level in (20, 100, 110):
        for x, y, w, h in contour_rectangles(rim_taken_off(grey > level)):
            rectangles.append(
                (
                    limit(x, 0, width - 5),
                    limit(y, 0, height - 5),
                    limit(w, 0, width - x - 5),
                    limit(h, 0, height - y - 5),
                )
            )
    largest = max(w * h for _, _, w, h in rectangles)
    return largest, [each for each in rectangles if each[2] * each[3] == largest]


def test_the_answer_is_the_largest_box_of_the_three_levels_by_loops(heatmaps) -> None:
    for heatmap in heatmaps[::3]:
        if heatmap.max() <= 0:
            continue
        box = localize("cam", heatmap)
        _, rectangles = largest_by_loops(heatmap.astype(np.float64))
        corners = [
            [min(x, x + w), min(y, y + h), max(x, x + w), max(y, y + h)]
            for x, y, w, h in rectangles
        ]
        assert box.tolist()[0] in corners


def test_the_answer_is_the_first_box_that_the_published_program_prints(heatmaps) -> None:
    for heatmap in heatmaps:
        np.testing.assert_array_equal(localize("cam", heatmap), cam_boxes(heatmap)[:1])


def test_the_published_print_from_a_map_drawn_by_hand() -> None:
    """CAM's authors ship a heatmap with the print `41 145 362 202 102 188 242 126`.

    Two rectangles give the same print. The outer one is 210 high, so that the distance is 105 at
    most, and 5 pixels are the first distance of 10.5 / 255 of that: a rim of 4 goes. The inner one
    is 130 high: 65 at most, and a rim of 2. It is found at two levels, and once is printed.
    """
    heatmap = np.zeros((375, 500), dtype=np.float32)
    heatmap[145 - 4 : 145 + 202 + 4, 41 - 4 : 41 + 362 + 4] = 0.3
    heatmap[188 - 2 : 188 + 126 + 2, 102 - 2 : 102 + 242 + 2] = 1.0
    boxes = cam_boxes(heatmap)
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    assert " ".join(f"{value:g}" for value in sides.ravel()) == "41 145 362 202 102 188 242 126"


def test_a_box_that_covers_more_than_half_of_a_larger_one_is_not_printed() -> None:
    for inner in (20, 35):  # of 40: a quarter of the area, three quarters
        heatmap = np.zeros((60, 60))
        heatmap[5:45, 5:45] = 30 / 255  # above the lowest level
        heatmap[5 : 5 + inner, 5 : 5 + inner] = 105 / 255  # and above the second
        heatmap[8:10, 8:10] = 1.0  # and above all
        middle = [[5, 5, 25, 25]] if inner == 20 else []
        assert cam_boxes(heatmap).tolist() == [[5, 5, 45, 45], *middle, [8, 8, 10, 10]]


def test_the_box_after_a_removed_one_is_not_compared_in_that_round() -> None:
    """As published: one nested square at three levels, of which the third survives the second."""
    heatmap = np.zeros((60, 60))
    heatmap[5:45, 5:45] = 30 / 255
    heatmap[6:44, 6:44] = 105 / 255
    heatmap[7:43, 7:43] = 1.0
    boxes = cam_boxes(heatmap)
    assert boxes.tolist() == [[5, 5, 45, 45], [7, 7, 43, 43]]


def test_a_constant_map_gives_the_image_less_five_pixels() -> None:
    for value in (1e-30, 0.5, 7.0):
        assert localize("cam", np.full((30, 40), value)).tolist() == [[0, 0, 35, 25]]


def test_a_map_that_is_nowhere_positive_gives_no_box() -> None:
    for value in (0.0, -1.0):
        assert localize("cam", np.full((30, 40), value)).shape == (0, 4)
        assert cam_boxes(np.full((30, 40), value)).shape == (0, 4)


def test_negative_values_are_as_zeros(random: np.random.Generator) -> None:
    heatmap = random.normal(size=(6, 8)).repeat(5, axis=0).repeat(5, axis=1)
    np.testing.assert_array_equal(localize("cam", heatmap), localize("cam", heatmap.clip(min=0)))


def test_a_single_pixel_gives_one_pixel_and_keeps_off_the_margin() -> None:
    heatmap = np.zeros((30, 40))
    heatmap[12, 17] = 3
    assert localize("cam", heatmap).tolist() == [[17, 12, 18, 13]]
    corner = np.zeros((30, 40))
    corner[29, 39] = 3  # the corner is limited to 35, 25, and the sides to 40 - 39 - 5 = -4
    assert localize("cam", corner).tolist() == [[31, 21, 35, 25]]


def test_in_a_strip_lower_than_the_margin_a_box_that_only_its_rim_puts_in_the_corner_is_found() -> (
    None
):
    """One row: heights are limited to 1 - 5 - 0 = -4, so that only a negative width gives an area.

    The first segment is 68 wide, and pixels are kept from a distance of 3 on. At the lowest level
    the second begins at 70 and is kept from 72 on: 76 - 5 - 72 = -1. At the others it begins at 71,
    where its width is limited to 0, and is kept from 73 on: -2.
    """
    heatmap = np.zeros((1, 76))
    heatmap[0, :68] = heatmap[0, 71:] = 1.0
    heatmap[0, 70] = 30 / 255
    expected = [71 - 2, -4 - 4, 71, -4]
    assert cam_boxes(heatmap)[0].tolist() == expected
    assert localize("cam", heatmap).tolist() == [expected]


def test_a_corner_larger_than_that_of_a_lower_level_is_looked_for() -> None:
    """As before, a pixel further right: -2 * -4 at the lowest level, then -3 * -4."""
    heatmap = np.zeros((1, 76))
    heatmap[0, :68] = heatmap[0, 72:] = 1.0
    heatmap[0, 71] = 30 / 255
    expected = [71 - 3, -4 - 4, 71, -4]
    assert cam_boxes(heatmap)[0].tolist() == expected
    assert localize("cam", heatmap).tolist() == [expected]


@pytest.mark.parametrize(("grey", "height"), [(20.49, 1), (20.51, 20)])
def test_grey_is_rounded_before_it_is_compared_with_the_lowest_level(grey, height) -> None:
    heatmap = np.zeros((40, 40))
    heatmap[5:25, 5:25] = grey / 255
    heatmap[12, 12] = 1.0
    _, top, _, bottom = localize("cam", heatmap)[0]
    assert bottom - top <= height and (bottom - top > 10) == (height > 10)


def test_scale_changes_nothing(heatmaps) -> None:
    for heatmap in heatmaps[::10]:
        scaled = heatmap.astype(np.float64) * 2.0**40
        np.testing.assert_array_equal(localize("cam", scaled), localize("cam", heatmap))


def test_a_map_that_is_not_finite_is_named() -> None:
    heatmap = np.ones((3, 4))
    heatmap[1, 2] = np.nan
    with pytest.raises(InputError, match="heatmap holds nan at row 1, column 2"):
        cam_boxes(heatmap)
