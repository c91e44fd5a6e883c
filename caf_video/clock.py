"""How far long work is, in lines for a log: every half minute, or every twentieth of the work."""

import time
from collections.abc import Callable

_SECONDS = 30.0
_SHARE = 0.05


class ProgressClock:
    """Says, when it is time, what is done, how fast it goes and how long it will take.

    Args:
        stage: What is done.
        total: Items of the whole work.
        done: Items that were done before.
        now: Seconds.
    """

    def __init__(
        self, stage: str, total: int, *, done: int = 0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stage, self._total, self._now = stage, total, now
        self._first = self._said = done
        self._began = self._said_at = now()

    def line(self, done: int) -> str | None:
        """A line on it, where 5 % or half a minute went by since the last, or all is done."""
        now = self._now()
        further = done - self._said >= _SHARE * self._total
        if not (further or now - self._said_at >= _SECONDS or done >= self._total):
            return None
        self._said, self._said_at = done, now
        rate = (done - self._first) / max(now - self._began, 1e-9)
        left = max(self._total - done, 0) / rate if rate else 0.0
        return f"{self._stage}: {done}/{self._total}, {rate:.3g} a second, {_told(left)} left"


def _told(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
