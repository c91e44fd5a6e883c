"""Every contour at every level of an 8-bit heatmap, in one pass.

Thresholding and drawing contours level by level takes five times as long. What is done instead:

* The image is cut into *basins*: the pixels from which one climbs to the same top. Above the pass
  between two basins they are different segments, below it they are one: joining basins in the order
  of their passes, the highest first, gives the segments at every level.
* A segment's box is a minimum over its pixels, and the area of its polygon is a sum over them. Both
  are tabled for each basin and level, and the tables are joined where the basins are.
* A hole is a segment of the image turned upside down, with 4 neighbours in place of 8.

A table has a column a level: level t, from 0 to 254, is about the pixels above t.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = 255

_FAR = 2**30  # the minimum over nothing


@dataclass(frozen=True)
class Contours:
    """The contours of one kind at every level; each has its row for as long as it is there.

    Attributes:
        boxes: x, y, x + width, y + height of the rectangle around it, int32, (4, c, 255). Without
            meaning where there is no contour.
        exist: bool, (c, 255).
    """

    boxes: NDArray[np.int32]
    exist: NDArray[np.bool_]


@dataclass(frozen=True)
class _Basins:
    """The basins of an image, numbered.

    Attributes:
        labels: Basin of each pixel, (height, width).
        peaks: Height of each basin's top, 0 to 255, (k,).
        passes: Pairs of basins and the height of the highest pass between them, the highest first.
        boxes: Least x, y, -x and -y of the pixels above each level, int32, (4, k, 255).
    """

    labels: NDArray[np.integer]
    peaks: NDArray[np.int64]
    passes: Iterator[tuple[int, int, int]]
    boxes: NDArray[np.int32]


def outer_contours(heights: NDArray[np.uint16]) -> tuple[Contours, NDArray[np.int64]]:
    """The outlines of the 8-connected segments above each level, and their areas.

    Args:
        heights: (height, width), 0 along all four edges. The upper byte is the 8-bit image; the
            lower one only orders pixels of equal height, which makes basins fewer.

    Returns:
        The contours, and twice the area of each polygon less the holes in it, (c, 255).
    """
    basins = _cut(heights, diagonal=True)
    doubled_areas = _doubled_areas(heights, basins)
    exist = _join(basins, (basins.boxes, np.minimum), (doubled_areas, np.add))
    x, y, minus_x, minus_y = basins.boxes
    return Contours(np.stack([x, y, 1 - minus_x, 1 - minus_y]), exist), doubled_areas


def hole_contours(heights: NDArray[np.uint16]) -> Contours:
    """The outlines of the holes: of what is 4-connected, not above the level, and enclosed.

    They run through the pixels around the hole: their boxes are wider by one on every side.

    Args:
        heights: As for `outer_contours`.
    """
    basins = _cut(~heights, diagonal=False)
    outside = np.zeros(len(basins.peaks), dtype=bool)
    outside[basins.labels[:, 0]] = True  # with the other edges, which are of the same runs
    basins.peaks[outside] = LEVELS + 1  # above all others: what it meets becomes part of it
    exist = _join(basins, (basins.boxes, np.minimum)) & ~outside[:, None]
    # Not above t is, upside down, 255 - value > 254 - t.
    x, y, minus_x, minus_y = basins.boxes[..., ::-1]
    return Contours(np.stack([x - 1, y - 1, 2 - minus_x, 2 - minus_y]), exist[:, ::-1])


def _join(basins: _Basins, *tables: tuple[NDArray, np.ufunc]) -> NDArray[np.bool_]:
    """Join each table's rows, in place, where basins join; whether a segment is there, (k, 255).

    A segment has the row of its highest basin: of two that meet, the lower one's row ends.
    """
    peaks = basins.peaks.tolist()
    into = list(range(len(peaks)))  # a forest: the basin that each was joined to

    def segment(basin: int) -> int:
        while into[basin] != basin:
            into[basin] = into[into[basin]]
            basin = into[basin]
        return basin

    met = np.zeros(len(peaks), dtype=np.int64)  # the level from which down a row is part of another
    for one, other, height in basins.passes:
        kept, joined = segment(one), segment(other)
        if kept == joined:
            continue
        if peaks[kept] < peaks[joined]:
            kept, joined = joined, kept
        into[joined], met[joined] = kept, height
        for table, combine in tables:
            below = table[..., kept, :height]
            combine(below, table[..., joined, :height], out=below)
    levels = np.arange(LEVELS)
    return (met[:, None] <= levels) & (levels < basins.peaks[:, None])


def _cut(heights: NDArray[np.uint16], *, diagonal: bool) -> _Basins:
    """Cut into basins, of 8-connected pixels or of 4-connected ones.

    First along the rows: a *run* rises to its top and falls from it. Then the runs are linked: each
    one's top climbs on to its highest neighbour, if that is higher, and so into another run. Of
    equal heights the later pixel is the higher one.

    Rows follow each other without a break, so that a run, a pass or a neighbour can reach around
    the image's edges. It does so through the pixels along them only. Those are 0, which is above no
    level; upside down they are the outside, which is one.
    """
    flat = heights.ravel()
    rows, width = heights.shape
    rising = flat[1:] >= flat[:-1]  # to the next pixel
    starts = np.concatenate([[0], np.flatnonzero(rising[1:] > rising[:-1]) + 1])
    ends = np.concatenate([[True], rising, [False]])
    tops = np.flatnonzero(ends[:-1] > ends[1:])  # one a run: (r,)

    steps = [-width, width]
    if diagonal:
        steps += [-width - 1, -width + 1, width - 1, width + 1]
    near = (np.array(steps)[:, None] + tops).clip(0, len(flat) - 1)
    ranks = flat[near].astype(np.int64) * len(flat) + near  # (neighbours, r)
    highest = ranks.max(axis=0)
    climbs = highest > flat[tops].astype(np.int64) * len(flat) + tops
    runs = np.arange(len(tops))
    up = np.where(climbs, np.searchsorted(starts, highest % len(flat), side="right") - 1, runs)
    while True:
        further = up[up]
        if np.array_equal(further, up):
            break
        up = further
    summits, basin_of_run = np.unique(up, return_inverse=True)

    small = np.uint8 if len(summits) <= 256 else np.int32  # a byte makes the passes below faster
    basin_of_run = basin_of_run.astype(small)
    labels = np.repeat(basin_of_run, np.diff(starts, append=len(flat)))
    image = (flat >> 8).astype(np.uint8)
    boxes = np.full((4, len(summits), LEVELS + 1), _FAR, dtype=np.int32)  # by value, at first
    _note(boxes[1::2], basin_of_run, image[tops], tops // width)
    _note(boxes[::2], *_columns(labels.reshape(rows, width), image.reshape(rows, width)))
    falling = boxes[..., :0:-1]
    return _Basins(
        labels=labels.reshape(rows, width),
        peaks=image[tops[summits]].astype(np.int64),
        passes=_passes(image, labels, width, basin_of_run, starts, diagonal=diagonal),
        boxes=np.minimum.accumulate(falling, axis=-1)[..., ::-1],
    )


def _note(
    least: NDArray[np.int32],
    basins: NDArray[np.integer],
    values: NDArray[np.uint8],
    places: NDArray[np.intp],
) -> None:
    """Lower least[0, basin, value] to the place, and least[1, basin, value] to minus the place."""
    places = places.astype(np.int32)
    np.minimum.at(least[0], (basins, values), places)
    np.minimum.at(least[1], (basins, values), -places)


def _columns(
    labels: NDArray[np.integer], image: NDArray[np.uint8]
) -> tuple[NDArray[np.integer], NDArray[np.uint8], NDArray[np.intp]]:
    """Each stretch of one basin in a column: the basin, its highest value there, the column."""
    rows = len(image)
    basins: NDArray = cv2.transpose(labels).ravel()  # five times as fast as numpy's copy
    values: NDArray = cv2.transpose(image).ravel()
    new = np.concatenate([[True], basins[1:] != basins[:-1]])
    new[::rows] = True
    starts = np.flatnonzero(new)
    return basins[starts], np.maximum.reduceat(values, starts), starts // rows


def _passes(
    image: NDArray[np.uint8],
    labels: NDArray[np.integer],
    width: int,
    basin_of_run: NDArray[np.integer],
    starts: NDArray[np.intp],
    *,
    diagonal: bool,
) -> Iterator[tuple[int, int, int]]:
    """The highest pass between every two basins that touch: the lower one of two neighbours."""
    # In a row the pass is the first pixel of the next run; between rows it is where labels change.
    ones, others, heights = [basin_of_run[:-1]], [basin_of_run[1:]], [image[starts[1:]]]
    for step in (width - 1, width, width + 1) if diagonal else (width,):
        at = np.flatnonzero(labels[:-step] != labels[step:])
        ones.append(labels[at])
        others.append(labels[at + step])
        heights.append(np.minimum(image[at], image[at + step]))
    one, other = np.concatenate(ones).astype(np.int64), np.concatenate(others).astype(np.int64)
    count = int(basin_of_run.max()) + 1
    pairs = np.minimum(one, other) * count + np.maximum(one, other)
    # One number holds pair and height, so that sorting puts each pair's highest pass last.
    sorted_passes = np.sort(pairs * 256 + np.concatenate(heights))
    pairs, height = np.divmod(sorted_passes, 256)
    highest = np.flatnonzero(np.append(pairs[1:] != pairs[:-1], True) & (height > 0))
    order = highest[np.argsort(-height[highest], kind="stable")]
    one, other = np.divmod(pairs[order], count)
    return zip(one.tolist(), other.tolist(), height[order].tolist(), strict=True)


def _doubled_areas(heights: NDArray[np.uint16], basins: _Basins) -> NDArray[np.int64]:
    """Twice the area of the polygon through the outermost pixels above each level, (k, 255).

    Of the square between four pixels' centres it holds all where all four are above the level, and
    half where three are: one half for each of the two lowest of the four, then.
    """
    image = (heights >> 8).astype(np.uint8)
    upper = image[:-1, :-1], image[:-1, 1:]
    lower = image[1:, :-1], image[1:, 1:]
    low = np.minimum(*upper), np.minimum(*lower)
    high = np.maximum(*upper), np.maximum(*lower)
    lowest = np.minimum(*low)
    second = np.minimum(np.maximum(*low), np.minimum(*high))
    # Three of the four are not below `second`, and those are of one segment while it is above.
    basin = np.where(upper[0] >= second, basins.labels[:-1, :-1], basins.labels[:-1, 1:])
    size = len(basins.peaks) * 256
    rows: NDArray = basin.astype(np.uint16 if size <= 2**16 else np.int64)
    rows <<= 8
    halves = np.bincount((rows | lowest).ravel(), minlength=size)
    halves += np.bincount((rows | second).ravel(), minlength=size)
    return np.cumsum(halves.reshape(-1, 256)[:, :0:-1], axis=1)[:, ::-1]
