"""Which frames of a video stand for a clip."""

import numpy as np

from caf_video.data.manifest import Clip, ManifestError
from caf_video.errors import InputError

# Times in containers are rounded to their time base, at worst 1 ms (Matroska).
_ROUNDING_SECONDS = 2e-3


def segment_frame_indices(
    first: int, stop: int, *, timesteps: int, candidates: int = 1
) -> np.ndarray:
    """Cut the frames [first, stop) in equal segments and take candidate frames of each (maths 5).

    The k candidates of a segment are the middles of its k equal parts, so the middle one of them,
    `candidates // 2`, is the middle of the segment whatever k is: the frame that tests use. A clip
    of fewer frames than asked for gives some of them more than once.

    Returns:
        Frame indices, int64, shape (timesteps, candidates), ascending.

    Raises:
        InputError: `candidates` is even, a number is not positive, or there is no frame.
    """
    if timesteps < 1:
        raise InputError(f"{timesteps} timesteps: a clip has at least one")
    if candidates < 1 or candidates % 2 == 0:
        raise InputError(
            f"{candidates} candidate frames per segment: take an odd number, one is in the middle"
        )
    if not 0 <= first < stop:
        raise InputError(f"no frame to choose from {first} up to, not including, {stop}")
    parts = np.arange(timesteps * candidates, dtype=np.int64)
    # Frame i covers [i, i + 1), and part p has its middle at (p + 1/2) / parts of the whole.
    offsets = (2 * parts + 1) * (stop - first) // (2 * len(parts))
    return first + offsets.reshape(timesteps, candidates)


def clip_frame_range(
    clip: Clip, times_seconds: np.ndarray, duration_seconds: float
) -> tuple[int, int]:
    """The frames on screen during a clip, as (first, stop).

    An end after the end of the video means the end of the video: hand-made annotations overshoot.

    Args:
        times_seconds: When each frame of the video appears, shape (frames,), from 0 on.
        duration_seconds: Of the video.

    Raises:
        ManifestError: The clip starts after the end of the video.
    """
    end_of_video = max(duration_seconds, float(times_seconds[-1]))
    if clip.start_seconds > 0 and clip.start_seconds >= end_of_video:
        raise ManifestError(
            f"clip {clip.clip_id!r}: start {clip.start_seconds} s is after the end of "
            f"{clip.path.name} ({end_of_video:.3f} s)"
        )
    # The frame on screen at the start is the last that appeared by then.
    first = int(np.searchsorted(times_seconds, clip.start_seconds + _ROUNDING_SECONDS, "right")) - 1
    stop = len(times_seconds)
    if clip.end_seconds is not None:
        stop = int(np.searchsorted(times_seconds, clip.end_seconds - _ROUNDING_SECONDS, "left"))
    return max(first, 0), max(stop, first + 1, 1)
