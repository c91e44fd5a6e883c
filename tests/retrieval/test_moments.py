"""The best moments agree with a loop, and overlapping windows count once."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.retrieval import best_moments, distances_to


def by_loops(distances, videos, starts, ends, top) -> list[int]:
    """Greedy, pair by pair."""
    found: list[int] = []
    for one in sorted(range(len(distances)), key=lambda i: (distances[i], i)):
        if len(found) < top and not any(
            videos[one] == videos[other]
            and min(ends[one], ends[other]) > max(starts[one], starts[other])
            for other in found
        ):
            found.append(one)
    return found


def test_the_best_moments_are_those_of_a_loop() -> None:
    random = np.random.default_rng(0)
    distances, videos = random.random(200), random.integers(0, 3, 200)
    starts = random.integers(0, 60, 200).astype(float)
    ends = starts + 4
    found = best_moments(distances, videos, starts, ends, top=12)
    assert found.tolist() == by_loops(distances, videos, starts, ends, 12)


def test_windows_that_only_touch_are_two_moments_and_no_video_strikes_out_another() -> None:
    starts = np.array([0.0, 1, 4, 0])
    found = best_moments(np.array([1.0, 2, 3, 4]), [0, 0, 0, 1], starts, starts + 4, top=9)
    assert found.tolist() == [0, 2, 3]  # the second shares three seconds with the first


def test_what_is_left_out_strikes_nothing_out_and_an_open_end_reaches_everything() -> None:
    starts, ends = np.array([0.0, 1, 9]), np.array([np.inf, 3, 12])
    distances, leave_out = np.array([1.0, 2, 3]), np.array([True, False, False])
    assert best_moments(distances, [0, 0, 0], starts, ends, top=3).tolist() == [0]
    found = best_moments(distances, [0, 0, 0], starts, ends, top=3, leave_out=leave_out)
    assert found.tolist() == [1, 2]


def test_of_equally_near_moments_the_first_counts() -> None:
    zeros = np.zeros(3)
    assert best_moments(zeros, [0, 0, 0], zeros, zeros + 1, top=3).tolist() == [0]
    with pytest.raises(InputError, match="1 or more"):
        best_moments(zeros, [0, 0, 0], zeros, zeros + 1, top=0)


def test_distances_are_those_of_float64_one_by_one() -> None:
    rows = np.random.default_rng(1).normal(1e3, 1, (700, 6)).astype(np.float32)
    query = rows[3].astype(np.float64)
    expected = [np.sqrt(sum((float(a) - b) ** 2 for a, b in zip(row, query, strict=True)))
                for row in rows]  # fmt: skip
    np.testing.assert_allclose(distances_to(query, rows), expected, rtol=1e-12)
    with pytest.raises(InputError, match="shape"):
        distances_to(query[:5], rows)
