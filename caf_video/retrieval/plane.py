"""Embeddings on a plane, to be looked at: two principal components, or neighbours kept near."""

from typing import Any

import numpy as np
from torch import Tensor

from caf_video.errors import InputError
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


PERPLEXITY = 30.0  # about how many neighbours of each are kept near

_START = 1e-4  # the spread of the start, as that of scikit-learn's own from PCA


def require_tsne() -> Any:
    """scikit-learn's t-SNE.

    Raises:
        InputError: It is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise InputError(
            "t-SNE needs scikit-learn, which is not installed: pip install 'caf_video[maps]'"
        ) from error
    return TSNE


def neighbor_plane(embeddings: Tensor | np.ndarray) -> np.ndarray:
    """Lay embeddings (n, d) out so that neighbours stay neighbours: t-SNE.

    It starts from the two principal components and a fixed seed: the same embeddings have the same
    picture. How far clusters lie apart, and how large they are, says nothing. Of few, the
    perplexity is a third of the others.

    Source: van der Maaten and Hinton, JMLR 9, 2008; the start: Kobak and Berens, Nature
    Communications 10, 2019.

    Returns:
        Coordinates, float64 (n, 2).

    Raises:
        InputError: A wrong shape, a non-finite embedding, or no scikit-learn.
    """
    tsne = require_tsne()
    rows = embedding_rows(embeddings)
    start, _ = principal_plane(rows)
    spread = start[:, 0].std()
    if len(rows) < 2 or spread == 0:
        return start
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    made = tsne(perplexity=perplexity, init=(start / spread * _START).astype(np.float32),
                random_state=0)  # fmt: skip
    return np.asarray(made.fit_transform(rows.astype(np.float32)), np.float64)
