"""The kinds of index: how long they take to build and to ask, how large they are, what they miss.

`python -m benchmarks.index_kinds --vectors 100000 1000000` prints a table. Queries are vectors of
the same distribution that are not stored. Recall is the share of a query's ten nearest, by
exact search, that are among the candidates whose exact distances decide.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

from benchmarks.apart import apart
from caf_video.retrieval import APPROXIMATE, CANDIDATES, InvertedLists, distances_to

DISTRIBUTIONS = ("clustered", "uniform")
CLUSTERS = 1000
SPREAD = 0.5  # length of what separates a vector from its cluster's centre, which has length 1
BLOCK = 1 << 14  # vectors a part
QUERIES, TIMED = 400, 50
TOP = 10


class Kind(NamedTuple):
    """One line of the table, of an index of one kind."""

    size_mb: float
    lists: int
    probes: int
    told: float
    recall: float
    query_ms: float


def vectors(distribution: str, count: int, width: int, seed: int) -> Iterator[np.ndarray]:
    """Vectors of length 1, float32 (count, width) in all, uniform on the sphere or in clusters."""
    centers = _unit(np.random.default_rng(0).normal(size=(CLUSTERS, width)))
    random = np.random.default_rng(seed)
    for first in range(0, count, BLOCK):
        rows = random.normal(size=(min(BLOCK, count - first), width))
        if distribution == "clustered":
            noise = SPREAD * rows / width**0.5
            rows = centers[random.integers(CLUSTERS, size=len(rows))] + noise
        yield _unit(rows).astype(np.float32)


def build(kind: str, stored: Path, shape: tuple[int, int], out: Path) -> Kind:
    """Build an index of what is stored, and save it; its recall and times are not yet known."""
    faiss.omp_set_num_threads(1)

    def blocks() -> Iterator[np.ndarray]:
        with stored.open("rb") as opened:
            for first in range(0, shape[0], BLOCK):
                rows = min(BLOCK, shape[0] - first)
                yield np.fromfile(opened, np.float32, rows * shape[1]).reshape(rows, -1)

    lists, built = InvertedLists.build(kind, blocks)
    lists.save(out)
    size = out.stat().st_size / 1e6
    return Kind(size, built.lists, built.probes, built.recall_at_10, 0.0, 0.0)


def exact(stored: Path, shape: tuple[int, int], queries: np.ndarray) -> tuple[np.ndarray, float]:
    """The nearest of each query, (q, TOP), by faiss; and ms a query, compared as `search` does."""
    faiss.omp_set_num_threads(1)
    rows = np.memmap(stored, np.float32, "r", shape=shape)
    _, nearest = faiss.knn(queries, rows, TOP)
    milliseconds = []
    for query in queries[: TIMED // 5]:
        begun = time.process_time()
        np.argsort(distances_to(query, rows), kind="stable")
        milliseconds.append(1000 * (time.process_time() - begun))
    return nearest, float(np.median(milliseconds))


def ask(
    stored: Path, shape: tuple[int, int], file: Path, probes: int, queries: np.ndarray,
    nearest: np.ndarray,
) -> tuple[float, float]:  # fmt: skip
    """Recall of an index that was saved, and ms a query, candidates and their distances."""
    faiss.omp_set_num_threads(1)
    rows = np.memmap(stored, np.float32, "r", shape=shape)
    lists = InvertedLists.open(file, probes)
    milliseconds, found = [], []
    for query, wanted in zip(queries, nearest, strict=True):
        begun = time.process_time()
        candidates = lists.candidates(query[None], CANDIDATES * TOP)[0]
        candidates = np.sort(candidates[candidates >= 0])
        order = np.argsort(distances_to(query, rows[candidates]), kind="stable")[:TOP]
        milliseconds.append(1000 * (time.process_time() - begun))
        found.append(np.isin(wanted, candidates[order]).mean())
    return float(np.mean(found)), float(np.median(milliseconds))


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _measure(distribution: str, shape: tuple[int, int], folder: Path) -> Iterator[str]:
    stored = folder / "vectors"
    with stored.open("wb") as opened:
        for block in vectors(distribution, *shape, seed=1):
            block.tofile(opened)
    queries = np.concatenate([*vectors(distribution, QUERIES, shape[1], seed=2)])
    compared = apart(exact, stored, shape, queries)
    nearest, milliseconds = compared.found
    start = f"| {shape[0]:,} | {distribution} | ".replace(",", " ")
    size = stored.stat().st_size / 1e6
    yield f"{start}flat | – | – | {size:.0f} | – | – | 1 | {milliseconds:.1f} |"
    for kind in APPROXIMATE:
        file = folder / kind
        cost = apart(build, kind, stored, shape, file)
        made: Kind = cost.found
        recall, milliseconds = apart(ask, stored, shape, file, made.probes, queries, nearest).found
        yield (
            f"{start}{kind} | {cost.seconds:.0f} | {cost.peak_mb:.0f} | {made.size_mb:.0f} | "
            f"{made.probes} of {made.lists} | {made.told:.3f} | {recall:.3f} | "
            f"{milliseconds:.1f} |"
        )
        file.unlink()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vectors", type=int, nargs="+", default=[100_000])
    parser.add_argument("--width", type=int, default=128)
    args = parser.parse_args()
    print(
        "| vectors | data | kind | build, CPU s | its memory, MB | size, MB | lists looked into "
        "| recall@10, as told | recall@10, new queries | query, CPU ms |\n" + "|---" * 10 + "|"
    )
    for count in args.vectors:
        for distribution in DISTRIBUTIONS:
            with tempfile.TemporaryDirectory(prefix="caf_video_kinds_") as folder:
                for line in _measure(distribution, (count, args.width), Path(folder)):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
