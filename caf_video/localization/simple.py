"""The `simple` protocol, ours: one threshold, segments counted in pixels, exact areas."""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError
from caf_video.localization.heatmaps import require_heatmap

CUT = 0.2  # share of the maximum


def simple_box(heatmap: ArrayLike, *, threshold: float = CUT) -> NDArray[np.float64]:
    """The box of a heatmap (height, width) under the protocol `simple`, (1, 4) or (0, 4).

    The pixels at `threshold` times the maximum or above it; of their 8-connected components the one
    of most pixels, and of equal ones that whose first pixel, row by row, comes last (the
    bottom-most, then the right-most); the box around it, half-open: x2 and y2 are the first column
    and row outside.

    A constant map, zeros included, gives the whole image. A map that is nowhere positive or 0 gives
    no box, (0, 4): no pixel reaches a share of a negative maximum. Other negative values never
    reach the threshold.

    Args:
        heatmap: Finite, of any sign.
        threshold: Share of the maximum, in [0, 1].

    Raises:
        InputError: The heatmap is not (height, width), not of floats, or not finite, or the
            threshold is outside [0, 1].
    """
    array = require_heatmap(heatmap)
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold {threshold}: wanted a share of the maximum, from 0 to 1")
    highest = array.max()
    if highest < 0:
        return np.empty((0, 4))
    # In the heatmap's own precision, in which 1 * maximum is the maximum.
    mask = (array >= array.dtype.type(threshold) * highest).view(np.uint8)
    # Outlines cost a fifth of labelling, and most masks have one. Those of holes have a parent.
    contours, family = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = np.flatnonzero(family[0, :, 3] < 0)
    if len(outer) == 1:
        x, y, width, height = cv2.boundingRect(contours[outer[0]])
    else:
        x, y, width, height = _most_pixels(mask)
    return np.array([(x, y, x + width, y + height)], dtype=np.float64)


def _most_pixels(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """x, y, width and height of the component of most pixels."""
    _, labels, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    counts = facts[1:, cv2.CC_STAT_AREA]  # component 0 is the background

    def first_pixel(component: int) -> tuple[int, int]:
        row = int(facts[component, cv2.CC_STAT_TOP])
        return row, int((labels[row] == component).argmax())

    largest = max((np.flatnonzero(counts == counts.max()) + 1).tolist(), key=first_pixel)
    x, y, width, height = facts[largest, : cv2.CC_STAT_AREA].tolist()
    return x, y, width, height
