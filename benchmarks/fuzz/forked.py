"""A reading in a process of its own, with limits of time and memory, and what came of it."""

import hashlib
import os
import resource
import signal
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from caf_video.errors import CafVideoError

MEMORY_BYTES = 6 * 2**30  # beside what the parent has
READINGS = 200  # of one process
KINDS = ("clean", "same", "wrong", "other", "foreign", "crash", "hang")


@dataclass(frozen=True)
class Outcome:
    """What came of one reading: a kind, and the words of a failure."""

    kind: str
    words: str = ""


def digest(value: Any) -> str:
    """Of a result of plain values, arrays, tensors and objects of these."""
    seen = hashlib.sha256()

    def add(one: Any) -> None:
        if isinstance(one, torch.Tensor):
            one = one.detach().cpu().numpy()
        if isinstance(one, np.ndarray):
            seen.update(f"{one.dtype}{one.shape}".encode())
            seen.update(np.ascontiguousarray(one).tobytes() if one.dtype != object else b"")
            one = one.tolist() if one.dtype == object else None
        if isinstance(one, dict):
            one = sorted(one.items(), key=lambda item: str(item[0]))
        if isinstance(one, list | tuple):
            seen.update(f"({len(one)}".encode())
            for each in one:
                add(each)
        else:
            seen.update(repr(one).encode("utf-8", "backslashreplace"))

    add(value)
    return seen.hexdigest()


class Worker:
    """A forked process that reads one thing after another; another takes its place when it ends.

    Args:
        reads: What it may be asked for, by name.
    """

    def __init__(self, reads: Mapping[str, Callable[[], Any]]) -> None:
        self._reads = reads
        self._child = 0
        self._asked = 0
        self._connection: Connection | None = None

    def read(self, name: str, seconds: float, expected: str | None) -> tuple[Outcome, str]:
        """What comes of a reading against an expected digest, and the digest."""
        if self._connection is None or self._asked >= READINGS:
            self.end()
            self._begin()
        connection = self._connection
        assert connection is not None
        self._asked += 1
        try:
            connection.send(name)
            if not connection.poll(seconds):
                self.end()
                return Outcome("hang", f"no answer in {seconds:g} s"), ""
            kind, words = connection.recv()
        except (EOFError, ConnectionError):
            return Outcome("crash", f"status {self.end()}"), ""
        if kind == "read":
            same = expected is None or words == expected
            return Outcome("same" if same else "wrong"), words
        if kind == "foreign":  # after a MemoryError, say, it is no longer as others
            self.end()
        return Outcome(kind, words), ""

    def end(self) -> int:
        """Kill the process, if there is one; its status."""
        if self._connection is None:
            return 0
        self._connection.close()
        self._connection = None
        os.kill(self._child, signal.SIGKILL)  # one that has died is a zombie still
        return os.waitpid(self._child, 0)[1]

    def _begin(self) -> None:
        self._connection, theirs = Pipe()
        self._asked = 0
        self._child = os.fork()
        if self._child == 0:
            self._connection.close()
            self._serve(theirs)
        theirs.close()

    def _serve(self, connection: Connection) -> None:
        """In the child, which does not return."""
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        warnings.simplefilter("ignore")
        with open("/proc/self/statm") as held:
            used = int(held.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            while True:
                connection.send(_attempt(self._reads[connection.recv()]))
        finally:
            os._exit(0)


def _attempt(read: Callable[[], Any]) -> tuple[str, str]:
    """In the child: the digest of the result, or the failure."""
    try:
        return "read", digest(read())
    except CafVideoError as error:
        return "clean", str(error)
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "caf_video/" in f.filename] or list(frames)
        place = f"{ours[-1].filename.rpartition('caf_video/')[2]}:{ours[-1].lineno}"
        return "foreign", f"{type(error).__name__} at {place}: {str(error)[:150]!r}"
