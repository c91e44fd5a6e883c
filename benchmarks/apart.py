"""Work in a process of its own: what it costs in time and memory, whatever else was done before."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cost:
    """What work found and took.

    Attributes:
        found: What it returned.
        seconds: Of processors, its threads' together: what others do on the machine counts little.
        peak_mb: The most memory that its process held above what it began with; files that are
            mapped into memory count as far as they were read.
    """

    found: Any
    seconds: float
    peak_mb: float


def apart(work: Callable[..., Any], *arguments: Any) -> Cost:
    """Do some work in a fork of this process, which has everything imported; on Linux.

    Args:
        work: A function of a module.
        arguments: Of it.
    """
    forked = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=forked) as pool:
        return pool.submit(_measured, work, arguments).result()


def _measured(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Cost:
    before, begun = _memory("VmRSS"), time.process_time()
    found = work(*arguments)
    seconds = time.process_time() - begun
    # Not `getrusage`: what it tells of a new process is at least what its parent held.
    return Cost(found, seconds, _memory("VmHWM") - before)


def _memory(entry: str) -> float:
    """What the system counts of this process, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith(f"{entry}:"))
    return int(line.split()[1]) * 1024 / 1e6
