"""The bootstrap by clip, by resamples drawn one by one and by means known on paper."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.evaluation import PairedBootstrap, PerClip


def test_a_mean_is_over_all_that_counts_in_all_runs_and_sets() -> None:
    one = PerClip(np.array([2.0, 0, 3]), np.array([2.0, 0, 4]))  # of frames: 5 of 6
    two = PerClip.of([1.0, np.nan, 0.0])  # of clips: 1 of 2
    other = PerClip.of([1.0, 1.0], among=[True, False])
    found = PairedBootstrap([3, 2]).mean([[one, two], [other]])
    assert found is not None
    assert found.value == pytest.approx((5 + 1 + 1) / (6 + 2 + 1)) and found.count == 9
    assert found.low <= found.value <= found.high


def test_the_interval_is_that_of_resamples_drawn_one_by_one() -> None:
    random = np.random.default_rng(0)
    values = [random.random(60), random.random(25)]
    found = PairedBootstrap([60, 25], seed=1).mean([[PerClip.of(part)] for part in values])
    means = []
    for _ in range(4000):
        drawn = np.concatenate([random.choice(part, len(part)) for part in values])
        means.append(drawn.mean())
    low, high = np.percentile(means, [2.5, 97.5])
    assert found is not None
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)


def test_runs_of_one_set_share_the_clips_that_are_drawn() -> None:
    """Twice the same run is no more certain than once; another set of clips is."""
    values = np.random.default_rng(2).random(50)
    once = PairedBootstrap([50]).mean([[PerClip.of(values)]])
    twice = PairedBootstrap([50]).mean([[PerClip.of(values), PerClip.of(values)]])
    more = PairedBootstrap([50, 50]).mean([[PerClip.of(values)], [PerClip.of(values)]])
    assert once is not None and twice is not None and more is not None
    assert (twice.low, twice.high) == (pytest.approx(once.low), pytest.approx(once.high))
    assert more.high - more.low < 0.85 * (once.high - once.low)


def test_a_difference_is_paired_by_clip() -> None:
    """What makes a clip hard for both is no uncertainty of their difference."""
    hard = np.random.default_rng(3).random(40)
    ours, theirs = [[PerClip.of(hard + 0.1)]], [[PerClip.of(hard)]]
    bootstrap = PairedBootstrap([40])
    found = bootstrap.difference(ours, theirs)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    alone = bootstrap.mean(ours)
    assert alone is not None and alone.high - alone.low > 0.05


def test_where_nothing_counts_there_is_no_mean() -> None:
    nothing = [[PerClip.of([np.nan, np.nan])]]
    assert PairedBootstrap([2]).mean(nothing) is None
    rare = PerClip.of([1.0] + [np.nan] * 9)  # in most resamples, not in all
    found = PairedBootstrap([10]).mean([[rare]])
    assert found is not None and (found.low, found.high, found.count) == (1.0, 1.0, 1)
    assert rare.among([False] * 10).counts.sum() == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="wanted one or more"):
        PairedBootstrap([3, 0])
    with pytest.raises(InputError, match="2 clips of a set of 3"):
        PairedBootstrap([3]).mean([[PerClip.of([1.0, 2.0])]])
