"""The `cam` protocol: the box generator released with CAM (Zhou et al. 2016), Tables 1 and 3.

In the order of that code: the map divided by its maximum becomes 8-bit grey; what is above each of
the levels 20, 100 and 110 is a mask; the mask's Euclidean distance transform, scaled so that its
maximum is 255 and rounded, is kept where it is above 10, which takes a rim off every segment; the
contours of all three levels are pooled.

What cannot be repeated here: the published scripts pass the map through a JPEG file, whose
artefacts reach the levels, and the OpenCV of that time cleared the outermost pixels of a mask.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.localization.heatmaps import require_heatmap

_LEVELS = (20, 100, 110)
CUTS = tuple((level + 0.5) / 255 for level in _LEVELS)  # shares of the maximum: grey is rounded
_DISTANCE = 10  # of 255
_MARGIN = 5  # pixels that a box keeps from the right and the lower edge
_CORNER_AREA = (_MARGIN - 1) ** 2  # the most that two negative sides can make

Rectangle = tuple[int, int, int, int]  # x, y, width, height; a clamped one can have a negative side


def cam_box(heatmap: ArrayLike) -> NDArray[np.float64]:
    """The box of a heatmap (height, width) under the protocol `cam`: the first of `cam_boxes`.

    In a third of the time: the levels that cannot have a larger box are left out.

    Returns:
        (1, 4), or (0, 4) for a map that is nowhere positive.

    Raises:
        InputError: The heatmap is not (height, width), not of floats, or not finite.
    """
    grey = _to_grey(heatmap)
    if grey is None:
        return np.empty((0, 4))
    largest, area = (0, 0, 0, 0), -math.inf
    for level in _LEVELS:
        mask = (grey > level).view(np.uint8)
        # A rectangle only shrinks with its segment, but for one that is negative both ways.
        possible = max(_CORNER_AREA, *(w * h for _, _, w, h in _rectangles(mask)))
        if possible > area:
            for rectangle in _rectangles(_without_rim(mask)):
                if rectangle[2] * rectangle[3] > area:
                    largest, area = rectangle, rectangle[2] * rectangle[3]
    return _corners([largest])


def cam_boxes(heatmap: ArrayLike) -> NDArray[np.float64]:
    """All boxes of a heatmap (height, width) that the published program prints, (k, 4).

    The largest first, which is the protocol's answer. Of rectangles equally large, the one of the
    lower level comes first, then the bottom-most, then the right-most.

    A constant map gives the whole image less the margin of 5 pixels. A map that is nowhere positive
    gives no box, (0, 4): the published scripts divide by the maximum, which makes them stop where
    it is 0, and turns the map upside down where it is negative. Other negative values become 0.

    Raises:
        InputError: The heatmap is not (height, width), not of floats, or not finite.
    """
    grey = _to_grey(heatmap)
    if grey is None:
        return np.empty((0, 4))
    found: list[Rectangle] = []
    for level in _LEVELS:
        found += _rectangles(_without_rim((grey > level).view(np.uint8)))
    found.sort(key=lambda rectangle: -rectangle[2] * rectangle[3])
    return _corners(_thinned(found))


def _to_grey(heatmap: ArrayLike) -> NDArray[np.uint8] | None:
    """The map over its maximum, rounded to 8 bits; None where it is nowhere positive."""
    array = require_heatmap(heatmap).astype(np.float64)
    highest = array.max()
    if highest <= 0:
        return None
    return np.floor((array / highest).clip(min=0) * 255 + 0.5).astype(np.uint8)


def _rectangles(mask: NDArray[np.uint8]) -> list[Rectangle]:
    contours = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]
    return [_clamped(cv2.boundingRect(contour), mask.shape) for contour in contours]


def _corners(rectangles: list[Rectangle]) -> NDArray[np.float64]:
    """Boxes (k, 4), with the corners of a negative side in order."""
    x, y, width, height = np.array(rectangles, dtype=np.float64).T
    across, down = np.sort([x, x + width], axis=0), np.sort([y, y + height], axis=0)
    return np.stack([across[0], down[0], across[1], down[1]], axis=1)


def _without_rim(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Where the rounded distance to the background is above 10 of 255 of the largest; 0 or 1.

    A mask without background has no distances and stays as it is. The image's edge is none.
    """
    if mask.all():
        return mask
    distances = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    largest = round(float(distances.max()) ** 2)  # squares of distances are whole numbers
    scale = 255 / math.sqrt(largest)
    smallest = 0  # of the squares that are kept
    while int(math.sqrt(smallest) * scale + 0.5) <= _DISTANCE:
        smallest += 1
    return (distances > math.sqrt(smallest - 0.5)).view(np.uint8)


def _clamped(rectangle: Sequence[int], size: tuple[int, ...]) -> Rectangle:
    """Corner and sides limited as published: a corner in the margin gives a negative side.

    Published is a lower limit of 0, too, below which no rectangle around pixels begins.
    """
    x, y, width, height = rectangle
    right, bottom = size[1] - _MARGIN, size[0] - _MARGIN
    return (
        min(x, right),
        min(y, bottom),
        min(width, right - x),
        min(height, bottom - y),
    )


def _thinned(rectangles: list[Rectangle]) -> list[Rectangle]:
    """Those that overlap none before them by more than half of the larger one's area.

    As published, also in this: the one that follows a removed one is not compared in that round.
    """
    kept = list(rectangles)
    first = 0
    while first < len(kept):
        second = first + 1
        while second < len(kept):
            if _overlap_much(kept[first], kept[second]):
                del kept[second]
            second += 1
        first += 1
    return kept


def _overlap_much(one: Rectangle, other: Rectangle) -> bool:
    across, down = (
        max(0, min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]))
        for i in (0, 1)
    )
    return across * down > int(max(one[2] * one[3], other[2] * other[3]) * 0.5)
