"""clips ─► which of them can be read, and why the others cannot."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from caf_video.data.check import ClipCheck, check_clips
from caf_video.data.csv_rows import csv_rows
from caf_video.data.manifest import Clip, ManifestError, manifest_rows, read_clips, write_manifest
from caf_video.errors import InputError
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
    replace: bool = False,
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
        replace: Whether a file may stand there that is not such a manifest.
        listed: Called with the clips before the first is opened.

    Raises:
        InputError: What stands at `good` is not ours to replace; nothing was opened.
        CafVideoError: The list cannot be read, or the other not written.
    """
    clips = read_clips(source, fps=fps)
    if good is not None:
        _require_replaceable(good, source, clips, replace)
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
        write_manifest([one.clip for one in checked if one.ok], good)
    return checked


def _require_replaceable(good: Path, source: Path, clips: Sequence[Clip], replace: bool) -> None:
    """Refuse to write over the list itself, ever, and over another file unless told to.

    A manifest of no other rows than this list's may be replaced: it is what is written here.
    """
    if not good.exists() or good.is_dir():  # a folder is refused where it is written
        return
    if source.exists() and good.samefile(source):
        raise InputError(f"{good} is the list that is checked: write to another file")
    if not (replace or _holds_only(good, clips)):
        raise InputError(
            f"{good} is there already and holds other things: write to another file, or --force"
        )


def _holds_only(file: Path, clips: Sequence[Clip]) -> bool:
    """Whether a file is a manifest of some of these clips, as it is written here."""
    header, *rows = manifest_rows(clips, file.parent)
    known = set(map(tuple, rows))
    try:
        found = [cells for _, cells in csv_rows(file.read_text("utf-8"), file.name, ManifestError)]
    except (ManifestError, OSError, UnicodeError):
        return False
    return bool(found) and found[0] == header and all(tuple(row) in known for row in found[1:])
