"""What every protocol asks of a heatmap, and the scale from its minimum to its maximum."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError


def require_heatmap(heatmap: ArrayLike) -> NDArray[np.floating]:
    """The heatmap as it came: floats (height, width), finite, of any sign.

    Raises:
        InputError: It is not two-dimensional, is empty, holds no floats, or is not finite; the
            message names the first such pixel.
    """
    array = np.asarray(heatmap)
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"heatmap of shape {array.shape}: wanted (height, width)")
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"heatmap of {array.dtype}: wanted floats")
    broken = ~np.isfinite(array)
    if broken.any():
        row, column = np.unravel_index(int(broken.argmax()), array.shape)
        raise InputError(f"heatmap holds {array[row, column]} at row {row}, column {column}")
    return array


def min_max(heatmap: NDArray[np.floating]) -> NDArray[np.float64] | None:
    """The heatmap moved and scaled to [0, 1], in float64; None where it is constant."""
    moved = heatmap.astype(np.float64)
    moved -= moved.min()
    highest = moved.max()
    if highest == 0:
        return None
    moved /= highest
    return moved
