"""The `maxboxacc` and `maxboxacc_v2` protocols (Choe et al. 2020): oracles, over all thresholds.

Of the published evaluator: the map scaled from its minimum to its maximum becomes 8-bit by cutting
off; a threshold t keeps what is above int(t * 255), contours are drawn, and each gives the corners
x, y, min(x + width, W - 1), min(y + height, H - 1). `maxboxacc` takes the contour of largest area
and asks for an IoU of 0.5. `maxboxacc_v2` takes every contour, of which one must reach the IoU, and
averages over 0.3, 0.5 and 0.7. Each IoU has the threshold that is best over the whole data set.

Of the published 1000 thresholds, 0 to 0.999, those of one int(t * 255) give the same answer: there
are 255 different ones.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError
from caf_video.localization.boxes import box_iou, require_ground_truth
from caf_video.localization.contours import Rectangle, all_contours, largest_contour
from caf_video.localization.heatmaps import min_max, require_heatmap
from caf_video.localization.levels import LEVELS, Contours, hole_contours, outer_contours

# The least of the published thresholds k / 1000 at which each level begins: k * 0.255 >= level.
THRESHOLDS = tuple(-(-1000 * level // 255) / 1000 for level in range(LEVELS))

_GREYEST = 255
_NO_CONTOUR = (0, 0, 0, 0)


def contour_boxes(
    heatmap: ArrayLike, *, threshold: float, every: bool = False
) -> NDArray[np.float64]:
    """The boxes of a heatmap (height, width) at one threshold, (k, 4).

    A constant map, zeros included, gives (0, 0, 0, 0) at every threshold: the published evaluator
    makes zeros of it, finds no contour, and has this answer for that case. A negative value is a
    value as any other: the scale starts at the lowest.

    Args:
        heatmap: Finite, of any sign.
        threshold: Share of the way from the minimum to the maximum, in [0, 1].
        every: Every contour, holes' too, as `maxboxacc_v2` does; else that of largest area
            (`largest_contour`), as `maxboxacc` does.

    Raises:
        InputError: The heatmap is not (height, width), not of floats, or not finite, or the
            threshold is outside [0, 1].
    """
    array = require_heatmap(heatmap)
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold {threshold}: wanted a share of the maximum, from 0 to 1")
    scaled = min_max(array)
    boxes: list[Rectangle] = []
    if scaled is not None:
        mask = _above((scaled * _GREYEST).astype(np.uint8), int(threshold * _GREYEST))
        boxes = all_contours(mask) if every else largest_contour(mask)
    return _inside(np.array(boxes or [_NO_CONTOUR], dtype=np.float64), array.shape)


def contour_overlaps(
    heatmap: ArrayLike, ground_truth: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Best IoU with a ground-truth box at each of THRESHOLDS, of the largest and of any contour.

    Equal to `contour_boxes` and `box_iou` a threshold at a time, in about a fifth of the time.

    Args:
        heatmap: (height, width), finite, of any sign.
        ground_truth: Boxes in pixels of the heatmap, (g, 4), one or more.

    Returns:
        That of the largest contour and that of the best contour, (255,) each.

    Raises:
        InputError: On a malformed or non-finite heatmap or box, or without a box.
    """
    array = require_heatmap(heatmap)
    truth = require_ground_truth(ground_truth)
    scaled = min_max(array)
    if scaled is None:
        overlap = box_iou([_NO_CONTOUR], truth, convention="inclusive").max()
        return np.full(LEVELS, overlap), np.full(LEVELS, overlap)

    heights = np.zeros((array.shape[0] + 2, array.shape[1] + 2), dtype=np.uint16)
    # A power of two more than the published * 255: the upper byte is their 8-bit value, exactly.
    heights[1:-1, 1:-1] = scaled * (_GREYEST * 256)
    outer, areas = outer_contours(heights)
    holes = hole_contours(heights)
    largest = _largest(outer, areas, holes, heights)
    every = np.concatenate([each.boxes[:, each.exist] for each in (outer, holes)], axis=1)
    at = np.concatenate([np.nonzero(each.exist)[1] for each in (outer, holes)])

    boxes = np.concatenate([largest, every], axis=1).T - 1  # the frame around the heights
    overlaps = box_iou(_inside(boxes, array.shape), truth, convention="inclusive").max(axis=1)
    best = np.zeros(LEVELS)
    np.maximum.at(best, at, overlaps[LEVELS:])
    return overlaps[:LEVELS], best


def _largest(
    outer: Contours,
    doubled_areas: NDArray[np.int64],
    holes: Contours,
    heights: NDArray[np.uint16],
) -> NDArray[np.int32]:
    """The box of the largest contour at each level, (4, 255), in pixels of the heights.

    The areas known are less the holes. Where it matters what is in them, or areas are equal, the
    contours of that level are drawn.
    """
    in_holes = np.where(holes.exist, _doubled_rectangles(holes), 0).sum(axis=0)
    at_most = np.minimum(_doubled_rectangles(outer), doubled_areas + in_holes)
    at_most = np.where(outer.exist, at_most, -2)
    at_least = np.where(outer.exist, doubled_areas, -1)
    levels = np.arange(LEVELS)
    winner = at_least.argmax(axis=0)
    at_most[winner, levels] = -2
    boxes = outer.boxes[:, winner, levels]
    grey = (heights >> 8).astype(np.uint8)
    for level in np.flatnonzero(at_most.max(axis=0) >= at_least[winner, levels]).tolist():
        (boxes[:, level],) = largest_contour(_above(grey, level))
    return boxes


def _doubled_rectangles(contours: Contours) -> NDArray[np.int64]:
    """Twice the areas of the rectangles through the pixels around, (c, 255)."""
    x, y, right, bottom = contours.boxes
    return 2 * (right - x - 1).astype(np.int64) * (bottom - y - 1)


def _above(grey: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    return (grey > level).view(np.uint8)


def _inside(boxes: NDArray, size: tuple[int, ...]) -> NDArray[np.float64]:
    """Second corners limited to the last pixel."""
    corners = boxes.astype(np.float64)
    np.minimum(corners[:, 2:], [size[1] - 1, size[0] - 1], out=corners[:, 2:])
    return corners
