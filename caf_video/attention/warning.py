"""The warning of an explanation that is right as computed and may not be what was meant."""

import sys
import warnings

_OURS = ("caf_video.", "contextlib", "torch.")


class AttentionWarning(UserWarning):
    """An explanation that is right as computed but may not be what was meant."""


def warn_caller(message: str) -> None:
    """An AttentionWarning at the line outside this package and the standard library's contexts."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, AttentionWarning, stacklevel=depth + 1)
