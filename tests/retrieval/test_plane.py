"""The plane of the two principal components, against the covariance's own eigenvectors."""

import numpy as np

from caf_video.retrieval import principal_plane


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
