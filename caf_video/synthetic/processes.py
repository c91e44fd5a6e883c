"""Rendering in several processes that can be interrupted."""

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import as_completed
from typing import TypeVar

from caf_video.processes import worker_pool

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None
) -> Generator[tuple[Job, Result]]:
    """Each job with what `work` made of it, as it is finished; in this process if one is enough.

    Close it (`contextlib.closing`): Ctrl-C may come while the caller has the result, and not here.

    Args:
        work: Can be pickled, as its jobs, results and expected errors can.
        workers: Processes; None: one for each core.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        for job in jobs:
            yield job, work(job)
        return
    with worker_pool(workers) as pool:
        futures = {pool.submit(work, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
