"""Level lines of a heatmap: traced between the pixels, closed at the image's border."""

from typing import cast

import contourpy
import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = (0.3, 0.5, 0.7)  # as shares of the heatmap's own maximum

_FINEST = 160  # samples across that lines are traced on: six pixels apart at 960
_ABOVE = 1e-4  # a plateau at a level, give or take its rounding, is below it: no speckles
_STRAIGHT = 0.3  # pixels that a line may be off for the sake of fewer corners
_OUTSIDE = 1e-3  # pixels beyond the outermost samples, where there is no heat: lines end nowhere
_SHIFT = 4  # binary places of the corners that OpenCV draws between
_EDGE, _DARK = np.ones((3, 3), np.uint8), 0.55  # a pixel all around a line, and its opacity


def lines_over(
    heatmap: NDArray[np.floating], highest: float, levels: tuple[float, ...]
) -> NDArray[np.uint8]:
    """Opacity of the lines at each pixel, (height, width), 255 in their middle.

    A level that the whole image exceeds has no line.

    Args:
        heatmap: Heat of each pixel, (height, width).
        highest: Its maximum, above 0.
        levels: Shares of the maximum.
    """
    half = max(0.6, heatmap.shape[1] / 1100)
    opacity = np.zeros(heatmap.shape, np.uint8)
    lines = _lines(heatmap, highest, levels, inset=half - 0.5)
    cv2.polylines(opacity, lines, True, 255, round(2 * half), cv2.LINE_AA, _SHIFT)
    return opacity


def contour_lines(
    heatmap: NDArray[np.floating], highest: float, levels: tuple[float, ...]
) -> list[NDArray[np.float64]]:
    """The same as polygons that close, (corners, 2), x and y in pixels."""
    lines = _lines(heatmap, highest, levels, inset=0.0)
    return [line[:, 0] / 2**_SHIFT for line in lines]


def paint_lines(
    picture: NDArray[np.uint8], opacity: NDArray[np.uint8], rows: slice
) -> NDArray[np.uint8]:
    """Some rows of a picture with its lines: white with a dark edge, legible day and night.

    Args:
        picture: Those rows, (height, width, 3).
        opacity: From `lines_over`, of all rows.
        rows: Which.
    """
    around = opacity[max(0, rows.start - 1) : rows.stop + 1]
    if not around.any():
        return picture
    inner = slice(min(1, rows.start), min(1, rows.start) + len(picture))
    edge = cv2.convertScaleAbs(cv2.dilate(around, _EDGE)[inner], alpha=_DARK)
    white, dark = (cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB) for mask in (opacity[rows], edge))
    for lines in (dark, white):
        picture = np.asarray(
            cv2.multiply(picture, cv2.bitwise_not(lines), scale=1 / 255), dtype=np.uint8
        )
    return np.asarray(cv2.add(picture, white), dtype=np.uint8)


def _lines(
    heatmap: NDArray[np.floating], highest: float, levels: tuple[float, ...], *, inset: float
) -> list[NDArray[np.int32]]:
    """Closed polygons (corners, 1, 2), x and y in sixteenths of a pixel, `inset` from the border.

    What lies outside the image counts as without heat, so that every line closes.
    """
    height, width = heatmap.shape
    rows, columns = _samples(height, width), _samples(width, width)
    heat = np.pad((heatmap[np.ix_(rows, columns)] / highest).astype(np.float64), 1)
    tracer = contourpy.contour_generator(
        _with_outside(columns), _with_outside(rows), heat, name="serial", line_type="Separate"
    )
    least = heat[1:-1, 1:-1].min()
    last = np.array([width - 1, height - 1])
    lines = []
    for level in levels:
        if least > level:
            continue
        for line in cast(list[NDArray[np.float64]], tracer.lines(level + _ABOVE)):
            inside = np.clip(line, min(inset, last.min() / 2), np.maximum(last - inset, last / 2))
            corners = np.rint(inside * 2**_SHIFT).astype(np.int32)[:, None]
            lines.append(np.asarray(cv2.approxPolyDP(corners, _STRAIGHT * 2**_SHIFT, True)))
    return lines


def _samples(length: int, width: int) -> NDArray[np.intp]:
    """Positions along a side, the first and the last pixel among them."""
    step = max(1, width // _FINEST)
    return np.unique(np.append(np.arange(0, length, step), length - 1))


def _with_outside(positions: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.concatenate([[positions[0] - _OUTSIDE], positions, [positions[-1] + _OUTSIDE]])
