"""How good a retrieval is: R@K and the correctness gate, NMI, and the chance level (maths 3).

Each of them also with *groups*: an item's neighbours are then searched among the items of other
groups alone. Two clips of one drive look alike, whatever happens in them; with the drives as groups
that does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from torch import Tensor

from caf_video.errors import InputError
from caf_video.retrieval.index import EmbeddingIndex, embedding_rows

_KMEANS_ITERATIONS = 50
_KMEANS_STARTS = 5  # of which the one with the smallest error is kept
_MOST_FOLDS = 10  # of groups that are held out together


@dataclass(frozen=True)
class RetrievalResult:
    """Which items have an item of their own class among their nearest others.

    A class with one sample has no right answer: its sample is a neighbour, but is not counted. With
    groups, the other sample must be of another group.

    Attributes:
        recall: R@K for each K asked for, over the counted items.
        nearest: Position of each item's nearest other, int64, (n,); -1 where there is none.
        correct: The gate: whether that one is of the same class, bool, (n,).
        counted: Whether the item's class has another sample, bool, (n,).
        per_class: R@1 of each class with counted items.
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
    groups: Sequence[str] | None = None,
    ks: Sequence[int] = (1, 2, 4, 8),
) -> RetrievalResult:
    """Share of items with one of their class among the K nearest others, by Euclidean distance.

    A K above the number of other items means all of them.

    Args:
        embeddings: (n, d), finite.
        labels: Class of each, (n,).
        ids: Name of each, all different; an item is left out of its own neighbours by it. Without
            names, by its position.
        groups: Of each, (n,): all items of an item's own group are left out of its neighbours.

    Raises:
        InputError: A wrong shape, a non-finite embedding, an id twice, a K below 1, or no class
            with two samples, or none with samples of two groups.
    """
    codes, classes, counted, _ = _classes(labels, groups)
    if not ks or min(ks) < 1:
        raise InputError(f"recall at {list(ks)}: wanted numbers from 1 on")
    rows = embedding_rows(embeddings, ids)
    _require_one_label_each(rows, codes)
    if ids is None:
        ids = [str(position) for position in range(len(rows))]
    positions = _neighbours(rows, ids, groups, min(max(ks), len(rows) - 1))
    hits = (codes[positions] == codes[:, None]) & (positions >= 0)  # (n, deepest)
    return RetrievalResult(
        recall={k: float(hits[counted, :k].any(axis=1).mean()) for k in ks},
        nearest=positions[:, 0],
        correct=hits[:, 0] & counted,
        counted=counted,
        per_class={
            label: float(hits[(codes == code) & counted, 0].mean())
            for code, label in enumerate(classes)
            if ((codes == code) & counted).any()
        },
        excluded=int((~counted).sum()),
    )


@dataclass(frozen=True)
class RankedPrecision:
    """How pure the R nearest others are, R being how many others an item's class has.

    Means over the counted items, as Musgrave et al. (2020) define them.

    Attributes:
        map_at_r: Mean average precision at R: 1/R sum over i <= R of precision at i, where the i-th
            is right.
        r_precision: Share of right ones among the R nearest.
    """

    map_at_r: float
    r_precision: float


def ranked_precision(
    embeddings: Tensor | np.ndarray,
    labels: Sequence[str],
    *,
    ids: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> RankedPrecision:
    """mAP@R and R-precision, by Euclidean distance; arguments and errors as of `recall_at_k`."""
    codes, _, counted, others = _classes(labels, groups)
    rows = embedding_rows(embeddings, ids)
    _require_one_label_each(rows, codes)
    if ids is None:
        ids = [str(position) for position in range(len(rows))]
    deepest = int(others.max())
    positions = _neighbours(rows, ids, groups, deepest)[counted]
    wanted = others[counted]
    rank = np.arange(1, deepest + 1)
    hits = (codes[positions] == codes[counted][:, None]) & (positions >= 0)
    hits &= rank <= wanted[:, None]
    precision = np.cumsum(hits, axis=1) / rank
    return RankedPrecision(
        map_at_r=float(((precision * hits).sum(axis=1) / wanted).mean()),
        r_precision=float((hits.sum(axis=1) / wanted).mean()),
    )


def chance_recall(labels: Sequence[str], *, groups: Sequence[str] | None = None) -> float:
    """R@1 expected of a random other item: the mean of (class size - 1) / (n - 1), as counted.

    With groups, of a random item of another group.

    Raises:
        InputError: No class has two samples, or none has samples of two groups.
    """
    codes, _, counted, others = _classes(labels, groups)
    own_group = np.ones(len(codes), dtype=np.int64)
    if groups is not None:
        _, members, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
        own_group = sizes[members]
    return float((others[counted] / (len(codes) - own_group[counted])).mean())


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
    rows = _scaled(embeddings, codes)
    return _geometric_nmi(codes, _clusters(rows, rows, len(classes), seed)[1])


def nmi_across_groups(
    embeddings: Tensor | np.ndarray,
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> float:
    """NMI of classes and clusters that were found without an item's own group.

    The groups are held out in at most 10 folds. The others of a fold are clustered as
    `normalized_mutual_information` does, each cluster takes the commonest class of its members, and
    what is held out takes that of the nearest cluster. Ours: clusters of single folds have no names
    in common but those of classes.

    Raises:
        InputError: A wrong shape, a non-finite embedding, or one group alone.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise InputError("one group: nothing is left when it is held out")
    rows = _scaled(embeddings, codes)
    folds = members % min(_MOST_FOLDS, len(names))
    found = np.empty(len(rows), dtype=np.int64)
    for fold in np.unique(folds):
        held, others = folds == fold, folds != fold
        count = min(len(classes), int(others.sum()))
        own, nearest = _clusters(rows[others], rows[held], count, seed)
        table = np.zeros((count, len(classes)), dtype=np.int64)
        np.add.at(table, (own, codes[others]), 1)
        found[held] = table.argmax(axis=1)[nearest]
    return _geometric_nmi(codes, found)


def _scaled(embeddings: Tensor | np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Rows in float32, around their mean and not beyond 1, as faiss clusters them well."""
    rows = embedding_rows(embeddings)
    _require_one_label_each(rows, codes)
    rows = rows - rows.mean(axis=0)
    return np.asarray(rows / (np.abs(rows).max() or 1.0), dtype=np.float32)


def _clusters(
    rows: np.ndarray, queries: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each row, and the one nearest to each query."""
    kmeans = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=_KMEANS_ITERATIONS,
        nredo=_KMEANS_STARTS,
        seed=seed,
        min_points_per_centroid=1,  # no advice on standard error,
        max_points_per_centroid=len(rows),  # and no subsampling
    )
    kmeans.train(rows)
    _, own = kmeans.index.search(rows, 1)
    _, nearest = kmeans.index.search(queries, 1)
    return own[:, 0], nearest[:, 0]


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


def _neighbours(
    rows: np.ndarray, ids: Sequence[str], groups: Sequence[str] | None, deepest: int
) -> np.ndarray:
    """Positions of each item's nearest others, (n, deepest); -1 where there are fewer."""
    index = EmbeddingIndex(rows, ids, groups=groups)
    found = index.search(rows, neighbours=deepest, query_ids=ids, query_groups=groups)
    return found.positions


def _classes(
    labels: Sequence[str], groups: Sequence[str] | None
) -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray]:
    """Code of each label (n,), the classes in order, whose class has another sample, how many (n,).

    With groups, another sample is one of another group.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    others = np.bincount(codes)[codes] - 1
    if groups is not None:
        if len(groups) != len(codes):
            raise InputError(f"{len(groups)} groups for {len(codes)} labels")
        names, members = np.unique(np.asarray(groups), return_inverse=True)
        table = np.zeros((len(names), len(classes)), dtype=np.int64)
        np.add.at(table, (members, codes), 1)
        others = np.bincount(codes)[codes] - table[members, codes]
    counted = others > 0
    if not counted.any():
        where = "samples of two groups" if groups is not None else "two samples"
        raise InputError(f"no class has {where}: there is no right neighbour to find")
    return codes, [str(label) for label in classes], counted, others


def _require_one_label_each(rows: np.ndarray, codes: np.ndarray) -> None:
    if len(codes) != len(rows):
        raise InputError(f"{len(codes)} labels for {len(rows)} embeddings")
