"""Rendering in several processes that can be interrupted."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import cv2

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None
) -> Iterator[tuple[Job, Result]]:
    """Each job with what `work` made of it, as it is finished; in this process if one is enough.

    Args:
        work: Can be pickled, as its jobs, results and expected errors can.
        workers: Processes; None: one for each core.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        for job in jobs:
            yield job, work(job)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit other libraries' threads
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_set_up) as pool:
        futures = {pool.submit(work, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _set_up() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent: it cancels the others
    cv2.setNumThreads(1)  # the processes already take all cores
