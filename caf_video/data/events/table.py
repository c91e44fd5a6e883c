"""A table of events: CSV of spreadsheets, BORIS, Drive&Act, Kinetics …, a row an event.

What a column is called says what it holds and, often, the unit: `Start (s)`, `frame_start`,
`end_ms`. Where it does not, it must be said: a time taken for another unit is no error that shows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caf_video.data.columns import has_word_of_time
from caf_video.data.csv_rows import csv_rows
from caf_video.data.events.events import (
    EventError,
    EventList,
    Reading,
    frame_seconds,
    split_named,
)

ROLES = ("path", "label", "start", "end", "duration", "session", "split")
UNITS = ("s", "ms", "frames")

_TIMES = ("start", "end", "duration")
_MEANINGS: dict[str, str] = {
    **dict.fromkeys(("start", "begin", "from", "onset"), "start"),
    **dict.fromkeys(("end", "stop", "to", "offset"), "end"),
    **dict.fromkeys(("duration", "length"), "duration"),
    **dict.fromkeys(("split", "subset"), "split"),
    **dict.fromkeys(("session", "recording"), "session"),
    **dict.fromkeys(("label", "behavior", "behaviour", "class", "event", "action"), "label"),
    **dict.fromkeys(("activity", "label name", "class name"), "label"),
    **dict.fromkeys(("path", "video", "file", "filename", "file name", "video name"), "path"),
    **dict.fromkeys(("video id", "file id", "youtube id", "media file name", "media"), "path"),
}
_UNIT_WORDS: dict[str, str] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("frame", "frames"), "frames"),
}
_FILLING = ("time", "timestamp", "t", "in")  # words that tell nothing: `start_time` is a start
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{1,2}(?:[.,]\d+)?)")
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")
_NOTHING = ("", "na", "n/a", "nan", "none", "null", "-")


@dataclass(frozen=True)
class _Column:
    """Where a table has something, and the unit that its name tells."""

    position: int
    unit: str | None


def read_table(text: str, name: str, how: Reading) -> EventList:
    """The events of a table, its cells separated by commas, semicolons or tabs.

    Args:
        text: Of the file.
        name: Of the file.
        how: Its columns, unit, fps and first_frame (0 unless given) say what the header does not.

    Raises:
        EventError: A column is missing or may be two, a time has no unit, is no number, or may be
            in a column that is not understood; names file and line.
    """
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=header_line.count)
    rows = csv_rows(text, name, EventError, separator=delimiter)
    line, header = next(rows, (1, []))
    columns = _columns(header, how.columns, f"{name} line {line}")
    kinetics = "youtube_id" in header
    read = {column.position for column in columns.values()}
    found = EventList(unread=[name for at, name in enumerate(header) if name and at not in read])
    seen: dict[str, int] = {}
    for line, cells in rows:
        place = f"{name} line {line}"
        if len(cells) != len(header):
            raise EventError(f"{place}: {len(cells)} cells, but the header has {len(header)}")
        row = {role: cells[column.position] for role, column in columns.items()}
        times: dict[str, float | None] = {}
        for role in _TIMES:
            if role in columns:
                unit = how.unit or columns[role].unit or ("s" if kinetics else None)
                column = f"{place}: {header[columns[role].position]}"
                times[role] = _seconds(row[role], unit, how, column, length=role == "duration")
        if not row["path"]:
            raise EventError(f"{place}: {header[columns['path'].position]} is empty")
        if not times and len(header) > len(columns) and row["path"] in seen:
            raise EventError(
                f"{place}: {row['path']} is on line {seen[row['path']]}, too, and no column is "
                f"known to be a time (it has {', '.join(header)}): say which with --columns "
                "start=COLUMN,end=COLUMN, or leave columns that mean nothing out"
            )
        seen.setdefault(row["path"], line)
        if any(time is None for time in times.values()):
            found.skipped["no time"] += 1
            continue
        start = times.get("start") or 0.0
        end = times.get("end")
        if end is None and (duration := times.get("duration")) is not None:
            end = start + duration
        trimmed = f"{row['path']}_{start:06.0f}_{end or 0:06.0f}" if kinetics else ""
        found.add(
            row["path"],
            row["label"],
            start,
            end,
            split=split_named(row.get("split", ""), place),
            session=row.get("session", ""),
            trimmed_name=trimmed,
        )
    return found


def parse_columns(text: str) -> dict[str, str]:
    """`path=video,start=t0` as a mapping from what is meant to the column that holds it.

    Raises:
        EventError: A part is not NAME=COLUMN, or names nothing that a table could hold.
    """
    columns: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column or role not in ROLES:
            raise EventError(
                f"--columns: {part!r} is not NAME=COLUMN, with a NAME of {', '.join(ROLES)}"
            )
        if role in columns:
            raise EventError(f"--columns: {role} is given twice")
        columns[role] = column
    return columns


def _columns(header: Sequence[str], given: Mapping[str, str], place: str) -> dict[str, _Column]:
    """Where the header has what: as given, else as the names tell."""
    columns: dict[str, _Column] = {}
    there = ", ".join(header)
    for role, column in given.items():
        if header.count(column) != 1:
            what = "two columns are" if column in header else "no column is"
            raise EventError(f"{place}: {what} called {column!r} (it has {there})")
        columns[role] = _Column(header.index(column), _meaning(column)[1])
    guessed: dict[str, list[int]] = {}
    for position, column in enumerate(header):
        role, _ = _meaning(column)
        if role and role not in given and column not in given.values():
            guessed.setdefault(role, []).append(position)
    if {"end", "duration"} <= given.keys() | guessed.keys() and "duration" not in given:
        guessed.pop("duration")  # start and end say it all
    for role, positions in guessed.items():
        if len(positions) > 1:
            several = ", ".join(header[position] for position in positions)
            raise EventError(
                f"{place}: the {role} may be in several columns, {several}: "
                f"choose one with --columns {role}=COLUMN"
            )
        columns[role] = _Column(positions[0], _meaning(header[positions[0]])[1])
    for role in ("path", "label"):
        if role not in columns:
            raise EventError(
                f"{place}: no column is known to be the {role} (it has {there}): "
                f"say which with --columns {role}=COLUMN"
            )
    if "start" not in columns and ({"end", "duration"} & columns.keys()):
        raise EventError(
            f"{place}: there is an end, but no column is known to be the start (it has {there}): "
            "say which with --columns start=COLUMN"
        )
    timed = "start" in columns and bool({"end", "duration"} & columns.keys())
    used = {column.position for column in columns.values()}
    for position, column in enumerate(header):
        if not timed and position not in used and has_word_of_time(column):
            role = "end" if "start" in columns else "start"
            raise EventError(
                f"{place}: column {column!r} has a word of time in it and is not understood: say "
                f"what it is with --columns {role}={column}, or leave it out"
            )
    return columns


def _meaning(column: str) -> tuple[str, str | None]:
    """What a column's name says that it holds, "" if nothing known, and its unit."""
    words = re.sub(r"[\s_\-()\[\]:.]+", " ", column.casefold()).split()
    if (plain := " ".join(words)) in _MEANINGS:
        return _MEANINGS[plain], None
    units = [_UNIT_WORDS[word] for word in words if word in _UNIT_WORDS]
    left = " ".join(word for word in words if word not in _UNIT_WORDS and word not in _FILLING)
    role = _MEANINGS.get(left, "")
    return (role, units[0] if units else None) if role in _TIMES else ("", None)


def _seconds(
    cell: str, unit: str | None, how: Reading, place: str, *, length: bool
) -> float | None:
    """A time in seconds; None for an empty cell."""
    if cell.casefold() in _NOTHING:
        return None
    if clock := _CLOCK.fullmatch(cell):
        hours, minutes, seconds = clock.groups()
        return 3600 * float(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
    if not _NUMBER.fullmatch(cell):
        raise EventError(f"{place} {cell!r} is not a time")
    value = float(cell.replace(",", "."))
    if unit is None:
        raise EventError(
            f"{place} {cell} does not say its unit: add --unit s, --unit ms or --unit frames"
        )
    if unit == "frames":
        first = 0 if length or how.first_frame is None else how.first_frame
        return frame_seconds(value, Reading(fps=how.fps, first_frame=first), place)
    return value / 1000 if unit == "ms" else value
