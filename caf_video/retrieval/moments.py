"""The best moments of many drives: overlapping windows count once."""

from collections.abc import Sequence

import numpy as np

from caf_video.errors import InputError

_SAME_MOMENT = 1e-6  # seconds that two moments may share by rounding


def distances_to(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Euclidean distance of every row (n, d) to the query (d,), float64 (n,).

    Raises:
        InputError: The query has other dimensions than the rows.
    """
    if query.shape != rows.shape[1:]:
        raise InputError(f"a query of shape {query.shape}, an index of {rows.shape[1:]}")
    distances = np.empty(len(rows))
    step = max(1, (1 << 21) // max(1, rows.shape[1]))  # float64 in 16 MiB
    for first in range(0, len(rows), step):
        difference = rows[first : first + step].astype(np.float64) - query
        distances[first : first + step] = np.sqrt((difference**2).sum(axis=1))
    return distances


def best_moments(
    distances: np.ndarray,
    videos: Sequence[int] | np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    *,
    top: int,
    leave_out: np.ndarray | None = None,
) -> np.ndarray:
    """The nearest moments, none of which overlaps with a nearer one of the same video.

    Non-maximum suppression in time: the nearest is taken, all that share time with it are struck
    out, and so on. Of equally near ones the first counts.

    Args:
        distances: Of each moment to the query, (n,).
        videos: Which video each is of, (n,).
        starts, ends: Of each, in seconds of its video, (n,); an end may be infinite.
        top: How many are wanted.
        leave_out: Which are not to be found, bool (n,).

    Returns:
        Positions, nearest first, int64; fewer than `top` where there are no more.

    Raises:
        InputError: `top` is below 1.
    """
    if top < 1:
        raise InputError(f"the {top} best moments: wanted 1 or more")
    videos = np.asarray(videos)
    open_still = np.ones(len(distances), bool) if leave_out is None else ~leave_out
    order = np.argsort(distances, kind="stable")
    found: list[int] = []
    for position in order:
        if not open_still[position]:
            continue
        found.append(int(position))
        if len(found) == top:
            break
        shared = np.minimum(ends, ends[position]) - np.maximum(starts, starts[position])
        open_still &= ~((videos == videos[position]) & (shared > _SAME_MOMENT))
    return np.array(found, dtype=np.int64)
