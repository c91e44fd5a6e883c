"""How good a retrieval is: R@K and the correctness gate, NMI, and the chance level (maths 3).

Each of them also with *groups*: an item's neighbours are then searched among the items of other
groups alone. Two clips of one drive look alike, whatever happens in them; with the drives as groups
that does not count. And R@K, mAP@R and chance also with a *gallery*: the items are then queries,
whose neighbours are searched among those of the gallery alone, and not among one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
from torch import Tensor

from caf_video.errors import InputError
from caf_video.retrieval.index import EmbeddingIndex, embedding_rows

_KMEANS_ITERATIONS = 50
_KMEANS_STARTS = 5  # of which the one with the smallest error is kept
_MOST_FOLDS = 10  # of groups that are held out together
_VALUES_AT_ONCE = 1 << 22  # ranks of items: of each rank some numbers of 8 bytes are held


@dataclass(frozen=True)
class Gallery:
    """What queries are searched in.

    Attributes:
        embeddings: (m, d), finite.
        labels: Class of each, (m,).
        ids: Name of each, all different: a query is never its own neighbour. None: no query is one
            of the gallery.
        groups: Of each, (m,), where the queries have groups.
    """

    embeddings: Tensor | np.ndarray
    labels: Sequence[str]
    ids: Sequence[str] | None = None
    groups: Sequence[str] | None = None


@dataclass(frozen=True)
class RetrievalResult:
    """Which items have an item of their own class among their nearest others.

    A class with one sample has no right answer: its sample is a neighbour, but is not counted. With
    groups, the other sample must be of another group; with a gallery, it must be there.

    Attributes:
        recall: R@K for each K asked for, over the counted items.
        nearest: Position of each item's nearest other, in the gallery if there is one, int64, (n,);
            -1 where there is none.
        correct: The gate: whether that one is of the same class, bool, (n,).
        counted: Whether there is another sample of the item's class to find, bool, (n,).
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
    gallery: Gallery | None = None,
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
        gallery: Where to search; None: among the items themselves.

    Raises:
        InputError: A wrong shape, a non-finite embedding, an id twice, a K below 1, or no class
            with two samples, or none with samples of two groups, or none in the gallery.
    """
    sought = _sought(embeddings, labels, ids, groups, gallery)
    if not ks or min(ks) < 1:
        raise InputError(f"recall at {list(ks)}: wanted numbers from 1 on")
    codes, counted = sought.codes, sought.counted
    positions, hits = sought.search(max(ks))
    return RetrievalResult(
        recall={k: float(hits[counted, :k].any(axis=1).mean()) for k in ks},
        nearest=positions[:, 0],
        correct=hits[:, 0] & counted,
        counted=counted,
        per_class={
            label: float(hits[(codes == code) & counted, 0].mean())
            for code, label in enumerate(sought.classes)
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
    gallery: Gallery | None = None,
) -> RankedPrecision:
    """mAP@R and R-precision, by Euclidean distance; arguments and errors as of `recall_at_k`."""
    sought = _sought(embeddings, labels, ids, groups, gallery)
    deepest = int(sought.others.max())
    rank = np.arange(1, deepest + 1)
    average_precision, r_precision = np.zeros((2, len(sought.rows)))
    # All items by all ranks would be the square of their number, in classes of any share of them.
    step = max(1, _VALUES_AT_ONCE // deepest)
    for first in range(0, len(sought.rows), step):
        some = slice(first, first + step)
        _, hits = sought.search(deepest, some)
        wanted = sought.others[some]
        hits &= rank <= wanted[:, None]
        precision = np.cumsum(hits, axis=1) / rank
        average_precision[some] = (precision * hits).sum(axis=1) / np.maximum(wanted, 1)
        r_precision[some] = hits.sum(axis=1) / np.maximum(wanted, 1)
    counted = sought.counted
    return RankedPrecision(
        map_at_r=float(average_precision[counted].mean()),
        r_precision=float(r_precision[counted].mean()),
    )


def chance_recall(
    labels: Sequence[str],
    *,
    ids: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    gallery: Gallery | None = None,
) -> float:
    """R@1 expected of a random other item: the mean of (class size - 1) / (n - 1), as counted.

    With groups, of a random item of another group; with a gallery, of a random item of it.

    Raises:
        InputError: No class has two samples, or none has samples of two groups, or none has one in
            the gallery.
    """
    relevance = _relevance(labels, ids, groups, gallery)
    counted = relevance.counted
    return float((relevance.others[counted] / relevance.searched[counted]).mean())


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


@dataclass(frozen=True)
class _Relevance:
    """What is right for each of n items, where it is searched.

    Attributes:
        codes: Of each label, (n,), and those of what is searched, (m,).
        gallery_codes: Of the labels of what is searched, (m,).
        classes: The labels by code.
        others: How many items are right, (n,).
        searched: Among how many, (n,).
    """

    codes: np.ndarray
    gallery_codes: np.ndarray
    classes: list[str]
    others: np.ndarray
    searched: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        return self.others > 0


@dataclass(frozen=True)
class _Sought(_Relevance):
    """Items and where they are searched."""

    rows: np.ndarray
    ids: Sequence[str] | None
    groups: Sequence[str] | None
    gallery: EmbeddingIndex

    def search(self, deepest: int, some: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the nearest others (n, k), -1 where there are fewer; which are right.

        Of all items, or of some.
        """
        found = self.gallery.search(
            self.rows[some],
            neighbours=min(deepest, self._at_most),
            query_ids=self.ids[some] if self.ids and self.gallery.ids is not None else None,
            query_groups=None if self.groups is None else self.groups[some],
        )
        positions = found.positions
        hits = (self.gallery_codes[positions] == self.codes[some, None]) & (positions >= 0)
        return positions, hits

    @cached_property
    def _at_most(self) -> int:
        """How many neighbours the index finds for every item, whose own one is left out."""
        inside = self.gallery.ids is not None and not set(self.gallery.ids).isdisjoint(
            self.ids or ()
        )
        return len(self.gallery) - inside


def _sought(
    embeddings: Tensor | np.ndarray,
    labels: Sequence[str],
    ids: Sequence[str] | None,
    groups: Sequence[str] | None,
    gallery: Gallery | None,
) -> _Sought:
    relevance = _relevance(labels, ids, groups, gallery)
    rows = embedding_rows(embeddings, ids)
    _require_one_label_each(rows, relevance.codes)
    if gallery is None and ids is None:
        ids = [str(position) for position in range(len(rows))]
    searched = gallery or Gallery(rows, labels, ids, groups)
    points = embedding_rows(searched.embeddings, searched.ids)
    _require_one_label_each(points, relevance.gallery_codes)
    index = EmbeddingIndex(points, searched.ids, groups=searched.groups)
    return _Sought(**vars(relevance), rows=rows, ids=ids, groups=groups, gallery=index)


def _relevance(
    labels: Sequence[str],
    ids: Sequence[str] | None,
    groups: Sequence[str] | None,
    gallery: Gallery | None,
) -> _Relevance:
    """Of items that are searched among one another, if there is no gallery.

    Never an item itself, nor with groups one of its own group.
    """
    if groups is not None and len(groups) != len(labels):
        raise InputError(f"{len(groups)} groups for {len(labels)} labels")
    if gallery is not None and (groups is None) != (gallery.groups is None):
        raise InputError("either both queries and gallery have groups, or neither")
    there = labels if gallery is None else gallery.labels
    classes, both = np.unique(np.asarray([*labels, *there]), return_inverse=True)
    codes, gallery_codes = both[: len(labels)], both[len(labels) :]
    own = np.arange(len(labels))
    if gallery is not None:
        position = {name: place for place, name in enumerate(gallery.ids or ())}
        own = np.array([position.get(name, -1) for name in ids or ["\0"] * len(labels)], np.int64)
    others = np.bincount(gallery_codes, minlength=len(classes))[codes]
    searched = np.full(len(codes), len(gallery_codes))
    apart = own >= 0  # whose own one is yet to be left out
    if groups is not None:
        places = list(groups if gallery is None else gallery.groups or ())
        names, members = np.unique(np.asarray([*groups, *places]), return_inverse=True)
        mine, theirs = members[: len(codes)], members[len(codes) :]
        table = np.zeros((len(names), len(classes)), dtype=np.int64)
        np.add.at(table, (theirs, gallery_codes), 1)
        others = others - table[mine, codes]
        searched = searched - table.sum(axis=1)[mine]
        apart &= theirs[own] != mine
    others = others - (apart & (gallery_codes[own] == codes))
    searched = searched - apart
    if not (others > 0).any():
        what = "samples of two groups" if groups is not None else "two samples"
        if gallery is not None:
            other = "of another group " if groups is not None else ""
            what = f"a query and another sample {other}in the gallery"
        raise InputError(f"no class has {what}: there is no right neighbour to find")
    return _Relevance(codes, gallery_codes, [str(label) for label in classes], others, searched)


def _require_one_label_each(rows: np.ndarray, codes: np.ndarray) -> None:
    if len(codes) != len(rows):
        raise InputError(f"{len(codes)} labels for {len(rows)} embeddings")
