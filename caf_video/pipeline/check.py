"""clips ─► which of them can be read, and why the others cannot."""

from contextlib import closing
from pathlib import Path

from caf_video.data.check import ClipCheck, check_clips
from caf_video.data.manifest import read_clips, write_manifest
from caf_video.pipeline.progress import Track, quietly


def check(
    source: Path,
    *,
    timesteps: int = 3,
    candidates: int = 3,
    timeout_seconds: float = 30.0,
    workers: int = 2,
    good: Path | None = None,
    track: Track = quietly,
) -> list[ClipCheck]:
    """Open every clip as extraction does, in processes that can be killed.

    Args:
        source: A manifest, a folder per class, or a `path label` list.
        timesteps: Frames that stand for a clip.
        candidates: Frames per timestep of training clips, odd.
        timeout_seconds: For one clip.
        workers: Processes at once.
        good: Where to write a manifest of the clips that can be read.

    Raises:
        CafVideoError: The list cannot be read, or the other not written.
    """
    clips = read_clips(source)
    checks = check_clips(
        clips,
        timesteps=timesteps,
        candidates=candidates,
        timeout_seconds=timeout_seconds,
        workers=min(workers, max(len(clips), 1)),
    )
    with closing(checks):
        checked = list(track(checks, description="Checking clips", total=len(clips)))
    if good is not None:
        write_manifest([one.clip for one in checked if one.ok], good)
    return checked
