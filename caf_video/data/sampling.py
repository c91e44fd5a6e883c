"""Which frames of a video stand for a clip."""

import numpy as np

from caf_video.data.clip import Clip, ManifestError
from caf_video.data.video.reader import VideoReader
from caf_video.errors import InputError

# Times in containers are rounded to their time base, at worst 1 ms (Matroska).
_ROUNDING_SECONDS = 2e-3
_OVERSHOOT_SECONDS = 1.0  # annotations by hand are rounded to whole seconds
_SAME_RATE = 0.01  # 29.97 is 30


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


def clip_frame_indices(
    clip: Clip, reader: VideoReader, *, timesteps: int, candidates: int
) -> np.ndarray:
    """The frames of a clip's video that stand for it, as training and `check` take them.

    Args:
        clip: The clip.
        reader: Of its video, opened with the clip's `fps`.
        timesteps: Segments of the clip.
        candidates: Frames per segment of clips of the train split, odd; the others have one.

    Returns:
        Frame indices, int64, shape (timesteps, candidates) or (timesteps, 1), ascending.

    Raises:
        ManifestError: The clip is not in its video, or has fewer frames than timesteps; or its
            times are seconds and the video does not tell its rate, or another.
    """
    info = reader.info
    timed = clip.start_seconds > 0 or clip.end_seconds is not None
    if timed and not info.has_clock:
        raise ManifestError(
            f"clip {clip.clip_id!r}: {clip.path.name} does not tell its frame rate, and times in "
            "seconds need it: name it in a column 'fps', or with --fps"
        )
    if clip.fps is not None and abs(clip.fps - info.fps) > _SAME_RATE * info.fps:
        raise ManifestError(
            f"clip {clip.clip_id!r}: fps is {clip.fps:g}, but {clip.path.name} has {info.fps:g} "
            "frames a second: correct it"
        )
    first, stop = clip_frame_range(clip, reader.times_seconds, info.duration_seconds)
    if stop - first < timesteps:
        raise ManifestError(
            f"clip {clip.clip_id!r}: of {clip.path.name} it has {stop - first} frame(s), fewer "
            f"than the {timesteps} timesteps"
        )
    candidates = candidates if clip.split == "train" else 1
    return segment_frame_indices(first, stop, timesteps=timesteps, candidates=candidates)


def clip_frame_range(
    clip: Clip, times_seconds: np.ndarray, duration_seconds: float
) -> tuple[int, int]:
    """The frames on screen during a clip, as (first, stop).

    An end a little after the end of the video means the end of the video: hand-made annotations
    overshoot.

    Args:
        times_seconds: When each frame of the video appears, shape (frames,), from 0 on.
        duration_seconds: Of the video.

    Raises:
        ManifestError: The clip does not end after its start, starts after the end of the video, or
            ends more than a second after.
    """
    if clip.end_seconds is not None and clip.end_seconds <= clip.start_seconds:
        raise ManifestError(
            f"clip {clip.clip_id!r}: end {clip.end_seconds} s is not after start "
            f"{clip.start_seconds} s"
        )
    end_of_video = max(duration_seconds, float(times_seconds[-1]))
    if clip.start_seconds > 0 and clip.start_seconds >= end_of_video:
        raise ManifestError(
            f"clip {clip.clip_id!r}: start {clip.start_seconds} s is after the end of "
            f"{clip.path.name} ({end_of_video:.3f} s)"
        )
    if clip.end_seconds is not None and clip.end_seconds > end_of_video + _OVERSHOOT_SECONDS:
        raise ManifestError(
            f"clip {clip.clip_id!r}: end {clip.end_seconds} s is after the end of "
            f"{clip.path.name} ({end_of_video:.3f} s)"
        )
    # The frame on screen at the start is the last that appeared by then.
    first = int(np.searchsorted(times_seconds, clip.start_seconds + _ROUNDING_SECONDS, "right")) - 1
    stop = len(times_seconds)
    if clip.end_seconds is not None:
        stop = int(np.searchsorted(times_seconds, clip.end_seconds - _ROUNDING_SECONDS, "left"))
    return max(first, 0), max(stop, first + 1, 1)
