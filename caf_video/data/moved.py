"""Videos that lie elsewhere than their list says."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from caf_video.data.clip import Clip
from caf_video.errors import CafVideoError


def relocated(clip: Clip, videos: Path | None) -> Clip:
    """The clip with its video where it is now: below `videos`, where it is not at its own place.

    Raises:
        CafVideoError: It is in neither place.
    """
    if clip.path.exists():
        return clip
    parts = clip.path.parts[1:]
    for first in range(len(parts) if videos is not None else 0):
        path = Path(str(videos), *parts[first:])  # the longest ending that is there
        if path.exists():
            return replace(clip, path=path.absolute())
    where = f"nor below {videos}" if videos is not None else "(--videos FOLDER says where)"
    raise CafVideoError(f"clip {clip.clip_id!r}: no video at {clip.path} {where}")


def where_they_are(clips: Sequence[Clip], videos: Path | None) -> list[Clip]:
    """The clips, each as `relocated`; one whose video is in neither place stays as it is."""
    return [_or_as_it_is(clip, videos) for clip in clips]


def _or_as_it_is(clip: Clip, videos: Path | None) -> Clip:
    try:
        return clip if videos is None else relocated(clip, videos)
    except CafVideoError:
        return clip
