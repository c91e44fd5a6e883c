"""Lists of clips on disk: a manifest CSV, a folder per class, or a `path label` list.

Every complaint names the file and the line: these files are written by hand, or by a script that
nobody here has seen.
"""

import csv
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from caf_video.data.class_folders import VIDEO_SUFFIXES, videos_of_class_folders
from caf_video.data.clip import GALLERY, QUERY, SPLIT_OF_NAME, SPLITS, Clip, ManifestError
from caf_video.data.clip_row import WHOLE_VIDEOS, Row, relative_path, with_made_ids
from caf_video.data.columns import COLUMNS, FPS_COLUMN, Columns, resembles_a_column, understand
from caf_video.data.csv_rows import csv_rows
from caf_video.errors import InputError
from caf_video.files import written_whole
from caf_video.reading import file_bytes, text_of

__all__ = [
    "COLUMNS",
    "SPLITS",
    "Clip",
    "ManifestError",
    "read_clips",
    "read_manifest",
    "require_one_split_per_recording",
    "write_manifest",
]

SEPARATORS = (",", ";", "\t")


def read_clips(source: str | Path, *, fps: float | None = None) -> list[Clip]:
    """Read a manifest CSV, a folder with a sub-folder per class, or a list of `path label` lines.

    In a folder the class is the sub-folder's name and the clip is the whole video; one more level
    of folders named as splits are gives the splits. A list is as pytorchvideo reads it: the
    label stands after the last space. Both name a clip by its path without the suffix.

    Args:
        source: The file or folder.
        fps: Frames a second, of clips whose list does not say: see `read_manifest`.

    Raises:
        ManifestError: Names the file and line, and what is wrong with it.
    """
    _require_rate(fps)
    source = Path(source)
    if source.is_dir():
        return _read_class_folders(source, fps)
    if source.suffix.lower() in VIDEO_SUFFIXES and source.is_file():
        raise ManifestError(f"{source} is a video, not a list of clips")
    text = _read_text(source)
    if _looks_like_a_manifest(text):
        return _parse_manifest(text, source, fps)
    return _parse_path_list(text, source, fps)


def read_manifest(path: str | Path, *, fps: float | None = None) -> list[Clip]:
    """Read a manifest CSV: columns path and label, and those of `COLUMNS` that there are.

    Columns may have the names that others give them (`columns.NAMES`), cells be separated by
    commas, semicolons or tabs. Times are seconds, milliseconds or frames, as the column's name
    says, or h:mm:ss.s; a duration stands for an end. Where no column names the clips, an id is made
    of path and times. A column that says nothing known is kept in `Clip.other`; one with a word of
    time in its name that is not understood is refused. Paths are relative to the manifest; whether
    the videos exist is not looked at here.

    Args:
        path: The file.
        fps: Frames a second, of clips without one in a column: what times in frames are made
            seconds by, and raw streams and folders of frames are timed by.

    Raises:
        ManifestError: Names the file and line, and what is wrong with it; of the columns, all that
            is wrong.
    """
    _require_rate(fps)
    path = Path(path)
    return list(_parsed(_read_text(path), path, fps, Path.cwd()))


@lru_cache(maxsize=1)
def _parsed(text: str, path: Path, fps: float | None, folder: Path) -> tuple[Clip, ...]:
    """What a text means at its place, seen from a folder; stages of one command ask several times.

    A hundred thousand rows take six seconds.
    """
    return tuple(_parse_manifest(text, path, fps))


def _require_rate(fps: float | None) -> None:
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps is {fps}, not a number above 0")


def write_manifest(clips: Iterable[Clip], path: str | Path, *, ours: bool = False) -> None:
    """Write a manifest CSV, whole or not at all, its paths relative to it on the same drive.

    Columns are `COLUMNS`, fps if a clip has one, and the clips' other columns.

    Args:
        clips: Which.
        path: Of the file.
        ours: As `written_whole` takes it.

    Raises:
        ManifestError: The file cannot be written; what was there before is undamaged.
    """
    path = Path(path)
    with (
        written_whole(path, ManifestError, ours=ours) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerows(_manifest_rows(clips, path.parent))


def _manifest_rows(clips: Iterable[Clip], folder: Path) -> list[list[str]]:
    """The cells of a manifest that lies in a folder, its header first."""
    clips = list(clips)
    fps = [FPS_COLUMN] if any(clip.fps is not None for clip in clips) else []
    others = list(dict.fromkeys(name for clip in clips for name, _ in clip.other))
    rows = [[*COLUMNS, *fps, *others]]
    for clip in clips:
        cells = _cells_of(clip, folder)
        cells += ["" if clip.fps is None else repr(float(clip.fps)) for _ in fps]
        kept = dict(clip.other)
        rows.append(cells + [kept.get(name, "") for name in others])
    return rows


def require_one_split_per_recording(clips: Sequence[Clip], places: Sequence[str]) -> None:
    """Refuse clips of one recording in two splits: the test would hold what was trained on.

    Queries and gallery are one test, and may share a recording.

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
        its = f"{QUERY} or {GALLERY}" if clip.split in (QUERY, GALLERY) else clip.split
        split, earlier = split_of.setdefault(clip.recording, (its, place))
        if split != its:
            what = f"session {clip.session!r}" if clip.session else f"video {clip.path.name}"
            raise ManifestError(
                f"{place}: {what} is in split {clip.split!r}, but in {split!r} on {earlier}: "
                "a session belongs to one split"
            )


def _read_text(path: Path) -> str:
    try:
        data = file_bytes(path)
    except FileNotFoundError as error:
        raise ManifestError(f"no list of clips at {path}") from error
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}") from error
    return text_of(data, path.name, ManifestError)


def _separator(line: str) -> str:
    """What separates the cells of a header: that which leaves most names of columns."""

    def names(separator: str) -> tuple[int, int]:
        cells = _cells_of_line(line, separator)
        return sum(resembles_a_column(cell.strip()) for cell in cells), len(cells)

    return max(SEPARATORS, key=names)


def _cells_of_line(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # no header, at any rate
        return []


def _first_line(text: str) -> str:
    return next((line.strip("\r") for line in text.split("\n") if line.strip()), "")


def _looks_like_a_manifest(text: str) -> bool:
    line = _first_line(text)
    cells = _cells_of_line(line, _separator(line))
    if len(cells) > 1 and sum(resembles_a_column(cell.strip()) for cell in cells) >= 2:
        return True
    words = line.split()
    return "clip_id" in words or sum(word in COLUMNS for word in words) >= 2


def _parse_manifest(text: str, source: Path, fps: float | None) -> list[Clip]:
    separator = _separator(_first_line(text))
    rows = csv_rows(text, source.name, ManifestError, separator=separator)
    line, header = next(rows, (1, []))
    columns = _understood(header, f"{source.name} line {line}")
    numbered = [(f"{source.name} line {line}", cells) for line, cells in rows]
    for place, cells in numbered:
        if len(cells) != len(header):
            raise ManifestError(f"{place}: {len(cells)} cells, but the header has {len(header)}")
    kept = [
        (at, name)
        for at, name in columns.others
        if header[at] or any(cells[at] for _, cells in numbered)
    ]
    for at, name in kept if "split" not in columns.position else ():
        held = {cells[at].casefold() for _, cells in numbered} - {""}
        if held and held <= SPLIT_OF_NAME.keys():
            raise ManifestError(
                f"{source.name}: column {name!r} holds names of splits ({', '.join(sorted(held))}) "
                "and is not understood: call it split, or leave it out"
            )
    clips = []
    for place, cells in numbered:
        row = Row({meaning: cells[at] for meaning, at in columns.position.items()}, columns, place)
        clip = row.clip(source.parent, fps, thousands=separator == ",")
        clips.append(replace(clip, other=tuple((name, cells[at]) for at, name in kept)))
    places = [place for place, _ in numbered]
    if "clip_id" not in columns.position:
        clips = with_made_ids(clips, [cells[columns.position["path"]] for _, cells in numbered])
    return _checked(clips, places, source)


def _understood(header: Sequence[str], place: str) -> Columns:
    if len(header) == 1 and (separator := re.search(r"[;\s]", header[0])):
        raise ManifestError(f"{place}: columns are separated by {separator[0]!r}, not by ','")
    columns, problems = understand(header)
    if problems:
        raise ManifestError(f"{place}: {'; '.join(problems)}")
    return columns


def _parse_path_list(text: str, source: Path, fps: float | None) -> list[Clip]:
    rows, places = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{source.name} line {number}"
        words = line.strip().rsplit(maxsplit=1)
        if len(words) < 2:
            raise ManifestError(
                f"{place}: {line.strip()!r} is neither `path label` nor the header of a manifest "
                f"({','.join(COLUMNS)})"
            )
        rows.append((words[0], words[1], ""))
        places.append(place)
    return _checked(_whole_videos(rows, source.parent, places, fps), places, source)


def _read_class_folders(source: Path, fps: float | None) -> list[Clip]:
    rows = videos_of_class_folders(source)
    places = [str(source / path) for path, _, _ in rows]
    return _checked(_whole_videos(rows, source, places, fps), places, source)


def _whole_videos(
    rows: Sequence[tuple[str, str, str]], folder: Path, places: Sequence[str], fps: float | None
) -> list[Clip]:
    """A clip for each path, label and split; its id is the path, less the suffix if unique."""
    stems = [os.path.splitext(path)[0] for path, _, _ in rows]
    same_stem: dict[str, set[str]] = {}
    for stem, (path, _, _) in zip(stems, rows, strict=True):
        same_stem.setdefault(stem, set()).add(path)
    clips = []
    for stem, (path, label, split), place in zip(stems, rows, places, strict=True):
        clip_id = stem if len(same_stem[stem]) == 1 else path
        cells = {"clip_id": clip_id, "path": path, "label": label, "split": split}
        clips.append(Row(cells, WHOLE_VIDEOS, place).clip(folder, fps))
    return clips


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
        relative_path(clip.path, folder),
        clip.label,
        repr(float(clip.start_seconds)),
        "" if clip.end_seconds is None else repr(float(clip.end_seconds)),
        clip.session,
        clip.split,
    ]
