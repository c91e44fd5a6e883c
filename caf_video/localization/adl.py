"""The `adl` protocol: the evaluator released with ADL (Choe & Shim 2019), used in Table 2.

It paints the map, scaled from its minimum to its maximum, in matplotlib's "cubehelix" colours,
turns the picture to 8-bit grey, keeps what is above int(0.2 * the brightest grey), and draws
contours. Those colours get brighter all along the scale but for rounding, and the greys above
int(0.2 * 255) = 51 are those of the colours from 52 to 255 of 256: the whole path is one comparison
with 52/256 of the scale.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.localization.contours import largest_contour
from caf_video.localization.heatmaps import min_max, require_heatmap

CUT = 52 / 256  # of the way from the minimum to the maximum
_NO_CONTOUR = (0, 0, 1, 1)


def adl_box(heatmap: ArrayLike) -> NDArray[np.float64]:
    """The box of a heatmap (height, width) under the protocol `adl`, (1, 4).

    The corners are x, y, x + width, y + height of the largest contour (`largest_contour`). A
    constant map, zeros included, gives (0, 0, 1, 1): the published code divides 0 by 0 there,
    paints every pixel black, finds no contour, and has this answer for that case. A negative value
    is a value as any other: the scale starts at the lowest.

    Raises:
        InputError: The heatmap is not (height, width), not of floats, or not finite.
    """
    scaled = min_max(require_heatmap(heatmap))
    if scaled is None:
        return np.array([_NO_CONTOUR], dtype=np.float64)
    return np.array(largest_contour((scaled >= CUT).view(np.uint8)), dtype=np.float64)
