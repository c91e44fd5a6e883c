"""Worker processes that do not fight over cores, and leave Ctrl-C to their parent."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from caf_video.errors import CafVideoError
from caf_video.files import lives

_MOST_MEMORY = 2**34  # bytes of address space, of which libraries reserve some at once
_STARTER = "CAF_VIDEO_STARTED_BY"  # in the environment: the process that starts others


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
    import cv2  # not above: who calls a function apart may do without

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent: it cancels the others
    cv2.setNumThreads(1)  # the processes already take all cores


@contextmanager
def ending_with_starter() -> Iterator[None]:
    """Inside, a process ends within seconds of the one that started it, if that was inside, too.

    Of a training's processes the first starts the others. Is it killed before they have met, they
    would wait for it for half an hour.
    """
    starter = os.environ.get(_STARTER)
    # Where a launcher stands between the two, as it does on Windows, nobody is watched.
    if starter is not None and sys.platform != "win32" and _is_ours(int(starter)):
        threading.Thread(target=_end_after, args=(int(starter),), daemon=True).start()
    os.environ[_STARTER] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[_STARTER]
        if starter is not None:
            os.environ[_STARTER] = starter


def _is_ours(starter: int) -> bool:
    return os.getppid() == starter or not lives(starter)


def _end_after(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(1)
    os._exit(1)


class ProcessDied(CafVideoError):
    """A process ended, or was ended, before it had an answer; the message says how."""


def apart(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """What a function answers in a process that may crash, hang or use up its memory.

    A script that leads here keeps its own work under `if __name__ == "__main__":`, for no process
    is forked from it.

    Args:
        function: Of a module; what it answers can be pickled, so can its arguments.
        seconds: Time limit.

    Raises:
        ProcessDied: There is no answer: the process crashed, or the time is up.
        CafVideoError: As the function raises it.
    """
    # A fork server imports the function's module once, and each process then has it.
    linux = sys.platform == "linux"
    context: Any = multiprocessing.get_context("forkserver" if linux else "spawn")
    if linux:
        context.set_forkserver_preload(["__main__", function.__module__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()  # ours alone is left, so that the death of the process ends the connection
    try:
        if not ours.poll(seconds):
            raise ProcessDied(f"no answer in {seconds:g} s")
        answer, failure = ours.recv()
    except (EOFError, ConnectionError) as error:
        process.join(timeout=5)
        raise ProcessDied(exit_words(process.exitcode)) from error
    finally:
        process.kill()
        process.join(timeout=5)
        ours.close()
    if failure is not None:
        raise failure
    return answer


def exit_words(exit_code: int | None) -> str:
    """How a process ended."""
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def _answer(connection: Connection, function: Callable[..., Any], arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = _MOST_MEMORY if hard == resource.RLIM_INFINITY else min(hard, _MOST_MEMORY)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        connection.send((function(*arguments), None))
    except CafVideoError as error:
        connection.send((None, error))
    except MemoryError:
        connection.send((None, ProcessDied("it would take more memory than there is")))
