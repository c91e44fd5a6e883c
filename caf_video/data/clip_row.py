"""A row of a list of clips as a clip."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from caf_video.data.clip import ALL_SPLITS, SPLIT_OF_NAME, Clip, ManifestError
from caf_video.data.columns import Columns
from caf_video.data.times import frame_rate, seconds_of

_SAME_END_SECONDS = 0.1  # between an end and start + duration, which tools round apart
WHOLE_VIDEOS = Columns({}, {}, (), ())  # of a list without columns


class Row:
    """The cells of a row by what they mean, and where it stands."""

    def __init__(self, cells: dict[str, str], columns: Columns, place: str) -> None:
        self.cells = cells
        self.columns = columns
        self.place = place

    def clip(self, folder: Path, fps: float | None, *, thousands: bool = True) -> Clip:
        """The clip of the row; its id is "" where it has none."""
        for meaning, cell in self.cells.items():
            if any(unicodedata.category(character) == "Cc" for character in cell):
                raise self.wrong(meaning, "holds a control character")
            if any("\ud800" <= character <= "\udfff" for character in cell):
                raise self.wrong(meaning, "is not UTF-8, as a manifest is: rename it")
            if not cell and meaning in ("clip_id", "path", "label"):
                raise ManifestError(f"{self.place}: {self.name(meaning)} is empty")
        fps = self.rate() or fps
        start = self.seconds("start", fps, thousands) or 0.0
        end = self.end_seconds(start, fps, thousands)
        if end is not None and end < start:
            raise ManifestError(f"{self.place}: end {end} s is before start {start} s")
        if end is not None and end == start:
            raise ManifestError(
                f"{self.place}: start and end are both {start} s: the clip is empty"
            )
        path = _absolute(folder, self.cells["path"])
        return Clip(
            clip_id=_one_spelling(self.cells.get("clip_id", "")),
            path=path,
            label=_one_spelling(self.cells["label"]),
            start_seconds=start,
            end_seconds=end,
            session=_one_spelling(self.cells.get("session", "")),
            split=self.split(),
            fps=fps,
            listed_path=relative_path(path, folder),
        )

    def end_seconds(self, start: float, fps: float | None, thousands: bool) -> float | None:
        end = self.seconds("end", fps, thousands)
        duration = self.seconds("duration", fps, thousands)
        if duration is None:
            return end
        if end is not None and abs(start + duration - end) > _SAME_END_SECONDS:
            raise ManifestError(
                f"{self.place}: start {start} s and {self.name('duration')} {duration} s do not "
                f"make the end {end} s: correct it, or remove the column if it is the video's"
            )
        return start + duration if end is None else end

    def seconds(self, meaning: str, fps: float | None, thousands: bool) -> float | None:
        cell = self.cells.get(meaning, "")
        if not cell:
            return None
        try:
            return seconds_of(cell, self.columns.unit[meaning], fps, thousands=thousands)
        except ValueError as error:
            raise self.wrong(meaning, str(error)) from error

    def rate(self) -> float | None:
        cell = self.cells.get("fps", "")
        try:
            return frame_rate(cell) if cell else None
        except ValueError as error:
            raise self.wrong("fps", str(error)) from error

    def split(self) -> str:
        cell = self.cells.get("split", "")
        split = SPLIT_OF_NAME.get(cell.casefold(), "")
        if cell and not split:
            known = ", ".join(ALL_SPLITS)
            raise ManifestError(f"{self.place}: unknown split {cell!r}: it is one of {known}")
        return split

    def name(self, meaning: str) -> str:
        """Of its column."""
        at = self.columns.position.get(meaning)
        return meaning if at is None else self.columns.names[at]

    def wrong(self, meaning: str, why: str) -> ManifestError:
        return ManifestError(f"{self.place}: {self.name(meaning)} {self.cells[meaning]!r} {why}")


def with_made_ids(clips: Sequence[Clip], paths: Sequence[str]) -> list[Clip]:
    """Ids of path and times; a second event of the same times has its label, too.

    So rows that are added, behind the others, change no id.
    """
    made: list[Clip] = []
    taken: set[str] = set()
    labels: set[tuple[str, str]] = set()
    for clip, path in zip(clips, paths, strict=True):
        clip_id = _one_spelling(path)
        if clip.start_seconds or clip.end_seconds is not None:
            end = "" if clip.end_seconds is None else _short(clip.end_seconds)
            clip_id += f"@{_short(clip.start_seconds)}-{end}"
        repeated = (clip_id, clip.label) in labels  # the reader names the two lines
        labels.add((clip_id, clip.label))
        if clip_id in taken and not repeated:
            clip_id += f" {clip.label}"
        taken.add(clip_id)
        made.append(replace(clip, clip_id=clip_id))
    return made


def _short(seconds: float) -> str:
    """To the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _one_spelling(name: str) -> str:
    """One of Unicode's spellings of a name: an é in two codes must not make two classes."""
    return unicodedata.normalize("NFC", name)


def relative_path(path: Path, folder: Path) -> str:
    """The way from a folder to a path, with slashes; the path itself on another drive."""
    try:
        return Path(os.path.relpath(path, os.path.abspath(folder))).as_posix()
    except ValueError:
        return path.as_posix()


def _absolute(folder: Path, path: str) -> Path:
    # Lexical, so that a link keeps its own name and two ways to write a path are one video.
    return Path(os.path.abspath(folder / path))
