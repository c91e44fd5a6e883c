"""Lists of clips on disk: a manifest CSV, a folder per class, or a `path label` list.

Every complaint names the file and the line: these files are written by hand, or by a script that
nobody here has seen.
"""

import csv
import difflib
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from caf_video.data.csv_rows import csv_rows
from caf_video.errors import CafVideoError
from caf_video.files import written_whole

SPLITS = ("train", "val", "test")
REQUIRED_COLUMNS = ("clip_id", "path", "label")
COLUMNS = (*REQUIRED_COLUMNS, "start_seconds", "end_seconds", "session", "split")
VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)


class ManifestError(CafVideoError):
    """A list of clips that cannot be used as it is. Names the file and line, or the clip."""


@dataclass(frozen=True)
class Clip:
    """A trimmed event of a video.

    Attributes:
        clip_id: Its name, unique in its list.
        path: The video file, absolute.
        label: Its class.
        start_seconds: When the event begins, from the first frame of the video.
        end_seconds: When it ends; None is the end of the video.
        session: The recording it is cut from; "" means that the video file is the session.
        split: One of `SPLITS`, or "" where none is assigned yet.
    """

    clip_id: str
    path: Path
    label: str
    start_seconds: float = 0.0
    end_seconds: float | None = None
    session: str = ""
    split: str = ""

    @property
    def recording(self) -> str:
        """What no two splits may share: the session, or the video file where none is named."""
        return self.session or str(self.path)


def read_clips(source: str | Path) -> list[Clip]:
    """Read a manifest CSV, a folder with a sub-folder per class, or a list of `path label` lines.

    In a folder the class is the sub-folder's name and the clip is the whole video; one more level
    of folders named train, val and test gives the splits. A list is as pytorchvideo reads it: the
    label stands after the last space. Both name a clip by its path without the suffix.

    Raises:
        ManifestError: Names the file and line, and what is wrong with it.
    """
    source = Path(source)
    if source.is_dir():
        return _read_class_folders(source)
    text = _read_text(source)
    if _looks_like_a_manifest(text):
        return _parse_manifest(text, source)
    return _parse_path_list(text, source)


def read_manifest(path: str | Path) -> list[Clip]:
    """Read a manifest CSV, of the columns `COLUMNS`; those not in `REQUIRED_COLUMNS` may be absent.

    Paths are relative to the manifest. Columns of other names are left alone, unless one looks like
    a misspelling of a column that is absent. Whether the videos exist is not looked at here.

    Raises:
        ManifestError: Names the file and line, and what is wrong with it.
    """
    path = Path(path)
    return _parse_manifest(_read_text(path), path)


def write_manifest(clips: Iterable[Clip], path: str | Path) -> None:
    """Write a manifest CSV, whole or not at all, its paths relative to it on the same drive.

    Raises:
        ManifestError: The file cannot be written; what was there before is undamaged.
    """
    path = Path(path)
    with (
        written_whole(path, ManifestError) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows(_cells_of(clip, path.parent) for clip in clips)


def require_one_split_per_recording(clips: Sequence[Clip], places: Sequence[str]) -> None:
    """Refuse clips of one recording in two splits: the test would hold what was trained on.

    Args:
        places: What to call each clip in the message, such as `line 7` or `clip 'left-3'`.

    Raises:
        ManifestError: A session, or a video without one, is in two splits; or a video is given a
            session in one place and none in another, which would hide such a leak.
    """
    split_of: dict[str, tuple[str, str]] = {}
    named: dict[Path, tuple[bool, str]] = {}
    for clip, place in zip(clips, places, strict=True):
        has_session, earlier = named.setdefault(clip.path, (bool(clip.session), place))
        if has_session != bool(clip.session):
            raise ManifestError(
                f"{place}: {clip.path.name} has {'a' if clip.session else 'no'} session here, but "
                f"{'one' if has_session else 'none'} on {earlier}: name it for all its clips"
            )
        if not clip.split:
            continue
        split, earlier = split_of.setdefault(clip.recording, (clip.split, place))
        if split != clip.split:
            what = f"session {clip.session!r}" if clip.session else f"video {clip.path.name}"
            raise ManifestError(
                f"{place}: {what} is in split {clip.split!r}, but in {split!r} on {earlier}: "
                "a session belongs to one split"
            )


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ManifestError(f"no list of clips at {path}") from error
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"{path.name} line {line}: byte 0x{data[error.start]:02x} is not UTF-8: "
            "save the list of clips as UTF-8 text"
        ) from error


def _resembled_column(name: str) -> str | None:
    """The known column that a header cell spells, or may have meant to spell."""
    plain = re.sub(r"[\s-]+", "_", name.casefold())
    # `start`, `start_ms`, `end_time`: to ignore one is to take the whole video for the event.
    first_word = plain.split("_")[0]
    if first_word in ("start", "end"):
        return f"{first_word}_seconds"
    return next(iter(difflib.get_close_matches(plain, COLUMNS, n=1, cutoff=0.75)), None)


def _looks_like_a_manifest(text: str) -> bool:
    first_line = next((line for line in text.split("\n") if line.strip()), "")
    words = re.split(r"[,;\s]+", first_line.strip())
    return "clip_id" in words or sum(_resembled_column(word) is not None for word in words) >= 2


def _parse_manifest(text: str, source: Path) -> list[Clip]:
    rows = csv_rows(text, source.name, ManifestError)
    line, header = next(rows, (1, []))
    _require_columns(header, f"{source.name} line {line}")
    clips, places = [], []
    for line, cells in rows:
        place = f"{source.name} line {line}"
        if len(cells) != len(header):
            raise ManifestError(f"{place}: {len(cells)} cells, but the header has {len(header)}")
        clips.append(_clip_of(dict(zip(header, cells, strict=True)), source.parent, place))
        places.append(place)
    return _checked(clips, places, source)


def _require_columns(header: Sequence[str], place: str) -> None:
    if len(header) == 1 and (separator := re.search(r"[;\s]", header[0])):
        raise ManifestError(f"{place}: columns are separated by {separator[0]!r}, not by ','")
    for column in header:
        if column and header.count(column) > 1:
            raise ManifestError(f"{place}: two columns are named {column!r}")
        meant = _resembled_column(column)
        if column not in COLUMNS and meant is not None and meant not in header:
            raise ManifestError(f"{place}: unknown column {column!r}: did you mean {meant!r}?")
    for column in REQUIRED_COLUMNS:
        if column not in header:
            raise ManifestError(f"{place}: no column {column!r} (it has {', '.join(header)})")


def _clip_of(row: dict[str, str], folder: Path, place: str) -> Clip:
    for column in COLUMNS:
        if any(unicodedata.category(character) == "Cc" for character in row.get(column, "")):
            raise ManifestError(f"{place}: {column} {row[column]!r} holds a control character")
    for column in REQUIRED_COLUMNS:
        if not row[column]:
            raise ManifestError(f"{place}: {column} is empty")
    split = row.get("split", "")
    if split and split not in SPLITS:
        raise ManifestError(f"{place}: unknown split {split!r}: it is one of {', '.join(SPLITS)}")
    start = _seconds(row, "start_seconds", place) or 0.0
    end = _seconds(row, "end_seconds", place)
    if end is not None and end < start:
        raise ManifestError(f"{place}: end {end} s is before start {start} s")
    if end is not None and end == start:
        raise ManifestError(f"{place}: start and end are both {start} s: the clip is empty")
    return Clip(
        clip_id=_one_spelling(row["clip_id"]),
        path=_absolute(folder, row["path"]),
        label=_one_spelling(row["label"]),
        start_seconds=start,
        end_seconds=end,
        session=_one_spelling(row.get("session", "")),
        split=split,
    )


def _seconds(row: dict[str, str], column: str, place: str) -> float | None:
    cell = row.get(column, "")
    if not cell:
        return None
    try:
        seconds = float(cell)
    except ValueError as error:
        raise ManifestError(f"{place}: {column} {cell!r} is not a number of seconds") from error
    if not math.isfinite(seconds) or seconds < 0:
        raise ManifestError(f"{place}: {column} {cell!r} is not a time from 0 s on")
    return seconds


def _one_spelling(name: str) -> str:
    """One of Unicode's spellings of a name: an é in two codes must not make two classes."""
    return unicodedata.normalize("NFC", name)


def _absolute(folder: Path, path: str) -> Path:
    # Lexical, so that a link keeps its own name and two ways to write a path are one video.
    return Path(os.path.abspath(folder / path))


def _parse_path_list(text: str, source: Path) -> list[Clip]:
    rows, places = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{source.name} line {number}"
        words = line.strip().rsplit(maxsplit=1)
        if len(words) < 2:
            raise ManifestError(
                f"{place}: {line.strip()!r} is neither `path label` nor the header of a manifest "
                f"({','.join(REQUIRED_COLUMNS)}, …)"
            )
        rows.append((words[0], words[1], ""))
        places.append(place)
    return _checked(_whole_videos(rows, source.parent, places), places, source)


def _read_class_folders(source: Path) -> list[Clip]:
    roots = [("", source)]
    folders = _sub_folders(source)
    if folders and all(folder.name in SPLITS for folder in folders):
        roots = [(folder.name, folder) for folder in folders]
    rows = []
    for split, root in roots:
        for folder in _sub_folders(root):
            videos = sorted(path for path in folder.rglob("*") if _is_video(path))
            if not videos:
                raise ManifestError(f"class folder {folder} holds no video")
            rows += [(path.relative_to(source).as_posix(), folder.name, split) for path in videos]
    places = [str(source / path) for path, _, _ in rows]
    return _checked(_whole_videos(rows, source, places), places, source)


def _sub_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    except OSError as error:
        raise ManifestError(f"cannot read {folder}: {error.strerror}") from error


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.name[0] != "." and path.is_file()


def _whole_videos(
    rows: Sequence[tuple[str, str, str]], folder: Path, places: Sequence[str]
) -> list[Clip]:
    """A clip for each path, label and split; its id is the path, less the suffix if unique."""
    stems = [os.path.splitext(path)[0] for path, _, _ in rows]
    same_stem: dict[str, set[str]] = {}
    for stem, (path, _, _) in zip(stems, rows, strict=True):
        same_stem.setdefault(stem, set()).add(path)
    return [
        _clip_of(
            {
                "clip_id": stem if len(same_stem[stem]) == 1 else path,
                "path": path,
                "label": label,
                "split": split,
            },
            folder,
            place,
        )
        for stem, (path, label, split), place in zip(stems, rows, places, strict=True)
    ]


def _checked(clips: list[Clip], places: Sequence[str], source: Path) -> list[Clip]:
    if not clips:
        raise ManifestError(f"{source} lists no clip")
    first: dict[str, str] = {}
    for clip, place in zip(clips, places, strict=True):
        if clip.clip_id in first:
            raise ManifestError(f"{place}: clip {clip.clip_id!r} is on {first[clip.clip_id]} too")
        first[clip.clip_id] = place
    require_one_split_per_recording(clips, places)
    return clips


def _cells_of(clip: Clip, folder: Path) -> list[str]:
    return [
        clip.clip_id,
        _relative(clip.path, folder),
        clip.label,
        repr(float(clip.start_seconds)),
        "" if clip.end_seconds is None else repr(float(clip.end_seconds)),
        clip.session,
        clip.split,
    ]


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, os.path.abspath(folder))).as_posix()
    except ValueError:  # another drive
        return path.as_posix()
