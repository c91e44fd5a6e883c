"""Boxes and their overlap, in the two conventions that published evaluators use.

A box is (x1, y1, x2, y2) in pixels. "inclusive" reads both corners as pixels of the box, so that it
is x2 - x1 + 1 wide (the ILSVRC development kit and what descends from it); "exact" reads them as
points of the plane, so that it is x2 - x1 wide.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError

CONVENTIONS = {"inclusive": 1.0, "exact": 0.0}  # what is added to a width and to a height


def box_iou(boxes: ArrayLike, others: ArrayLike, *, convention: str) -> NDArray[np.float64]:
    """Intersection over union of every box with every other.

    Args:
        boxes: (n, 4).
        others: (m, 4).
        convention: "inclusive" or "exact".

    Returns:
        (n, m), in [0, 1]. Two boxes without area, which only "exact" knows, have an IoU of 0.

    Raises:
        InputError: An array that is not (n, 4), a corner that is not finite, a box whose second
            corner is above or left of its first, or an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise InputError(f"unknown IoU convention {convention!r}: it is one of {list(CONVENTIONS)}")
    extra = CONVENTIONS[convention]
    # Corner by corner: numpy is slow along a last axis of two or four.
    x1, y1, x2, y2 = require_boxes(boxes).T[:, :, None]
    left, top, right, bottom = require_boxes(others).T[:, None]
    across = np.minimum(x2, right) - np.maximum(x1, left) + extra  # (n, m)
    down = np.minimum(y2, bottom) - np.maximum(y1, top) + extra
    shared = across.clip(min=0) * down.clip(min=0)
    areas = (x2 - x1 + extra) * (y2 - y1 + extra)
    union = areas + (right - left + extra) * (bottom - top + extra) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def require_boxes(boxes: ArrayLike, *, of: str = "boxes") -> NDArray[np.float64]:
    """The boxes as float64 (n, 4); `of` names them in the message.

    Raises:
        InputError: As `box_iou`.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"{of} of shape {array.shape}: wanted (n, 4), x1, y1, x2, y2")
    x1, y1, x2, y2 = array.T
    right = (-np.inf < x1) & (x1 <= x2) & (x2 < np.inf)
    right &= (-np.inf < y1) & (y1 <= y2) & (y2 < np.inf)  # and nothing compares with NaN
    if not right.all():
        number = int(right.argmin())
        corners = ", ".join(f"{value:g}" for value in array[number])
        raise InputError(f"{of}: number {number} is ({corners}): wanted finite x1 <= x2, y1 <= y2")
    return array


def require_ground_truth(boxes: ArrayLike) -> NDArray[np.float64]:
    """The ground-truth boxes of one image as float64 (g, 4), one or more.

    Raises:
        InputError: As `box_iou`, or there is none.
    """
    array = require_boxes(boxes, of="ground-truth boxes")
    if not len(array):
        raise InputError("the image has no ground-truth box to compare with: leave it out")
    return array
