"""Inverted lists: what they tell of themselves is what brute force finds, and ids are positions."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.retrieval import APPROXIMATE, InvertedLists
from caf_video.retrieval.inverted_lists import _HELD_OUT, _parts


def points_of(count: int, width: int = 8, clusters: int = 40) -> np.ndarray:
    random = np.random.default_rng(3)
    centers = random.normal(0, 3, (clusters, width))
    return (
        centers[random.integers(clusters, size=count)] + random.normal(size=(count, width))
    ).astype(np.float32)


def in_blocks(points: np.ndarray, size: int = 700):
    return lambda: (points[first : first + size] for first in range(0, len(points), size))


def nearest(points: np.ndarray, query: np.ndarray, count: int) -> list[int]:
    distances = ((points.astype(np.float64) - query) ** 2).sum(axis=1)
    return np.argsort(distances, kind="stable")[:count].tolist()


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return points_of(3000)


@pytest.mark.parametrize("kind", ["ivf_flat", "ivf_sq8"])
def test_told_recall_is_that_of_new_queries_by_brute_force(points, kind) -> None:
    lists, built = InvertedLists.build(kind, in_blocks(points))
    assert len(lists) == built.vectors == 3000 and built.lists == 69  # 2700 by 39
    assert built.queries == 150
    queries = points_of(3300)[3000:]
    found = lists.candidates(queries, 100)
    right = [np.isin(nearest(points, query, 10), of).mean() for query, of in
             zip(queries, found, strict=True)]  # fmt: skip
    assert np.mean(right) == pytest.approx(built.recall_at_10, abs=0.03)
    first = [nearest(points, query, 1)[0] in of[:10] for query, of in
             zip(queries, found, strict=True)]  # fmt: skip
    assert np.mean(first) == pytest.approx(built.recall_at_1, abs=0.05)
    assert 0.5 < built.recall_at_10 and built.probes <= 69 // 8


def test_every_vector_is_found_at_its_own_position_the_held_out_ones_too(points) -> None:
    lists, _ = InvertedLists.build("ivf_flat", in_blocks(points))
    assert lists.candidates(points, 1)[:, 0].tolist() == list(range(3000))


def test_blocks_do_not_matter_and_what_is_saved_is_what_was_built(points, tmp_path) -> None:
    one, told = InvertedLists.build("ivf_sq8", in_blocks(points, 3000))
    other, also = InvertedLists.build("ivf_sq8", in_blocks(points, 701))
    assert told == also
    one.save(tmp_path / "lists")
    opened = InvertedLists.open(tmp_path / "lists", told.probes)
    wanted = one.candidates(points[:50], 20)
    np.testing.assert_array_equal(other.candidates(points[:50], 20), wanted)
    np.testing.assert_array_equal(opened.candidates(points[:50], 20), wanted)


@pytest.mark.parametrize(
    ("recall", "probes"),
    [
        ({1: 0.5, 2: 0.5, 4: 0.503, 8: 0.504}, 1),  # more lists find no more
        ({1: 0.5, 2: 0.6, 4: 0.7, 8: 0.7}, 4),
        ({1: 0.5, 2: 0.6, 4: 0.96, 8: 1.0}, 4),  # enough
        ({1: 0.5, 2: 0.6, 4: 0.7, 8: 0.8}, 8),  # of 69 lists no more than an eighth
        ({1: 0.96}, 1),
    ],
)
def test_no_more_lists_are_looked_into_than_find_more(points, monkeypatch, recall, probes) -> None:
    def told(self, queries, nearest) -> tuple[float, float]:
        return 1.0, recall[self.probes]

    monkeypatch.setattr(InvertedLists, "_recall", told)
    lists, built = InvertedLists.build("ivf_flat", in_blocks(points))
    assert lists.probes == built.probes == probes


def test_what_is_not_allowed_is_not_found(points) -> None:
    lists, _ = InvertedLists.build("ivf_flat", in_blocks(points))
    allowed = np.arange(3000) % 3 == 0
    found = lists.candidates(points[:100], 5, allowed=allowed)
    assert (found[found >= 0] % 3 == 0).all() and (found[::3, 0] == np.arange(0, 100, 3)).all()


def test_too_few_vectors_and_unknown_kinds_are_refused_in_one_line() -> None:
    for kind, least in (("ivf_flat", 694), ("ivf_sq8", 694), ("ivf_pq", 11094)):
        with pytest.raises(InputError, match=f"^600 moments are too few to train {kind}, which "
                           f"takes {least}: leave"):  # fmt: skip
            InvertedLists.build(kind, in_blocks(points_of(600)))
    with pytest.raises(InputError, match="no kind 'hnsw' of index: choose flat or ivf_flat, "):
        InvertedLists.build("hnsw", in_blocks(points_of(10)))
    lists, _ = InvertedLists.build("ivf_flat", in_blocks(points_of(694)))
    with pytest.raises(InputError, match=r"queries of shape \(1, 5\), an index of 8"):
        lists.candidates(np.zeros((1, 5), np.float32), 1)


def test_product_quantisation_takes_four_dimensions_or_more_a_byte() -> None:
    assert [_parts(width) for width in (128, 30, 8, 6, 2)] == [32, 6, 2, 1, 1]
    assert _HELD_OUT % 2 == 0 and APPROXIMATE[2] == "ivf_pq"
