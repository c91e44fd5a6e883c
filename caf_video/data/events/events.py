"""An event of a video as somebody annotated it, and what was skipped, counted by reason."""

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caf_video.errors import CafVideoError
from caf_video.reading import file_bytes, text_of

_SPLITS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


class EventError(CafVideoError):
    """A list of events that cannot be read as it is. Names the file and the place in it."""


@dataclass(frozen=True)
class Event:
    """Something that happens in a video.

    Attributes:
        video: The video, as the list names it: a stem, a file, a path of another machine or a URL.
        label: Its class.
        start_seconds: When it begins, to the millisecond.
        end_seconds: When it ends; None is the end of the video.
        split: train, val, test, or "" where the list does not say.
        session: The recording that the video belongs to; "" means that the video is one.
        other_names: What the video may be called instead.
        trimmed_name: What a file that holds nothing but this event would be called; "": nothing.
    """

    video: str
    label: str
    start_seconds: float
    end_seconds: float | None
    split: str = ""
    session: str = ""
    other_names: tuple[str, ...] = ()
    trimmed_name: str = ""


@dataclass
class EventList:
    """The events of a file, how many were skipped, by reason, and columns that nothing reads."""

    events: list[Event] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)

    def add(self, video: str, label: str, start: float, end: float | None, **more: Any) -> None:
        """Keep an event, its times in seconds, or count why it is none."""
        label = one_spelling(label)
        times = [start] if end is None else [start, end]
        if not label:
            self.skipped["no label"] += 1
        elif not all(map(math.isfinite, times)):
            self.skipped["a time that is no number"] += 1
        elif start < 0:
            self.skipped["begins before its video"] += 1
        elif end is not None and milliseconds(end) <= milliseconds(start):
            self.skipped["ends when it begins, or before"] += 1
        else:
            ending = None if end is None else milliseconds(end)
            self.events.append(Event(video, label, milliseconds(start), ending, **more))

    def take(self, other: "EventList") -> None:
        """Add the events of another file and what was skipped or not read there."""
        self.events += other.events
        self.skipped += other.skipped
        self.unread += [name for name in other.unread if name not in self.unread]


@dataclass(frozen=True)
class Reading:
    """What a file of events does not say itself. None, or nothing, where nobody said it.

    Attributes:
        tier: The tier, attribute or control whose events are meant.
        columns: Of a table, the name of the column that holds each of path, label, start, end,
            duration, session and split.
        unit: Of the times of a table: s, ms or frames.
        fps: Frames a second, for times in frames.
        first_frame: The number of a video's first frame, 0 or 1.
    """

    tier: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    unit: str | None = None
    fps: float | None = None
    first_frame: int | None = None


def milliseconds(seconds: float) -> float:
    """A time to the millisecond: 0.1 + 0.2 is 0.3."""
    return round(seconds, 3)


def one_spelling(text: str) -> str:
    """A name without stray spaces and line ends, in one of Unicode's spellings."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def split_named(name: str, place: str) -> str:
    """The split that a file's name for it means; "" for none.

    Raises:
        EventError: It means none of them.
    """
    plain = name.strip().casefold()
    for split, names in _SPLITS.items():
        if plain in names:
            return split
    if plain:
        raise EventError(
            f"{place}: unknown split {name!r}: it is training, validation or testing, or their "
            "usual short forms"
        )
    return ""


def chosen_tier(wanted: str | None, counts: Mapping[str, int], place: str, *, kind: str) -> str:
    """The tier that is meant: the one named, or the only one that holds events.

    A name counts as written, else ignoring case, else where one tier ends with it.

    Args:
        wanted: Its name, or None.
        counts: How many events each tier holds.
        place: Of the file, for the message.
        kind: What the format calls a tier.

    Raises:
        EventError: None or several fit; lists what there is.
    """
    there = ", ".join(f"{name!r} ({count})" for name, count in counts.items()) or "none"
    if wanted is None:
        full = [name for name, count in counts.items() if count]
        if len(full) == 1:
            return full[0]
        what = f"several {kind}s hold events" if full else f"no {kind} holds an event"
        raise EventError(f"{place}: {what}: choose one with --tier (there are: {there})")
    if wanted in counts:
        return wanted
    plain = one_spelling(wanted).casefold()
    names = {name: one_spelling(name).casefold() for name in counts}
    fitting = [name for name, spelled in names.items() if spelled == plain]
    fitting = fitting or [name for name, spelled in names.items() if spelled.endswith(plain)]
    if len(fitting) == 1:
        return fitting[0]
    found = f"several {kind}s are" if fitting else f"no {kind} is"
    raise EventError(f"{place}: {found} called {wanted!r} (there are: {there})")


def frame_seconds(frame: float, how: Reading, place: str) -> float:
    """When a frame appears, in seconds.

    Raises:
        EventError: Nobody said how many frames a second has, or which number the first has.
    """
    if how.fps is None:
        raise EventError(f"{place}: times are in frames: say how many a second has with --fps")
    if how.first_frame is None:
        raise EventError(
            f"{place}: times are in frames: say whether the first is 0 or 1 with --first-frame"
        )
    return (frame - how.first_frame) / how.fps


def read_text(path: Path) -> str:
    """The text of a file of events, UTF-8, or UTF-16 with its mark.

    Raises:
        EventError: It cannot be read, is a pickle, or is no text; names file and line.
    """
    try:
        data = file_bytes(path)
    except OSError as error:
        raise EventError(f"cannot read {path}: {error.strerror}") from error
    if path.suffix.lower() in (".pkl", ".pickle") or data[:1] == b"\x80":
        raise EventError(f"{path} is a pickle, which could run code: it is never opened")
    return text_of(data, path.name, EventError)


def parse_json(text: str, name: str) -> Any:
    """What a JSON text holds.

    Raises:
        EventError: It is not JSON; names file, line and column.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise EventError(
            f"{name} line {error.lineno} column {error.colno}: not JSON: {error.msg}"
        ) from error
    except (RecursionError, ValueError) as error:  # nested, or a number, beyond reason
        raise EventError(f"{name}: not JSON that can be read: {error}") from error


def member(mapping: Any, key: str, kind: type | tuple[type, ...], place: str) -> Any:
    """A value of a JSON object.

    Raises:
        EventError: There is no object, no such key, or the value is of another kind.
    """
    if not isinstance(mapping, dict):
        raise EventError(f"{place}: {_short(mapping)} is not an object with {key!r}")
    if key not in mapping:
        raise EventError(
            f"{place}: no {key!r} (it has {', '.join(map(str, mapping)) or 'nothing'})"
        )
    value = mapping[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise EventError(f"{place}: {key} is {_short(value)}, not what belongs there")
    return value


def optional(
    mapping: Any, key: str, kind: type | tuple[type, ...], default: Any, place: str
) -> Any:
    """A value of a JSON object, or `default` where it has none.

    Raises:
        EventError: There is no object, or the value is of another kind.
    """
    if isinstance(mapping, dict) and mapping.get(key) is None:
        return default
    return member(mapping, key, kind, place)


def number(value: Any, place: str) -> float:
    """A JSON number, or a text that is one.

    Raises:
        EventError: It is neither.
    """
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise EventError(f"{place}: {_short(value)} is not a number")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
