"""How sure a mean over clips is, and a difference of two: the bootstrap, paired by clip (maths 7).

A clip is measured by every run that was trained on its set of clips; sets are other clips. A
resample draws clips within each set, and takes all that every run says of a clip that is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True, eq=False)
class PerClip:
    """What one run says of every clip of its set, by one measure.

    Attributes:
        sums: Over what there is to count in a clip, (n,).
        counts: How much there is, (n,): a clip's frames with evidence, say; 0: it has no answer.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]

    @classmethod
    def of(cls, values: ArrayLike, among: ArrayLike | None = None) -> "PerClip":
        """Of one value a clip, (n,); those that are NaN, or not `among` (n,) bool, do not count."""
        array = np.asarray(values, dtype=np.float64)
        counted = np.isfinite(array)
        if among is not None:
            counted = counted & np.asarray(among, dtype=bool)
        return cls(np.where(counted, array, 0.0), counted.astype(np.float64))

    def among(self, clips: ArrayLike) -> "PerClip":
        """The same where only some clips, bool (n,), count."""
        kept = np.asarray(clips, dtype=bool)
        return PerClip(self.sums * kept, self.counts * kept)


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap interval (percentile); of how many it is the mean."""

    value: float
    low: float
    high: float
    count: int


Runs = Sequence[Sequence[PerClip]]  # by set of clips, then by run


class PairedBootstrap:
    """Resamples of the clips of each set, the same for all that is asked of it.

    Args:
        clips: How many clips each set has.
        seed: Of the resamples.

    Raises:
        InputError: There is no set, or one without a clip.
    """

    def __init__(self, clips: Sequence[int], *, seed: int = 0) -> None:
        if not clips or min(clips) < 1:
            raise InputError(f"sets of {list(clips)} clips: wanted one or more, of one or more")
        generator = np.random.default_rng(seed)
        self._times = [
            generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)
            for count in clips
        ]

    def mean(self, runs: Runs) -> Interval | None:
        """The mean over all that counts, of all runs and sets; None where nothing counts."""
        return self._interval(*self._means(runs), count=self._count(runs))

    def difference(self, runs: Runs, others: Runs) -> Interval | None:
        """Of two means by the same resamples: what makes a clip hard for both widens nothing."""
        (value, means), (other, other_means) = self._means(runs), self._means(others)
        return self._interval(value - other, means - other_means, count=self._count(runs))

    def _means(self, runs: Runs) -> tuple[float, NDArray[np.float64]]:
        sums: NDArray[np.float64] = np.zeros(RESAMPLES)
        counts = np.zeros(RESAMPLES)
        total = counted = 0.0
        for times, of_set in zip(self._times, runs, strict=True):
            for one in of_set:
                if one.sums.shape != times.shape[1:]:
                    raise InputError(f"{len(one.sums)} clips of a set of {times.shape[1]}")
                sums += times @ one.sums
                counts += times @ one.counts
                total, counted = total + one.sums.sum(), counted + one.counts.sum()
        with np.errstate(invalid="ignore"):
            return total / counted if counted else float("nan"), sums / counts

    @staticmethod
    def _count(runs: Runs) -> int:
        return int(sum(one.counts.sum() for of_set in runs for one in of_set))

    @staticmethod
    def _interval(value: float, means: NDArray[np.float64], count: int) -> Interval | None:
        means = means[np.isfinite(means)]  # a resample without any clip that counts says nothing
        if not np.isfinite(value) or not len(means):
            return None
        low, high = np.percentile(means, INTERVAL)
        return Interval(float(value), float(low), float(high), count)
