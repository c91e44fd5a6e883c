"""A reading in a process of its own, with limits of time and memory, and what came of it."""

import hashlib
import os
import pickle
import resource
import select
import signal
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from caf_video.errors import CafVideoError

MEMORY_BYTES = 6 * 2**30  # beside what the parent has
KINDS = ("clean", "same", "wrong", "foreign", "crash", "hang")


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


def read_apart(
    read: Callable[[], Any], seconds: float, expected: str | None
) -> tuple[Outcome, str]:
    """Read in a forked process; the outcome against an expected digest, and the digest."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        with os.fdopen(theirs, "wb") as answer:
            answer.write(pickle.dumps(_attempt(read)))
        os._exit(0)
    os.close(theirs)
    answer = b""
    hangs = False
    with os.fdopen(ours, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], seconds)
            if not ready:
                hangs = True
                break
            if not (piece := pipe.read(65536)):
                break
            answer += piece
    if hangs:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if hangs:
        return Outcome("hang", f"no answer in {seconds:g} s"), ""
    if not answer:
        return Outcome("crash", f"status {status}"), ""
    kind, words = pickle.loads(answer)
    if kind == "read":
        same = expected is None or words == expected
        return Outcome("same" if same else "wrong"), words
    return Outcome(kind, words), ""


def _attempt(read: Callable[[], Any]) -> tuple[str, str]:
    """In the child: the digest of the result, or the failure."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    warnings.simplefilter("ignore")
    with open("/proc/self/statm") as held:
        used = int(held.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return "read", digest(read())
    except CafVideoError as error:
        return "clean", str(error)
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "caf_video/" in f.filename] or list(frames)
        place = f"{ours[-1].filename.rpartition('caf_video/')[2]}:{ours[-1].lineno}"
        return "foreign", f"{type(error).__name__} at {place}: {str(error)[:150]!r}"
