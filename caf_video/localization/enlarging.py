"""From the network's grid to the pixels of a protocol's view: each published program has its way.

It shows: accuracies move by one or two points between linear and cubic (maths 4). What each code
does before it scales the map:

* `adl`: cv2.resize as it comes, linear, from the grid to 224 x 224.
* `maxboxacc`, `maxboxacc_v2`, `pxap`: cv2.resize with INTER_CUBIC, in float64.
* `cam`: MATLAB's imresize as it comes, cubic, twice: from the grid to the network's input, and from
  there to the image. (Between the two it averages ten crops; here the whole image is shown.)
"""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Size = tuple[int, int]  # height, width

# Of a grid (h, w), the size of the view and that of the network's input: the map (height, width).
Enlarge = Callable[[ArrayLike, Size, Size], NDArray[np.floating]]

_KERNEL_WIDTH = 4.0  # of the cubic


def linearly(grid: ArrayLike, size: Size, shown: Size) -> NDArray[np.float32]:
    """Linear in one step, whatever was shown, float32.

    Corners are not aligned, as in `torch.nn.functional.interpolate`, which gives the same.
    """
    cells = np.ascontiguousarray(grid, dtype=np.float32)
    height, width = size
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR))


def cubically(grid: ArrayLike, size: Size, shown: Size) -> NDArray[np.float64]:
    """OpenCV's cubic (a = -0.75) in one step, whatever was shown, float64."""
    cells = np.ascontiguousarray(grid, dtype=np.float64)
    height, width = size
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC))


def cubically_twice(grid: ArrayLike, size: Size, shown: Size) -> NDArray[np.float64]:
    """MATLAB's cubic (a = -0.5) to the network's input and on to the view, float64."""
    cells = np.asarray(grid, dtype=np.float64)
    down, across = (
        _resize_matrix(shown[axis], size[axis]) @ _resize_matrix(cells.shape[axis], shown[axis])
        for axis in (0, 1)
    )
    return np.asarray(down @ cells @ across.T)


@lru_cache(maxsize=64)
def _resize_matrix(length: int, wanted: int) -> NDArray[np.float64]:
    """What MATLAB's imresize multiplies a column of `length` by, (wanted, length).

    Each pixel is a mean of its neighbours, weighted by the cubic; where the image shrinks the
    cubic is stretched (antialiasing). Beyond the edge the image is mirrored.
    """
    scale = wanted / length
    stretch = min(scale, 1.0)
    width = _KERNEL_WIDTH / stretch
    centers = (np.arange(wanted) + 0.5) / scale - 0.5
    first = np.floor(centers - width / 2).astype(int) + 1
    neighbours = first[:, None] + np.arange(int(np.ceil(width)) + 1)
    weights = _cubic(stretch * (centers[:, None] - neighbours))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    matrix = np.zeros((wanted, length))
    rows = np.broadcast_to(np.arange(wanted)[:, None], neighbours.shape)
    np.add.at(matrix, (rows, mirrored[neighbours % (2 * length)]), weights)
    return matrix


def _cubic(offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel of Keys (1981) with a = -0.5."""
    x = np.abs(offsets)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
