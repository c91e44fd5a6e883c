"""Exact nearest neighbours of embeddings, never the query itself, nor, if asked, its session."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from torch import Tensor

from caf_video.errors import InputError

_SPARE_CANDIDATES = 8  # faiss is asked for a few more, so that ties are seen to be complete
_CHUNK_VALUES = 1 << 22  # float64 values gathered at once: 32 MiB


@dataclass(frozen=True)
class Neighbours:
    """The nearest items of each query, nearest first; equally near ones in the order of the index.

    Attributes:
        positions: Their positions in the index, int64, (q, k); -1 where a query whose group is left
            out has fewer neighbours.
        distances: Euclidean, float64, (q, k); there infinite.
    """

    positions: np.ndarray
    distances: np.ndarray


class EmbeddingIndex:
    """Exact search by Euclidean distance among embeddings (n, d) (maths 3).

    faiss finds candidates in float32, with the mean subtracted: on large batches it expands the
    square, and a common offset would drown the differences. The candidates are put in order by
    their distances in float64, and more are asked for where rounding could have hidden one. So the
    answer is that of brute force in float64, and a tie goes to the item that comes first.

    Args:
        embeddings: One a row, tensor or array (n, d), finite.
        ids: The items' names, all different; without them no item can be left out of a search.
        groups: What each item belongs to, its session; without them no group can be left out.

    Raises:
        InputError: A wrong shape, an id twice, or a non-finite embedding; names the item.
    """

    def __init__(
        self,
        embeddings: Tensor | np.ndarray,
        ids: Sequence[str] | None = None,
        *,
        groups: Sequence[str] | None = None,
    ) -> None:
        points = embedding_rows(embeddings, ids)
        if not len(points):
            raise InputError("no embedding to search among")
        self.ids = None if ids is None else list(ids)
        self._position = {name: position for position, name in enumerate(self.ids or ())}
        if len(self._position) < len(self.ids or ()):
            twice = next(name for name in self.ids or () if (self.ids or ()).count(name) > 1)
            raise InputError(f"item {twice!r} is there twice: keep one embedding of each item")
        if groups is not None and len(groups) != len(points):
            raise InputError(f"{len(groups)} groups for embeddings of {len(points)} items")
        self._code_of_group = {name: code for code, name in enumerate(dict.fromkeys(groups or ()))}
        self._groups = None if groups is None else self._codes(groups)
        if len(points) > 1 and (points == points[0]).all():
            warnings.warn(
                f"all {len(points)} embeddings are equal: their neighbours mean nothing",
                stacklevel=2,
            )
        self._points = points
        self._mean = points.mean(axis=0)
        self._scale = np.abs(points - self._mean).max() or 1.0  # float32 must not overflow
        self._largest = np.linalg.norm(self._centered(points), axis=1).max()
        self._index = faiss.IndexFlatL2(points.shape[1])
        self._index.add(self._centered(points).astype(np.float32))

    def __len__(self) -> int:
        return len(self._points)

    def _centered(self, rows: np.ndarray) -> np.ndarray:
        return (rows - self._mean) / self._scale

    def search(
        self,
        queries: Tensor | np.ndarray,
        *,
        neighbours: int,
        query_ids: Sequence[str] | None = None,
        query_groups: Sequence[str] | None = None,
    ) -> Neighbours:
        """Find the nearest items of each query (q, d), leaving out the item of the query's own id.

        With `query_groups` all items of the query's own group are left out too. An id or a group
        that the index does not have leaves nothing out.

        Raises:
            InputError: A wrong shape or a non-finite query; ids or groups for an index without; or
                more neighbours than there are other items.
        """
        rows = embedding_rows(queries, query_ids, name="query")
        count, width = self._points.shape
        if rows.shape[1] != width:
            raise InputError(f"queries of {rows.shape[1]} dimensions, an index of {width}")
        own = np.full(len(rows), -1)
        if query_ids is not None:
            if self.ids is None:
                raise InputError("queries have ids, but the items of the index have none")
            own = np.array([self._position.get(name, -1) for name in query_ids], dtype=np.int64)
        own_group = np.full(len(rows), -1)
        if query_groups is not None:
            if self._groups is None:
                raise InputError("queries have groups, but the items of the index have none")
            own_group = self._codes(query_groups)
        others = count - int((own >= 0).any())
        if not 1 <= neighbours <= others:
            raise InputError(f"{neighbours} neighbours of {others} other items in the index")

        positions = np.empty((len(rows), neighbours), dtype=np.int64)
        squared = np.empty((len(rows), neighbours))
        pending = np.arange(len(rows))
        asked = neighbours + 1 + _SPARE_CANDIDATES
        while len(pending):
            asked = min(asked, count)
            step = max(1, _CHUNK_VALUES // (asked * width))
            unsettled = []
            for begin in range(0, len(pending), step):
                chunk = pending[begin : begin + step]
                found, distances, settled = self._nearest(
                    rows[chunk], own[chunk], own_group[chunk], asked, neighbours
                )
                positions[chunk], squared[chunk] = found, distances
                unsettled.append(chunk[~settled])
            pending = np.concatenate(unsettled)
            asked *= 4
        return Neighbours(positions, np.sqrt(squared))

    def _codes(self, groups: Sequence[str]) -> np.ndarray:
        return np.array([self._code_of_group.get(name, -1) for name in groups], dtype=np.int64)

    def _nearest(
        self,
        rows: np.ndarray,
        own: np.ndarray,
        own_group: np.ndarray,
        asked: int,
        neighbours: int,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Order `asked` candidates exactly; also say for which rows none can be missing."""
        if asked == len(self):
            candidates = np.broadcast_to(np.arange(len(self)), (len(rows), len(self)))
            farthest = np.full(len(rows), np.inf)
        else:
            centered = self._centered(rows)
            with np.errstate(over="ignore"):
                approximate, candidates = self._index.search(centered.astype(np.float32), asked)
            # |x|² + |y|² - 2xy in float32 is off by at most this (d products, each rounded twice).
            norms = np.linalg.norm(centered, axis=1) + self._largest
            rounding = (rows.shape[1] + 4) * np.finfo(np.float32).eps * norms**2
            # A query too far away for float32 has no approximation.
            finite = np.isfinite(approximate[:, -1])
            farthest = np.where(finite, approximate[:, -1] - rounding, -np.inf) * self._scale**2
        squared = ((self._points[candidates] - rows[:, None]) ** 2).sum(axis=2)
        squared[candidates == own[:, None]] = np.inf
        if self._groups is not None:
            squared[self._groups[candidates] == own_group[:, None]] = np.inf
        order = np.lexsort((candidates, squared), axis=-1)[:, :neighbours]
        squared = np.take_along_axis(squared, order, axis=1)
        found = np.take_along_axis(candidates, order, axis=1)
        settled = (squared[:, -1] < farthest) | (asked == len(self))
        return np.where(np.isfinite(squared), found, -1), squared, settled


def embedding_rows(
    embeddings: Tensor | np.ndarray, ids: Sequence[str] | None = None, *, name: str = "embedding"
) -> np.ndarray:
    """Embeddings as float64 rows (n, d).

    Raises:
        InputError: They are not (n, d), not as many as the ids, or one is not finite: names it.
    """
    if isinstance(embeddings, Tensor):
        embeddings = embeddings.detach().cpu().double().numpy()
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InputError(f"{name} of shape {rows.shape}: wanted (items, dimensions)")
    if ids is not None and len(ids) != len(rows):
        raise InputError(f"{len(ids)} ids for {name} of {len(rows)} items")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        which = f"{bad[0]}" if ids is None else f"of {ids[bad[0]]!r}"
        value = rows[bad[0]][~np.isfinite(rows[bad[0]])][0]
        raise InputError(f"{name} {which} holds {value} ({len(bad)} of {len(rows)} are not finite)")
    return rows
