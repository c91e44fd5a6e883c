"""How good a retrieval is: R@K and the correctness gate, NMI, and the chance level (maths 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from torch import Tensor

from caf_video.errors import InputError
from caf_video.retrieval.index import EmbeddingIndex, embedding_rows

_KMEANS_ITERATIONS = 50
_KMEANS_STARTS = 5  # of which the one with the smallest error is kept


@dataclass(frozen=True)
class RetrievalResult:
    """Which items have an item of their own class among their nearest others.

    A class with one sample has no right answer: its sample is a neighbour, but is not counted.

    Attributes:
        recall: R@K for each K asked for, over the counted items.
        nearest: Position of each item's nearest other, int64, (n,).
        correct: The gate: whether that one is of the same class, bool, (n,).
        counted: Whether the item's class has another sample, bool, (n,).
        per_class: R@1 of each class with two samples or more.
        excluded: How many items are not counted.
    """

    recall: dict[int, float]
    nearest: np.ndarray
    correct: np.ndarray
    counted: np.ndarray
    per_class: dict[str, float]
    excluded: int


def recall_at_k(
    embeddings: Tensor | np.ndarray,
    labels: Sequence[str],
    *,
    ids: Sequence[str] | None = None,
    ks: Sequence[int] = (1, 2, 4, 8),
) -> RetrievalResult:
    """Share of items with one of their class among the K nearest others, by Euclidean distance.

    A K above the number of other items means all of them.

    Args:
        embeddings: (n, d), finite.
        labels: Class of each, (n,).
        ids: Name of each, all different; an item is left out of its own neighbours by it. Without
            names, by its position.

    Raises:
        InputError: A wrong shape, a non-finite embedding, an id twice, a K below 1, or no class
            with two samples.
    """
    codes, classes, counted = _classes(labels)
    if not ks or min(ks) < 1:
        raise InputError(f"recall at {list(ks)}: wanted numbers from 1 on")
    rows = embedding_rows(embeddings, ids)
    _require_one_label_each(rows, codes)
    if ids is None:
        ids = [str(position) for position in range(len(rows))]
    index = EmbeddingIndex(rows, ids)
    deepest = min(max(ks), len(rows) - 1)
    positions = index.search(rows, neighbours=deepest, query_ids=ids).positions
    hits = codes[positions] == codes[:, None]  # (n, deepest)
    return RetrievalResult(
        recall={k: float(hits[counted, :k].any(axis=1).mean()) for k in ks},
        nearest=positions[:, 0],
        correct=hits[:, 0] & counted,
        counted=counted,
        per_class={
            label: float(hits[codes == code, 0].mean())
            for code, label in enumerate(classes)
            if (codes == code).sum() > 1
        },
        excluded=int((~counted).sum()),
    )


def chance_recall(labels: Sequence[str]) -> float:
    """R@1 expected of a random other item: the mean of (class size - 1) / (n - 1), as counted.

    Raises:
        InputError: No class has two samples.
    """
    codes, _, counted = _classes(labels)
    sizes = np.bincount(codes)[codes]
    return float(((sizes[counted] - 1) / (len(codes) - 1)).mean())


def normalized_mutual_information(
    embeddings: Tensor | np.ndarray, labels: Sequence[str], *, seed: int = 0
) -> float:
    """Mutual information of classes and k-means clusters over the root of their entropies' product.

    As many clusters as classes, by faiss: the best of 5 starts of 50 iterations. The mean is the
    geometric one; scikit-learn's default, the arithmetic, gives other numbers.

    Raises:
        InputError: A wrong shape or a non-finite embedding.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    rows = embedding_rows(embeddings)
    _require_one_label_each(rows, codes)
    rows = rows - rows.mean(axis=0)
    rows = (rows / (np.abs(rows).max() or 1.0)).astype(np.float32)
    kmeans = faiss.Kmeans(
        rows.shape[1],
        len(classes),
        niter=_KMEANS_ITERATIONS,
        nredo=_KMEANS_STARTS,
        seed=seed,
        min_points_per_centroid=1,  # no advice on standard error,
        max_points_per_centroid=len(rows),  # and no subsampling
    )
    kmeans.train(rows)
    _, nearest_centroid = kmeans.index.search(rows, 1)
    return _geometric_nmi(codes, nearest_centroid[:, 0])


def _geometric_nmi(one: np.ndarray, other: np.ndarray) -> float:
    counts = np.zeros((one.max() + 1, other.max() + 1), dtype=np.int64)
    np.add.at(counts, (one, other), 1)
    joint = counts / len(one)
    rows, columns = counts.sum(axis=1) / len(one), counts.sum(axis=0) / len(one)
    independent = np.outer(rows, columns)
    seen = counts > 0
    information = (joint[seen] * np.log(joint[seen] / independent[seen])).sum()
    entropies = [-(share[share > 0] * np.log(share[share > 0])).sum() for share in (rows, columns)]
    if max(entropies) == 0:
        return 1.0  # one class and one cluster: the same partition
    if min(entropies) == 0:
        return 0.0
    return float(np.clip(information / np.sqrt(entropies[0] * entropies[1]), 0.0, 1.0))


def _classes(labels: Sequence[str]) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Code of each label (n,), the classes in order, and whose class has another sample (n,)."""
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    counted = np.bincount(codes)[codes] > 1
    if not counted.any():
        raise InputError("no class has two samples: there is no right neighbour to find")
    return codes, [str(label) for label in classes], counted


def _require_one_label_each(rows: np.ndarray, codes: np.ndarray) -> None:
    if len(codes) != len(rows):
        raise InputError(f"{len(codes)} labels for {len(rows)} embeddings")
