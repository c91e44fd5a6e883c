"""Planes: that of the covariance's own eigenvectors, and one that keeps neighbours near."""

import sys

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.retrieval import neighbor_plane, principal_plane


def test_the_plane_is_that_of_the_covariance() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 5)) @ random.normal(size=(5, 5)) + 100
    plane, shares = principal_plane(rows)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    for axis in (0, 1):
        direction = vectors[:, -1 - axis]
        direction = direction * np.sign(direction[np.abs(direction).argmax()])
        np.testing.assert_allclose(plane[:, axis], (rows - rows.mean(0)) @ direction, atol=1e-9)
        assert np.isclose(shares[axis], values[-1 - axis] / values.sum())


def test_what_does_not_vary_lies_in_the_middle() -> None:
    plane, shares = principal_plane(np.ones((4, 3)))
    assert not plane.any() and shares == (0.0, 0.0)
    plane, shares = principal_plane(np.array([[1.0], [3.0]]))
    assert plane.tolist() == [[-1, 0], [1, 0]] and shares == (1.0, 0.0)
    assert principal_plane(np.ones((1, 3)))[0].shape == (1, 2)


@pytest.fixture
def scikit_learn() -> None:
    pytest.importorskip("sklearn", reason="no scikit-learn: pip install 'caf_video[maps]'")


def clusters(count: int = 8, each: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Points around the corners of a simplex, as far apart as ten of their spreads."""
    random = np.random.default_rng(1)
    labels = np.arange(count).repeat(each)
    return 10 * np.eye(count, 8)[labels] + random.normal(size=(len(labels), 8)) / 2, labels


@pytest.mark.usefixtures("scikit_learn")
def test_clusters_stay_apart_where_two_directions_would_mix_them() -> None:
    rows, labels = clusters()
    apart = {}
    for name, plane in (("near", neighbor_plane(rows)), ("pca", principal_plane(rows)[0])):
        distances = np.linalg.norm(plane[:, None] - plane, axis=2)
        np.fill_diagonal(distances, np.inf)
        nearest = np.argsort(distances, axis=1)[:, :5]
        apart[name] = (labels[nearest] == labels[:, None]).mean()
    assert apart["near"] == 1.0 > apart["pca"]


@pytest.mark.usefixtures("scikit_learn")
def test_the_same_embeddings_lie_at_the_same_places() -> None:
    rows, _ = clusters(3, 5)
    np.random.seed(5)  # somebody else's
    plane = neighbor_plane(rows)
    np.random.seed(6)
    assert np.array_equal(plane, neighbor_plane(rows.copy()))
    assert plane.dtype == np.float64 and plane.shape == (15, 2)


@pytest.mark.usefixtures("scikit_learn")
def test_what_lies_left_by_its_principal_components_lies_left() -> None:
    rows = np.random.default_rng(2).normal(size=(60, 4)) * (20, 4, 1, 1)
    for turned in (rows, -rows):  # the distances are the same, right and left are not
        near, components = neighbor_plane(turned), principal_plane(turned)[0]
        assert np.corrcoef(near[:, 0], components[:, 0])[0, 1] > 0.9


@pytest.mark.usefixtures("scikit_learn")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_few_embeddings_have_a_place_each(count) -> None:
    plane = neighbor_plane(np.random.default_rng(0).normal(size=(count, 3)))
    assert plane.shape == (count, 2) and np.isfinite(plane).all()
    assert len(np.unique(plane.round(6), axis=0)) == count


@pytest.mark.usefixtures("scikit_learn")
def test_embeddings_that_are_all_the_same_lie_in_the_middle() -> None:
    assert not neighbor_plane(np.ones((6, 3))).any()


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(InputError, match=r"pip install 'caf_video\[maps\]'"):
        neighbor_plane(np.ones((6, 3)))
