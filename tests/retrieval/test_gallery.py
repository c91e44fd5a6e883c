"""Queries that are searched in a gallery: by hand, and by loops."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.retrieval import Gallery, chance_recall, ranked_precision, recall_at_k

# On a line. Queries at 0 (a), 5 (b), 9 (c: nowhere in the gallery); the gallery at 1 (b), 2 (a),
# 4 (b), 6 (a). Queries do not see one another.
QUERIES = np.array([[0.0], [5.2], [9.0]])
GALLERY = Gallery(np.array([[1.0], [2.0], [4.0], [6.0]]), ["b", "a", "b", "a"])


def test_queries_on_a_line_find_what_is_worked_out_by_hand() -> None:
    """0 finds b, a, b, a; 5.2 finds a (0.8), b (1.2), a (3.2), b; 9 has no right answer."""
    found = recall_at_k(QUERIES, ["a", "b", "c"], gallery=GALLERY, ks=(1, 2))
    assert found.nearest.tolist() == [0, 3, 3]
    assert found.recall == {1: 0.0, 2: 1.0}
    assert found.counted.tolist() == [True, True, False] and found.excluded == 1
    ranked = ranked_precision(QUERIES, ["a", "b", "c"], gallery=GALLERY)  # R is 2 for both
    assert ranked.r_precision == 0.5
    assert ranked.map_at_r == pytest.approx((1 / 2) / 2)  # right at rank 2 alone
    assert chance_recall(["a", "b", "c"], gallery=GALLERY) == 0.5


def test_a_query_that_is_in_the_gallery_does_not_find_itself() -> None:
    gallery = Gallery(GALLERY.embeddings, GALLERY.labels, ids=list("pqrs"))
    at_p = recall_at_k(np.array([[1.0]]), ["b"], ids=["p"], gallery=gallery, ks=(1, 9))
    assert at_p.nearest.tolist() == [1] and at_p.recall == {1: 0.0, 9: 1.0}
    elsewhere = recall_at_k(np.array([[1.0]]), ["b"], ids=["x"], gallery=gallery, ks=(1,))
    assert elsewhere.nearest.tolist() == [0] and elsewhere.recall == {1: 1.0}
    assert chance_recall(["b"], ids=["p"], gallery=gallery) == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="a query and another sample in the gallery"):
        recall_at_k(np.array([[1.0]]), ["z"], gallery=gallery)


def by_loops(query, label, name, group, gallery, k):
    """Whether one of the k nearest is right; None where there is nothing right to find."""
    others = [
        place
        for place in range(len(gallery.labels))
        if gallery.ids[place] != name and (group is None or gallery.groups[place] != group)
    ]
    others.sort(key=lambda place: (((gallery.embeddings[place] - query) ** 2).sum(), place))
    right = [gallery.labels[place] == label for place in others]
    if not any(right):
        return None
    return any(right[:k]), sum(right) / len(right), right


@pytest.mark.parametrize("grouped", [False, True])
def test_queries_agree_with_loops_with_and_without_groups(grouped: bool) -> None:
    draw = np.random.default_rng(3)
    count, size = 30, 25
    points = draw.normal(size=(count, 2))
    gallery = Gallery(
        draw.normal(size=(size, 2)),
        [f"class {n}" for n in draw.integers(0, 5, size)],
        [f"item {n}" for n in range(size)],
        [f"drive {n}" for n in draw.integers(0, 4, size)] if grouped else None,
    )
    labels = [f"class {n}" for n in draw.integers(0, 6, count)]
    names = [f"item {n}" for n in draw.integers(0, 40, count)]  # some are in the gallery
    groups = [f"drive {n}" for n in draw.integers(0, 5, count)] if grouped else None
    rows = [
        by_loops(points[n], labels[n], names[n], groups and groups[n], gallery, 3)
        for n in range(count)
    ]
    found = recall_at_k(points, labels, ids=names, groups=groups, gallery=gallery, ks=(3,))
    known = [row for row in rows if row is not None]
    assert found.counted.tolist() == [row is not None for row in rows]
    assert found.recall[3] == pytest.approx(np.mean([hit for hit, _, _ in known]))
    chance = chance_recall(labels, ids=names, groups=groups, gallery=gallery)
    assert chance == pytest.approx(np.mean([share for _, share, _ in known]))
    ranked = ranked_precision(points, labels, ids=names, groups=groups, gallery=gallery)
    precisions = []
    for _, _, right in known:
        wanted = sum(right)
        precisions.append(
            sum(sum(right[: i + 1]) / (i + 1) for i in range(wanted) if right[i]) / wanted
        )
    assert ranked.map_at_r == pytest.approx(np.mean(precisions))


def test_a_gallery_of_the_items_themselves_is_searching_among_one_another() -> None:
    draw = np.random.default_rng(4)
    points, labels = draw.normal(size=(20, 3)), [f"class {n % 4}" for n in range(20)]
    names, groups = [str(n) for n in range(20)], [f"drive {n % 3}" for n in range(20)]
    gallery = Gallery(points, labels, names, groups)
    for settings in ({}, {"gallery": gallery}):
        found = recall_at_k(points, labels, ids=names, groups=groups, **settings)
        if not settings:
            wanted = found
    assert found.recall == wanted.recall and (found.nearest == wanted.nearest).all()
