"""Rectangles around the contours of a mask, as OpenCV draws and measures them.

A contour runs through the centres of a segment's outermost pixels, or of the pixels around a hole
in it; neighbours are the 8 around. Its area is that of this polygon: a line one pixel wide has area
0, and a block of 3 x 3 pixels has area 4.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Rectangle = tuple[int, int, int, int]  # x, y, x + width, y + height


def largest_contour(mask: NDArray[np.uint8]) -> list[Rectangle]:
    """The rectangle around the contour of largest area; an empty list where the mask is empty.

    Of equal areas the contour wins whose first pixel, row by row, comes last: the bottom-most,
    then the right-most.

    Args:
        mask: (height, width), not 0 where a segment is.
    """
    # OpenCV lists contours in that order, a segment before its holes, and max takes the first.
    return [_around(max(contours, key=cv2.contourArea))] if (contours := _drawn(mask)) else []


def all_contours(mask: NDArray[np.uint8]) -> list[Rectangle]:
    """The rectangles around all contours, those of holes included.

    Args:
        mask: (height, width), not 0 where a segment is.
    """
    return [_around(contour) for contour in _drawn(mask)]


def _drawn(mask: NDArray[np.uint8]) -> Sequence[Any]:
    return cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]


def _around(contour: Any) -> Rectangle:
    x, y, width, height = cv2.boundingRect(contour)
    return x, y, x + width, y + height
