"""Embeddings on a plane, to be looked at: their two principal components."""

import numpy as np
from torch import Tensor

from caf_video.retrieval.index import embedding_rows


def principal_plane(embeddings: Tensor | np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Project embeddings (n, d) onto the two directions in which they vary most (PCA).

    The sign of a direction is that in which its largest weight is positive, so that the same
    embeddings have the same picture everywhere.

    Returns:
        Coordinates around their mean, float64 (n, 2), and the share of the variance that each has;
        zeros where there is no second direction, or nothing varies.

    Raises:
        InputError: A wrong shape or a non-finite embedding.
    """
    rows = embedding_rows(embeddings)
    centered = rows - rows.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centered, full_matrices=False)
    total = (sizes**2).sum()
    plane = np.zeros((len(rows), 2))
    shares = [0.0, 0.0]
    for axis in range(min(2, len(sizes))):
        if total == 0:
            break
        direction = directions[axis]
        sign = np.sign(direction[np.abs(direction).argmax()])
        plane[:, axis] = centered @ direction * sign
        shares[axis] = float(sizes[axis] ** 2 / total)
    return plane, (shares[0], shares[1])
