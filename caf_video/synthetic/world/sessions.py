"""Which seeds a set is rendered from: no session is in two splits, whatever the seed."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from caf_video.errors import InputError

SESSIONS_PER_SPLIT = 100_000

Event = TypeVar("Event")


def sessions_of_splits(train: int, val: int, test: int, *, seed: int) -> Iterator[tuple[str, int]]:
    """Split and session of so many sessions of every split.

    Raises:
        InputError: If a number is negative, or a split has no more sessions.
    """
    for name, count in (("train", train), ("val", val), ("test", test), ("seed", seed)):
        if count < 0:
            raise InputError(f"{name} is {count}: it must not be negative")
    for part, (split, count) in enumerate((("train", train), ("val", val), ("test", test))):
        if count > SESSIONS_PER_SPLIT:
            raise InputError(f"{count} {split} sessions: at most {SESSIONS_PER_SPLIT}")
        first = (3 * seed + part) * SESSIONS_PER_SPLIT
        yield from ((split, session) for session in range(first, first + count))


def shuffled_places(
    classes: Sequence[Event], session: int, stream: int
) -> Iterator[tuple[Event, int]]:
    """Each class, or pair of classes, of a session with the place that it happens at.

    Args:
        stream: Of random numbers: another one, another order.
    """
    order = np.random.default_rng([session, stream]).permutation(len(classes))
    yield from zip(classes, order.tolist(), strict=True)
