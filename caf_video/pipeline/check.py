"""clips ─► which of them can be read, and why the others cannot."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from caf_video.data.check import ClipCheck, check_clips
from caf_video.data.manifest import Clip, read_clips, write_manifest
from caf_video.data.moved import where_they_are
from caf_video.data.sampling import segment_frame_indices
from caf_video.errors import InputError
from caf_video.files import require_ours
from caf_video.pipeline.progress import Track, quietly


def check(
    source: Path,
    *,
    timesteps: int = 3,
    candidates: int = 3,
    timeout_seconds: float = 30.0,
    workers: int = 2,
    fps: float | None = None,
    good: Path | None = None,
    videos: Path | None = None,
    listed: Callable[[Sequence[Clip]], None] = lambda clips: None,
    track: Track = quietly,
) -> list[ClipCheck]:
    """Open every clip as extraction does, in processes that can be killed.

    Args:
        source: A manifest, a folder per class, or a `path label` list.
        timesteps: Frames that stand for a clip.
        candidates: Frames per timestep of training clips, odd.
        timeout_seconds: For one clip.
        workers: Processes at once.
        fps: Frames a second, of clips whose list does not say.
        good: Where to write a manifest of the clips that can be read, with all columns of theirs.
        videos: Where the videos are, if they are not where the list says.
        listed: Called with the clips before the first is opened.

    Raises:
        InputError: What stands at `good` is not ours to replace; nothing was opened.
        CafVideoError: The list cannot be read, or the other not written.
    """
    clips = where_they_are(read_clips(source, fps=fps), videos)
    if good is not None:
        if good.exists() and source.exists() and good.samefile(source):
            raise InputError(f"{good} is the list that is checked: write to another file")
        require_ours(good, failure=InputError)
    segment_frame_indices(0, 1, timesteps=timesteps, candidates=candidates)  # or refuses them
    listed(clips)
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
        require_ours(good, failure=InputError)  # it may have come since
        write_manifest([one.clip for one in checked if one.ok], good, ours=True)
    return checked
