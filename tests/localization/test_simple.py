"""The `simple` protocol: by flood fill, by hand, and its ties."""

import numpy as np
import pytest
from numpy.typing import NDArray

from caf_video.errors import InputError
from caf_video.localization import localize


def box_by_flood_fill(heatmap: NDArray[np.floating], threshold: float) -> list[int]:
    bound = heatmap.dtype.type(threshold) * heatmap.max()
    left = {(int(row), int(column)) for row, column in np.argwhere(heatmap >= bound)}
    best: list[tuple[int, int]] = []
    for seed in sorted(left):  # row by row: of equal segments the last to begin stays
        if seed not in left:
            continue
        left.remove(seed)
        segment, queue = [], [seed]
        while queue:
            row, column = queue.pop()
            segment.append((row, column))
            for near in [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    queue.append(near)
        if len(segment) >= len(best):
            best = segment
    rows, columns = zip(*best, strict=True)
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.5, 0.95, 1.0])
def test_the_box_is_that_of_a_flood_fill(threshold: float, heatmaps) -> None:
    for heatmap in heatmaps:
        if heatmap.max() >= 0:
            box = localize("simple", heatmap, threshold=threshold)
            assert box.tolist() == [box_by_flood_fill(heatmap, threshold)]


def test_the_threshold_is_two_tenths_and_belongs_to_the_segment() -> None:
    heatmap = np.array([[0.19, 0.2, 1.0, 0.2, 0.19]])
    assert localize("simple", heatmap).tolist() == [[1, 0, 4, 1]]
    np.testing.assert_array_equal(localize("simple", heatmap, threshold=0.2), [[1, 0, 4, 1]])
    assert localize("simple", heatmap, threshold=1.0).tolist() == [[2, 0, 3, 1]]


def test_pixels_count_and_not_the_area_of_an_outline() -> None:
    """The line of 38 pixels has no area, and wins over the block of 9."""
    heatmap = np.zeros((20, 40))
    heatmap[2, 1:39] = 1.0
    heatmap[10:13, 5:8] = 1.0
    assert localize("simple", heatmap).tolist() == [[1, 2, 39, 3]]


def test_a_segment_in_a_hole_can_be_the_largest() -> None:
    heatmap = np.ones((21, 21))
    heatmap[1:20, 1:20] = 0
    heatmap[3:18, 3:18] = 1
    assert localize("simple", heatmap).tolist() == [[3, 3, 18, 18]]


def test_corners_that_touch_connect() -> None:
    assert localize("simple", np.eye(4)).tolist() == [[0, 0, 4, 4]]


def test_of_equal_counts_the_bottom_most_then_the_right_most_wins() -> None:
    blocks = [(2, 2), (2, 20), (15, 3), (15, 12)]
    for count in range(1, 5):
        heatmap = np.zeros((30, 30))
        for row, column in blocks[:count]:
            heatmap[row : row + 4, column : column + 4] = 1.0
        row, column = blocks[count - 1]
        assert localize("simple", heatmap).tolist() == [[column, row, column + 4, row + 4]]


def test_a_constant_map_gives_the_whole_image() -> None:
    for value in (0.0, 1e-30, 1.0):
        for dtype in (np.float32, np.float64):
            heatmap = np.full((30, 40), value, dtype=dtype)
            assert localize("simple", heatmap).tolist() == [[0, 0, 40, 30]]


def test_a_map_below_zero_gives_no_box() -> None:
    assert localize("simple", np.full((30, 40), -1.0)).shape == (0, 4)


def test_negative_values_are_below_any_threshold() -> None:
    heatmap = np.full((6, 7), -5.0)
    heatmap[2:4, 3:5] = 1.0
    assert localize("simple", heatmap, threshold=0.0).tolist() == [[3, 2, 5, 4]]


def test_a_single_pixel_is_its_own_box() -> None:
    heatmap = np.zeros((6, 7), dtype=np.float32)
    heatmap[5, 6] = 1e-20
    assert localize("simple", heatmap).tolist() == [[6, 5, 7, 6]]
    assert localize("simple", np.ones((1, 1))).tolist() == [[0, 0, 1, 1]]


def test_mirroring_the_map_mirrors_the_box(random: np.random.Generator) -> None:
    for _ in range(20):
        heatmap = random.random((1, 1, 5, 7)).repeat(4, axis=2).repeat(3, axis=3)[0, 0]
        counts = [(heatmap >= 0.9 * heatmap.max()).sum()]
        if counts[0] != 12:  # several cells: ties would look for another side
            continue
        x1, y1, x2, y2 = localize("simple", heatmap, threshold=0.9)[0].tolist()
        mirrored = localize("simple", heatmap[:, ::-1], threshold=0.9)
        assert mirrored.tolist() == [[21 - x2, y1, 21 - x1, y2]]


def test_wrong_input_is_named() -> None:
    good = np.ones((3, 4))
    broken = good.copy()
    broken[1, 2] = np.inf
    with pytest.raises(InputError, match="heatmap holds inf at row 1, column 2"):
        localize("simple", broken)
    for shape in ((0, 4), (3,), (1, 3, 4)):
        with pytest.raises(InputError, match=r"wanted \(height, width\)"):
            localize("simple", np.ones(shape))
    with pytest.raises(InputError, match="heatmap of uint8: wanted floats"):
        localize("simple", good.astype(np.uint8))
    for threshold in (-0.1, 1.1, np.nan):
        with pytest.raises(InputError, match="wanted a share of the maximum"):
            localize("simple", good, threshold=threshold)
