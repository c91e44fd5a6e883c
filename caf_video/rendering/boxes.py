"""Boxes: a frame around an object, never over it; green for ground truth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caf_video.rendering.style import TRUTH, Colour

Box = Sequence[float] | NDArray[np.floating] | NDArray[np.integer]

_DASH, _GAP = 4, 3  # in line widths


def draw_box(
    image: NDArray[np.uint8],
    box: Box,
    *,
    evidence_visible: bool = True,
    colour: Colour = TRUTH,
) -> NDArray[np.uint8]:
    """Draw one box, solid where the evidence is visible in the frame, else dashed.

    The line runs outside the box (or along the border of the image, where the box reaches it): the
    object inside stays as it was. A box that is empty or not finite means that the frame has none.

    Args:
        image: RGB, uint8 (height, width, 3).
        box: (x1, y1, x2, y2) in pixels, x2 and y2 the first ones outside.
        evidence_visible: Whether what decides the event can be seen in this state.
        colour: Of the line; that of ground truth, unless given.

    Returns:
        RGB, uint8 (height, width, 3), a new array.
    """
    picture = image.copy()
    corners = np.asarray(box, dtype=np.float64)
    if not np.isfinite(corners).all() or (corners[2:] <= corners[:2]).any():
        return picture
    height, width = image.shape[:2]
    line = max(2, round(width / 320))
    x1, y1, x2, y2 = (int(value) for value in np.rint(corners))
    ring = _ring((height, width), (x1, y1, x2, y2), line)
    edge = _ring((height, width), (x1, y1, x2, y2), line + 1)
    if not evidence_visible:
        dashes = _dashes((height, width), line)
        ring, edge = ring & dashes, edge & dashes
    picture[edge & ~ring] = (0.35 * picture[edge & ~ring]).astype(np.uint8)
    picture[ring] = colour
    return picture


def _ring(size: tuple[int, int], box: tuple[int, int, int, int], line: int) -> NDArray[np.bool_]:
    """The band `line` pixels wide around the box, kept inside the image."""
    height, width = size
    x1, y1, x2, y2 = box
    left, top = max(0, x1 - line), max(0, y1 - line)
    right, bottom = min(width, x2 + line), min(height, y2 + line)
    ring = np.zeros(size, bool)
    ring[top:bottom, left:right] = True
    ring[top + line : bottom - line, left + line : right - line] = False
    return ring


def _dashes(size: tuple[int, int], line: int) -> NDArray[np.bool_]:
    """Stripes along both diagonals' common direction: they cut every side of a box alike."""
    rows, columns = np.indices(size, sparse=True)
    return (rows + columns) % ((_DASH + _GAP) * line) < _DASH * line
