"""The warning of an explanation that is right as computed and may not be what was meant."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_OURS = ("caf_video.", "contextlib", "torch.")
_IS_QUIET = ContextVar("is_quiet", default=False)


class AttentionWarning(UserWarning):
    """An explanation that is right as computed but may not be what was meant."""


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, `warn_caller` says nothing in this thread; the process's filters are left alone."""
    token = _IS_QUIET.set(True)
    try:
        yield
    finally:
        _IS_QUIET.reset(token)


def warn_caller(message: str) -> None:
    """An AttentionWarning at the line outside this package and the standard library's contexts."""
    if _IS_QUIET.get():
        return
    frame, depth = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, AttentionWarning, stacklevel=depth + 1)
