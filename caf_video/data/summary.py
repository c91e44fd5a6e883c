"""What a list of clips holds: how many of each class and split, how long, how many frames."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from caf_video.data.clip import ALL_SPLITS, SPLITS, Clip

FEATURE_BYTES = 2  # float16


@dataclass(frozen=True)
class LabelCount:
    """Of one label: its clips in each of `splits_in`, and the recordings that they come from."""

    label: str
    clips: tuple[int, ...]
    recordings: int


def splits_in(clips: Sequence[Clip]) -> list[str]:
    """Those that every list should have, and beside them those that this one has."""
    used = {clip.split for clip in clips}
    return [split for split in ALL_SPLITS if split in SPLITS or split in used]


def label_counts(clips: Sequence[Clip]) -> list[LabelCount]:
    """The clips of every label, by name.

    Args:
        clips: Each with its split.
    """
    splits = splits_in(clips)
    counted = Counter((clip.label, clip.split) for clip in clips)
    recordings: dict[str, set[str]] = {}
    for clip in clips:
        recordings.setdefault(clip.label, set()).add(clip.recording)
    return [
        LabelCount(label, tuple(counted[label, split] for split in splits), len(recordings[label]))
        for label in sorted(recordings)
    ]


def length_seconds(clip: Clip, duration_seconds: float | None = None) -> float | None:
    """How long a clip is; None where it goes to the end of a video of unknown duration."""
    end = clip.end_seconds
    if duration_seconds is not None:
        end = duration_seconds if end is None else min(end, duration_seconds)
    return None if end is None else end - clip.start_seconds


def sampled_frames(clips: Sequence[Clip], *, timesteps: int, candidates: int) -> int:
    """How many frames stand for the clips: candidates a timestep in the train split, else one."""
    return sum(timesteps * (candidates if clip.split == "train" else 1) for clip in clips)


def features_bytes(frames: int, channels: int, grid: tuple[int, int]) -> int:
    """What the feature maps of so many frames take on disk."""
    return frames * channels * grid[0] * grid[1] * FEATURE_BYTES
