"""Worker processes that do not fight over cores, and leave Ctrl-C to their parent."""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import cv2


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; what has not begun when the context ends, also by Ctrl-C, is given up.

    They are spawned: a fork would inherit other libraries' threads.
    """
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_set_up)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # only once: a second call would take it back


def _set_up() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent: it cancels the others
    cv2.setNumThreads(1)  # the processes already take all cores
