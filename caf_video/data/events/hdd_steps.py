"""HDD's events as its users count them: runs of one label among steps, three a second.

Start and end are rounded to whole seconds and are steps 3 times that, both inclusive; a later event
overwrites an earlier one; a run of one label is an event if it has at least five steps. What the
feature release holds is labels of steps already.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caf_video.data.events.events import EventError

STEPS_A_SECOND = 3
SHORTEST_SECONDS = 5 / STEPS_A_SECOND
_LONGEST_SECONDS = 1e6  # eleven days: a step each is held in memory


@dataclass(frozen=True)
class Run:
    """Steps with one label: [first, stop)."""

    label: str
    first: int
    stop: int

    @property
    def start_seconds(self) -> float:
        """When the first of them is."""
        return self.first / STEPS_A_SECOND

    @property
    def end_seconds(self) -> float:
        """When the step after the last is."""
        return self.stop / STEPS_A_SECOND


def paint(events: Sequence[tuple[float, float, str]], background: str) -> list[str]:
    """A label for every step up to the end of the last event.

    Args:
        events: Start and end in seconds and the label, in the order in which they are painted.
        background: What steps without an event have.

    Raises:
        EventError: One ends later than any session does.
    """
    for start, end, label in events:
        if end > _LONGEST_SECONDS:
            raise EventError(f"{label!r} from {start} s to {end} s: no session is so long")
    steps = [
        (STEPS_A_SECOND * _whole(start), STEPS_A_SECOND * _whole(end) + 1, label)
        for start, end, label in events
    ]
    painted = [background] * max((stop for _, stop, _ in steps), default=0)
    for first, stop, label in steps:
        painted[first:stop] = [label] * (stop - first)
    return painted


def runs_of(labels: Sequence[str] | np.ndarray) -> list[Run]:
    """The runs of equal labels, in order."""
    runs: list[Run] = []
    first = 0
    for step in range(1, len(labels) + 1):
        if step == len(labels) or labels[step] != labels[first]:
            runs.append(Run(str(labels[first]), first, step))
            first = step
    return runs


def steps_needed(min_seconds: float) -> int:
    """How many steps an event of at least so many seconds has.

    Raises:
        EventError: It is no positive number.
    """
    if not (math.isfinite(min_seconds) and min_seconds > 0):
        raise EventError(f"--min-seconds {min_seconds}: wanted a number above 0")
    return math.ceil(min_seconds * STEPS_A_SECOND - 1e-6)


def _whole(seconds: float) -> int:
    return round(seconds)  # half a second goes to the even one, as numpy and Python round
