"""Processes that work ahead: in order, deaf to Ctrl-C, and with errors of one line."""

import os
import signal

import pytest

from caf_video.data.workers import made_in_order
from caf_video.errors import CafVideoError, InputError

LOST = CafVideoError("a process was lost: ask for fewer")


def squared(number: int) -> int:
    return number * number


def refused(number: int) -> int:
    if number == 2:
        raise InputError(f"sample {number} is damaged")
    return number


def ended(number: int) -> int:
    if number == 1:
        os._exit(1)
    return number


def hears_interrupts(number: int) -> bool:
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_made_comes_in_the_order_asked_for(workers) -> None:
    numbers = [5, 0, 3, 3, 1]
    assert list(made_in_order(squared, numbers, workers=workers, lost=LOST)) == [25, 0, 9, 9, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_expected_failure_comes_when_its_turn_comes_in_its_own_words(workers) -> None:
    made = made_in_order(refused, range(4), workers=workers, lost=LOST)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(InputError, match="^sample 2 is damaged$"):
        next(made)


def test_ctrl_c_does_not_reach_them() -> None:
    assert list(made_in_order(hears_interrupts, range(2), workers=1, lost=LOST)) == [False, False]


def test_a_process_that_is_ended_from_outside_is_what_the_caller_says_of_it() -> None:
    with pytest.raises(CafVideoError, match="^a process was lost: ask for fewer$"):
        list(made_in_order(ended, range(3), workers=1, lost=LOST))
