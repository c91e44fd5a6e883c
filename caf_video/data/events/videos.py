"""Events to clips: the video files that they mean, found in a folder by name."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from caf_video.data.events.events import Event, EventError
from caf_video.data.manifest import VIDEO_SUFFIXES, Clip


@dataclass(frozen=True)
class FoundClips:
    """Events as clips of video files.

    Attributes:
        clips: Those whose video was found, in the order of their videos' paths and their times.
        missing: How many events each video has that was not found, by its name.
        repeated: How many events were there before, with the same video, label and times.
    """

    clips: list[Clip]
    missing: Counter[str]
    repeated: int


class VideoFolder:
    """The video files of a folder and the folders in it, to be found by name.

    Raises:
        EventError: It is no folder, or holds no video.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise EventError(f"no folder of videos at {root}")
        self._by_stem: dict[str, list[Path]] = {}
        for path in sorted(root.rglob("*")):
            video = path.suffix.lower() in VIDEO_SUFFIXES and path.name[0] != "."
            if video and path.is_file():
                self._by_stem.setdefault(path.stem, []).append(path)
        if not self._by_stem:
            raise EventError(f"{root} holds no video")

    def find(self, name: str) -> Path | None:
        """The file that a name means: a stem, a file's name, a path of anywhere, a URL.

        Of files with the same stem the one that shares most of the path counts.

        Raises:
            EventError: Several do; names them.
        """
        parts = [part for part in re.split(r"[/\\]+", name) if part not in ("", ".", "..")]
        if not parts:
            return None
        last = PurePosixPath(parts[-1])
        by_file = last.suffix.lower() in VIDEO_SUFFIXES
        found = self._by_stem.get(last.stem if by_file else last.name, [])
        if len(found) > 1:
            shared = [_shared(path, parts, by_file) for path in found]
            found = [path for path, many in zip(found, shared, strict=True) if many == max(shared)]
        if len(found) > 1:
            several = ", ".join(path.relative_to(self.root).as_posix() for path in found)
            raise EventError(f"{self.root} holds several videos called {name!r}: {several}")
        return found[0] if found else None


def clips_of(events: Sequence[Event], videos: VideoFolder) -> FoundClips:
    """The clips that events are, each named by its video and its number there.

    Raises:
        EventError: A video's name fits several files.
    """
    missing: Counter[str] = Counter()
    placed: dict[tuple[Path, float, float | None, str], Event] = {}
    repeated = 0
    found: dict[tuple[str, ...], Path | None] = {}
    for event in events:
        names = (event.video, *event.other_names)
        if names not in found:
            found[names] = next(filter(None, map(videos.find, names)), None)
        path, start, end = found[names], event.start_seconds, event.end_seconds
        if path is None and event.trimmed_name:  # a file that holds the event and nothing else
            path, start, end = videos.find(event.trimmed_name), 0.0, None
        if path is None:
            missing[event.video] += 1
            continue
        key = (path, start, end, event.label)
        repeated += key in placed
        placed.setdefault(key, event)
    stems = Counter(stem for stem, _ in {(path.stem, path) for path, *_ in placed})
    numbers: Counter[Path] = Counter()
    clips = []
    for path, start, end, label in sorted(placed, key=_order):
        event = placed[path, start, end, label]
        numbers[path] += 1
        unique = stems[path.stem] == 1
        name = path.stem if unique else path.relative_to(videos.root).as_posix()
        clips.append(
            Clip(
                clip_id=f"{name}-{numbers[path]:04d}",
                path=path.absolute(),
                label=label,
                start_seconds=start,
                end_seconds=end,
                session=event.session,
                split=event.split,
            )
        )
    return FoundClips(clips, missing, repeated)


def _order(placed: tuple[Path, float, float | None, str]) -> tuple[str, float, float, str]:
    path, start, end, label = placed
    return str(path), start, float("inf") if end is None else end, label


def _shared(path: Path, parts: Iterable[str], by_file: bool) -> int:
    """How many parts a file's path and a name share, from the end."""
    own = list(path.parts) if by_file else [*path.parts[:-1], path.stem]
    count = 0
    for one, other in zip(reversed(own), reversed(list(parts)), strict=False):
        if one != other:
            break
        count += 1
    return count
