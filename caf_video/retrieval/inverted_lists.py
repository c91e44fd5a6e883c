"""Approximate nearest neighbours by inverted lists, which say how often they miss an exact one.

Jégou et al., Product quantization for nearest neighbor search, 2011, as faiss has it: k-means
divides the vectors among lists, and a search looks into the few lists nearest to the query. Lists
hold the vectors as they are (`ivf_flat`), in a byte a dimension (`ivf_sq8`), or product quantised,
a byte for four dimensions (`ivf_pq`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from caf_video.errors import InputError

APPROXIMATE = ("ivf_flat", "ivf_sq8", "ivf_pq")
CANDIDATES = 10  # asked for each neighbour that is wanted: the exact distances then choose
_POINTS_A_CENTROID = 39  # faiss warns below
_LEAST_LISTS = 16
_PQ_CENTROIDS = 256  # of a code of 8 bits
_SAMPLE_A_CENTROID = 64  # points that train it; faiss takes up to 256, which moves recall little
_HELD_OUT = 400  # queries: half of them choose how many lists to look into, half measure
_WANTED_RECALL = 0.95
_AS_GOOD = 0.005  # of recall: less is not worth twice the lists
_MOST_LISTS = 8  # of so many lists, one is looked into at most, or little is won
_AT_ONCE = 1 << 16  # vectors

_faiss: Any = faiss  # its stubs do not know what its wrappers take

Blocks = Callable[[], Iterator[np.ndarray]]
"""Passes over the vectors, float32 (n, d) in all, some rows at a time, the same in every pass."""


@dataclass(frozen=True)
class Built:
    """How good an index is.

    Attributes:
        vectors: In it.
        lists: It is divided into.
        probes: Lists that a search looks into.
        queries: That recall was measured with: vectors that were not in the index then.
        recall_at_1: Share of them whose nearest neighbour is among the candidates.
        recall_at_10: Share of their ten nearest that are.
    """

    vectors: int
    lists: int
    probes: int
    queries: int
    recall_at_1: float
    recall_at_10: float


class InvertedLists:
    """Candidates for the nearest neighbours among many vectors. Made by `build` or `open`."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, kind: str, blocks: Blocks, *, seed: int = 0) -> tuple[Self, Built]:
        """Divide vectors among lists, and measure what searches among them miss.

        Only a sample of the vectors and one block are held beside the index. Queries to measure
        with are vectors that are added after they have measured; equally near ones count as
        different, so that recall is, if anything, better than what is told.

        Raises:
            InputError: There is no such kind, or too few vectors for it.
        """
        if kind not in APPROXIMATE:
            raise InputError(f"no kind {kind!r} of index: choose flat or {', '.join(APPROXIMATE)}")
        sizes = [block.shape for block in blocks()]
        count = sum(rows for rows, _ in sizes)
        least = _POINTS_A_CENTROID * (_PQ_CENTROIDS if kind == "ivf_pq" else _LEAST_LISTS)
        held_out = min(_HELD_OUT, count // 10)
        if count - held_out < least:
            raise InputError(
                f"{count} moments are too few to train {kind}, which takes {least * 10 // 9 + 1}: "
                "leave the index flat, which is exact"
            )
        lists = min(round(2 * count**0.5), (count - held_out) // _POINTS_A_CENTROID)
        order = np.random.default_rng(seed).permutation(count)
        asked, rest = np.sort(order[:held_out]), order[held_out:]
        queries = _rows(blocks, asked)
        index = _untrained(kind, sizes[0][1], lists)
        trainers = max(lists, _PQ_CENTROIDS if kind == "ivf_pq" else 0) * _SAMPLE_A_CENTROID
        index.train(_rows(blocks, np.sort(rest[:trainers])))
        nearest = _Nearest(queries, 10)
        stored = np.ones(count, bool)
        stored[asked] = False
        for first, block in _numbered(blocks):
            kept = np.flatnonzero(stored[first : first + len(block)])
            index.add_with_ids(block[kept], first + kept)
            nearest.look_at(block[kept], first + kept)
        built = cls(index)
        # In turn, for `asked` is in the order of the vectors.
        choose, measure = slice(0, None, 2), slice(1, None, 2)
        most, tried = max(1, lists // _MOST_LISTS), {}
        while True:
            tried[built.probes] = min(built._recall(queries[choose], nearest.positions[choose]))
            if tried[built.probes] >= _WANTED_RECALL or built.probes == most:
                break
            built.probes = min(2 * built.probes, most)
        # Codes that are too coarse miss as much in many lists as in few.
        enough = max(tried.values()) - _AS_GOOD
        built.probes = next(probes for probes, recall in tried.items() if recall >= enough)
        at_1, at_10 = built._recall(queries[measure], nearest.positions[measure])
        index.add_with_ids(queries, asked)
        told = Built(count, lists, built.probes, len(queries[measure]), at_1, at_10)
        return built, told

    @classmethod
    def open(cls, file: Path, probes: int) -> Self:
        """The index that `save` wrote; its lists stay on the disk, and are mapped into memory.

        The file is one that was checked to be as it was written: faiss trusts it.
        """
        lists = cls(faiss.read_index(str(file), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY))
        lists.probes = probes
        return lists

    def save(self, file: Path) -> None:
        """Write it to a file."""
        faiss.write_index(self._index, str(file))

    @property
    def probes(self) -> int:
        """Lists that a search looks into."""
        return int(self._index.nprobe)

    @probes.setter
    def probes(self, number: int) -> None:
        self._index.nprobe = number

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def candidates(
        self, queries: np.ndarray, count: int, *, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        """Positions of vectors that are near to queries (q, d), int64 (q, count); -1 for no more.

        Args:
            queries: float32.
            count: How many are wanted.
            allowed: Which vectors may be found, bool (n,); None for all.

        Raises:
            InputError: The queries have other dimensions than the vectors.
        """
        if queries.ndim != 2 or queries.shape[1] != self._index.d:
            raise InputError(f"queries of shape {queries.shape}, an index of {self._index.d}")
        chosen = {}
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            chosen["sel"] = _faiss.IDSelectorBitmap(bits)
        parameters = _faiss.SearchParametersIVF(nprobe=self.probes, **chosen)
        _, found = self._index.search(
            np.ascontiguousarray(queries, np.float32), count, params=parameters
        )
        return np.asarray(found)

    def _recall(self, queries: np.ndarray, nearest: np.ndarray) -> tuple[float, float]:
        """The recall of the one and of the ten nearest (q, 10), each among its candidates."""
        found = self.candidates(queries, 10 * CANDIDATES)
        at_1 = (found[:, :CANDIDATES] == nearest[:, :1]).any(axis=1).mean()
        at_10 = np.mean([np.isin(one, other).mean() for one, other in
                         zip(nearest, found, strict=True)])  # fmt: skip
        return float(at_1), float(at_10)


class _Nearest:
    """The exact nearest vectors of some queries, of all that it was shown, block by block."""

    def __init__(self, queries: np.ndarray, count: int) -> None:
        self._queries, self._count = queries, count
        self.positions = np.full((len(queries), count), -1)
        self._squared = np.full((len(queries), count), np.inf)

    def look_at(self, block: np.ndarray, positions: np.ndarray) -> None:
        if not len(block):
            return
        # faiss's float32 distances choose a few more than are wanted; those in float64 decide.
        _, found = faiss.knn(self._queries, block, min(len(block), self._count + 8))
        difference = block[found].astype(np.float64) - self._queries[:, None]
        squared = np.concatenate([self._squared, (difference**2).sum(axis=2)], axis=1)
        both = np.concatenate([self.positions, positions[found]], axis=1)
        order = np.argsort(squared, axis=1, kind="stable")[:, : self._count]
        self._squared = np.take_along_axis(squared, order, axis=1)
        self.positions = np.take_along_axis(both, order, axis=1)


def _untrained(kind: str, width: int, lists: int) -> Any:
    codes = {"ivf_flat": "Flat", "ivf_sq8": "SQ8", "ivf_pq": f"PQ{_parts(width)}"}
    index: Any = faiss.index_factory(width, f"IVF{lists},{codes[kind]}")
    if kind == "ivf_pq":  # its parts have fewer centroids than there are lists, and need no more
        index.pq.cp.max_points_per_centroid = _SAMPLE_A_CENTROID
    return index


def _parts(width: int) -> int:
    """Into how many equal parts product quantisation cuts a vector: of four dimensions or more."""
    return max(parts for parts in range(1, max(1, width // 4) + 1) if width % parts == 0)


def _numbered(blocks: Blocks) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks that are not too large, each with the position of its first vector."""
    first = 0
    for block in blocks():
        for begin in range(0, len(block), _AT_ONCE):
            part = np.ascontiguousarray(block[begin : begin + _AT_ONCE], np.float32)
            yield first, part
            first += len(part)


def _rows(blocks: Blocks, positions: np.ndarray) -> np.ndarray:
    """The vectors at ascending positions, (p, d)."""
    chosen = []
    for first, block in _numbered(blocks):
        begin, stop = np.searchsorted(positions, [first, first + len(block)])
        chosen.append(block[positions[begin:stop] - first])
    return np.concatenate(chosen)
