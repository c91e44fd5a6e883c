"""The index answers what brute force in float64 answers, ties and odd scales included."""

import numpy as np
import pytest
import torch

from caf_video.errors import InputError
from caf_video.retrieval import EmbeddingIndex, index


def brute_force(
    points: np.ndarray, queries: np.ndarray, own: list[int], neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """All distances by loops; of equal ones the first in the index."""
    positions, distances = [], []
    for query, self_position in zip(queries, own, strict=True):
        ranked = sorted(
            (float(np.sqrt(((point - query) ** 2).sum())), position)
            for position, point in enumerate(points)
            if position != self_position
        )
        positions.append([position for _, position in ranked[:neighbours]])
        distances.append([distance for distance, _ in ranked[:neighbours]])
    return np.array(positions), np.array(distances)


def names(count: int) -> list[str]:
    return [f"clip {i}" for i in range(count)]


@pytest.mark.parametrize("count", [2, 19, 20, 21, 300])  # faiss changes its formula at 20 queries
def test_search_agrees_with_brute_force(count: int, generator: torch.Generator) -> None:
    points = torch.randn(count, 12, generator=generator, dtype=torch.float64)
    neighbours = min(9, count - 1)
    found = EmbeddingIndex(points, names(count)).search(
        points, neighbours=neighbours, query_ids=names(count)
    )
    positions, distances = brute_force(
        points.numpy(), points.numpy(), list(range(count)), neighbours
    )
    np.testing.assert_array_equal(found.positions, positions)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)
    assert found.positions.dtype == np.int64 and found.distances.dtype == np.float64


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_neither_offset_nor_scale_changes_the_neighbours(
    offset: float, scale: float, generator: torch.Generator
) -> None:
    points = torch.randn(100, 8, generator=generator, dtype=torch.float64)
    expected, _ = brute_force(points.numpy(), points.numpy(), list(range(100)), 5)
    moved = (points + offset) * scale
    found = EmbeddingIndex(moved, names(100)).search(moved, neighbours=5, query_ids=names(100))
    np.testing.assert_array_equal(found.positions, expected)


def test_neighbours_that_nothing_hides_are_found_at_the_first_asking(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    nearest = EmbeddingIndex._nearest

    def counted(index, rows, own, own_group, count, neighbours):
        asked.append((len(rows), count))
        return nearest(index, rows, own, own_group, count, neighbours)

    monkeypatch.setattr(EmbeddingIndex, "_nearest", counted)
    points = torch.randn(300, 12, generator=generator, dtype=torch.float64)
    EmbeddingIndex(points, names(300)).search(points, neighbours=2, query_ids=names(300))
    assert asked == [(300, 2 + 1 + 8)]  # the query itself, and the spare ones


def test_far_clusters_do_not_drown_what_is_near(generator: torch.Generator) -> None:
    """No mean helps here: two clouds of width 1e-4, a thousand apart."""
    points = 1e-4 * torch.randn(60, 6, generator=generator, dtype=torch.float64)
    points[30:] += 1e3
    expected, _ = brute_force(points.numpy(), points.numpy(), list(range(60)), 4)
    found = EmbeddingIndex(points, names(60)).search(points, neighbours=4, query_ids=names(60))
    np.testing.assert_array_equal(found.positions, expected)


def test_ties_go_to_the_item_that_comes_first() -> None:
    """Many more copies than candidates are asked for at once."""
    points = np.zeros((200, 3), dtype=np.float32)
    points[::2] = 1.0
    found = EmbeddingIndex(points, names(200)).search(points, neighbours=3, query_ids=names(200))
    assert found.positions[0].tolist() == [2, 4, 6]
    assert found.positions[1].tolist() == [3, 5, 7]
    assert found.positions[199].tolist() == [1, 3, 5]
    assert (found.distances == 0).all()


def test_integer_grids_full_of_ties_agree_with_brute_force(generator: torch.Generator) -> None:
    points = torch.randint(0, 3, (150, 3), generator=generator).double()
    expected, distances = brute_force(points.numpy(), points.numpy(), list(range(150)), 20)
    found = EmbeddingIndex(points, names(150)).search(points, neighbours=20, query_ids=names(150))
    np.testing.assert_allclose(found.distances, distances, atol=1e-12)
    np.testing.assert_array_equal(found.positions, expected)


def test_a_query_is_left_out_by_its_id_and_not_by_its_place(generator: torch.Generator) -> None:
    points = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    index = EmbeddingIndex(points, names(30))
    queries = points[[7, 3]]
    with_ids = index.search(queries, neighbours=1, query_ids=["clip 7", "clip 3"])
    expected, _ = brute_force(points.numpy(), queries.numpy(), [7, 3], 1)
    np.testing.assert_array_equal(with_ids.positions, expected)
    assert index.search(queries, neighbours=1).positions[:, 0].tolist() == [7, 3]
    strangers = index.search(queries, neighbours=1, query_ids=["a", "b"])
    assert strangers.positions[:, 0].tolist() == [7, 3]


def test_without_ids_no_item_is_left_out() -> None:
    found = EmbeddingIndex(np.array([[0.0], [1.0], [3.0]])).search(np.array([[0.1]]), neighbours=3)
    assert found.positions.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_far_queries_have_more_candidates_than_float32_can_order(
    scale: float, generator: torch.Generator
) -> None:
    """From so far away the squares in float32 differ by less than their rounding."""
    points = scale * torch.randn(400, 4, generator=generator, dtype=torch.float64)
    queries = scale * 1e7 * torch.randn(25, 4, generator=generator, dtype=torch.float64)
    found = EmbeddingIndex(points).search(queries, neighbours=3)
    expected, _ = brute_force(points.numpy(), queries.numpy(), [-1] * 25, 3)
    np.testing.assert_array_equal(found.positions, expected)


def test_a_query_beyond_float32_still_has_its_neighbours() -> None:
    points = np.array([[0.0, 0.0], [1e-30, 0.0], [0.0, 1e-30]])
    found = EmbeddingIndex(points).search(np.array([[1e20, 0.0]]), neighbours=1)
    assert found.distances[0, 0] == pytest.approx(1e20)


def test_half_precision_and_gradients_are_accepted(generator: torch.Generator) -> None:
    points = torch.randn(10, 4, generator=generator)
    for variant in (points.half(), points.bfloat16(), points.clone().requires_grad_()):
        found = EmbeddingIndex(variant, names(10)).search(
            variant, neighbours=2, query_ids=names(10)
        )
        assert found.positions.shape == (10, 2)


def test_collapsed_embeddings_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="all 5 embeddings are equal"):
        index = EmbeddingIndex(np.full((5, 3), 0.1), names(5))
    found = index.search(np.full((1, 3), 0.1), neighbours=2, query_ids=["clip 0"])
    assert found.positions.tolist() == [[1, 2]]


def test_wrong_input_is_named() -> None:
    points = np.eye(4)
    index = EmbeddingIndex(points, names(4))
    broken = points.copy()
    broken[2, 1] = np.nan
    with pytest.raises(InputError, match=r"embedding of 'clip 2' holds nan \(1 of 4"):
        EmbeddingIndex(broken, names(4))
    with pytest.raises(InputError, match="query 2 holds nan"):
        index.search(broken, neighbours=1)
    with pytest.raises(InputError, match="item 'a' is there twice"):
        EmbeddingIndex(points, ["a", "b", "a", "c"])
    with pytest.raises(InputError, match="3 ids for embedding of 4 items"):
        EmbeddingIndex(points, names(3))
    with pytest.raises(InputError, match=r"embedding of shape \(4,\)"):
        EmbeddingIndex(points[0])
    with pytest.raises(InputError, match="no embedding to search among"):
        EmbeddingIndex(np.empty((0, 3)))
    with pytest.raises(InputError, match="queries of 3 dimensions, an index of 4"):
        index.search(np.ones((1, 3)), neighbours=1)
    with pytest.raises(InputError, match="4 neighbours of 3 other items"):
        index.search(points, neighbours=4, query_ids=names(4))
    with pytest.raises(InputError, match="0 neighbours"):
        index.search(points, neighbours=0)
    with pytest.raises(InputError, match="the items of the index have none"):
        EmbeddingIndex(points).search(points, neighbours=1, query_ids=names(4))


def test_groups_that_the_index_does_not_have_leave_nothing_out() -> None:
    """And without groups of the queries none is left out, whatever the index knows."""
    known = EmbeddingIndex(np.array([[0.0], [1.0], [2.0]]), groups=["p", "q", "p"])
    query = np.array([[0.1]])
    assert known.search(query, neighbours=3).positions.tolist() == [[0, 1, 2]]
    for group, wanted in (("r", [0, 1, 2]), ("p", [1, -1, -1]), ("q", [0, 2, -1])):
        found = known.search(query, neighbours=3, query_groups=[group])
        assert found.positions.tolist() == [wanted]


def test_an_index_wider_than_what_is_gathered_at_once_is_searched_row_by_row(monkeypatch) -> None:
    points = np.random.default_rng(0).normal(size=(30, 5))
    whole = EmbeddingIndex(points).search(points[:7], neighbours=4)
    monkeypatch.setattr(index, "_CHUNK_VALUES", 1)
    found = EmbeddingIndex(points).search(points[:7], neighbours=4)
    np.testing.assert_array_equal(found.positions, whole.positions)
