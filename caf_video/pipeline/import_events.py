"""events of an annotation tool and a folder of videos ─► manifest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caf_video.data.events.detect import read_events
from caf_video.data.events.events import EventError, Reading
from caf_video.data.events.videos import VideoFolder, clips_of
from caf_video.data.manifest import Clip, require_one_split_per_recording, write_manifest


@dataclass(frozen=True)
class Imported:
    """The clips of a new manifest, and what did not become one.

    Attributes:
        clips: Those written.
        skipped: How many events were left out, by reason.
        missing: How many events, or annotated sessions, of each video that was not found.
        unread: Columns of a table that nothing reads.
    """

    clips: list[Clip]
    skipped: Counter[str]
    missing: Counter[str]
    unread: Sequence[str] = ()


def import_events(
    source: Path, videos: Path, out: Path, *, how: Reading, format: str | None = None
) -> Imported:
    """Write the manifest of events that an annotation tool exported.

    Args:
        source: A file of events, or a folder of them.
        videos: The folder that their videos are in, or in folders of it.
        out: The manifest; what is there already is never replaced.
        how: What the files do not say themselves.
        format: Theirs; None tells it by what they hold.

    Raises:
        CafVideoError: A file cannot be read, a video's name fits several files, no event is left,
            or the manifest is there already; says which and why.
    """
    require_new(out)
    events = read_events(source, how, format=format)
    found = clips_of(events.events, VideoFolder(videos))
    skipped = events.skipped + Counter({"there twice": found.repeated})
    imported = Imported(found.clips, skipped, found.missing, events.unread)
    write_imported(imported, out, source=source, videos=videos)
    return imported


def write_imported(imported: Imported, out: Path, *, source: Path, videos: Path) -> None:
    """Write the manifest of imported clips.

    Raises:
        CafVideoError: There is no clip, or one recording is in two splits.
    """
    if not imported.clips:
        why = [f"{count} {reason}" for reason, count in imported.skipped.most_common()]
        if imported.missing:
            names = ", ".join(list(imported.missing)[:3])
            why.append(f"{len(imported.missing)} videos not found in {videos}: {names}, …")
        raise EventError(f"{source}: no event became a clip ({'; '.join(why) or 'none is there'})")
    places = [f"clip {clip.clip_id!r}" for clip in imported.clips]
    require_one_split_per_recording(imported.clips, places)
    write_manifest(imported.clips, out)


def require_new(out: Path) -> None:
    """Raise EventError where something is at `out` already."""
    if out.exists() or out.is_symlink():
        raise EventError(f"{out} is there already and is not replaced: choose another --out")
