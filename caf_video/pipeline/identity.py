"""Which event of which video a clip is, whatever it is called and wherever its file lies."""

import hashlib
import json
from pathlib import Path

from caf_video.data.manifest import Clip
from caf_video.data.video.reader import VideoError
from caf_video.files import is_ours, reason, was_ours, written_whole
from caf_video.reading import file_bytes


class VideoDigests:
    """SHA-256 of videos, of each file once: a digest is made again if size or date are others.

    Args:
        file: Where they are kept; None keeps them for this process alone. One that cannot be read,
            or is not as it was written, is as good as none.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._changed = False
        self._known = _kept(file)

    def event(self, clip: Clip) -> str:
        """The digest of a clip's video and the clip's times: its identity.

        Raises:
            VideoError: The video is not there, or cannot be read.
        """
        try:
            digest = self._digest(clip.path)
        except OSError as error:
            raise VideoError(
                f"clip {clip.clip_id!r}: {clip.path}: {reason(error)}; "
                "`caf-video check MANIFEST --write GOOD.csv` keeps the clips that can be read"
            ) from error
        rate = "" if clip.fps is None else f"|{clip.fps}"  # by which times become frames
        return f"{digest}|{clip.start_seconds}|{clip.end_seconds}{rate}"

    def keep(self) -> None:
        """Write what is known to the file, beside what another process has written meanwhile."""
        if self._file is not None and self._changed:
            self._known = _kept(self._file) | self._known
            with written_whole(self._file, ours=True) as part:
                part.write_text(json.dumps(self._known, indent=1) + "\n", encoding="utf-8")

    def _digest(self, path: Path) -> str:
        # A folder of frames is a video too.
        files = [path] if not path.is_dir() else sorted(p for p in path.iterdir() if p.is_file())
        stats = [file.stat() for file in files]
        seen = "|".join(f"{stat.st_size}/{stat.st_mtime_ns}" for stat in stats)
        if len(files) > 1:
            seen = hashlib.sha256(seen.encode()).hexdigest()
        before, digest = self._known.get(str(path), ["", ""])
        if before != seen:
            digest = _sha256(files)
            self._known[str(path)] = [seen, digest]
            self._changed = True
        return digest


def _kept(file: Path | None) -> dict[str, list[str]]:
    """What a file holds; a digest is taken as it is, so what is not as we wrote it is left out."""
    if file is None or not file.is_file() or (was_ours(file) and not is_ours(file)):
        return {}
    try:
        known = json.loads(file_bytes(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return {
        path: entry
        for path, entry in (known.items() if isinstance(known, dict) else ())
        if isinstance(entry, list)
        and len(entry) == 2
        and all(isinstance(one, str) for one in entry)
    }


def _sha256(files: list[Path]) -> str:
    digests = []
    for file in files:
        with file.open("rb") as content:
            digests.append(hashlib.file_digest(content, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )
