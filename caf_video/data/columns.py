"""Which column of a list of clips holds what, under the names that people give them."""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

COLUMNS = ("clip_id", "path", "label", "start_seconds", "end_seconds", "session", "split")
FPS_COLUMN = "fps"
REQUIRED_COLUMNS = ("path", "label")

# Names of a column that are taken, in lower case with "_" between words.
NAMES: dict[str, tuple[str, ...]] = {
    "clip_id": ("clip_id", "id", "event_id", "segment_id", "annotation_id"),
    "path": (
        *("path", "file", "filename", "file_name", "filepath", "file_path"),
        *("video", "video_path", "video_file", "video_name", "clip_path", "clip_file"),
    ),
    "label": (
        *("label", "class", "class_name", "event", "event_label", "event_type", "category"),
        *("behavior", "behaviour", "action", "activity", "maneuver", "manoeuvre"),
    ),
    "session": ("session", "session_id", "recording", "recording_id", "drive", "trip"),
    "split": ("split", "subset", "partition"),
    "fps": ("fps", "frame_rate", "framerate", "frames_per_second"),
}
EITHER_PATH_OR_ID = "clip"  # the path where no other column is, else the id
TIME_SPELLINGS = (
    "start_seconds, end_seconds, duration_seconds; start or begin, from, time_start, t_start; end "
    "or stop, to, time_end, t_end; start_ms, end_ms; frame_start, frame_end with fps"
)

_TIMES = {
    **dict.fromkeys(("start", "begin", "beginning", "from", "onset"), "start"),
    **dict.fromkeys(("end", "stop", "to", "until", "offset"), "end"),
    **dict.fromkeys(("duration", "dur", "length"), "duration"),
}
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "seconds"),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), "milliseconds"),
    **dict.fromkeys(("frame", "frames"), "frames"),
}
_FILLERS = frozenset({"time", "times", "timestamp", "t", "event", "clip", "segment", "action"})
# A column with such a word that is not understood is refused: to ignore a time is to take the
# whole video for the event.
_WORDS_OF_TIME = frozenset(
    {
        *("time", "times", "timestamp", "start", "begin", "end", "stop", "onset", "duration"),
        *("sec", "secs", "second", "seconds", "ms", "msec", "millisecond", "milliseconds"),
        *("microseconds", "nanoseconds", "minute", "minutes", "hour", "hours"),
        *("frame", "frames", "t0", "t1"),
    }
)
_RUN_TOGETHER = re.compile(
    r"(time|frame|start|begin|end|stop)(time|timestamp|frame|start|begin|end|stop|ms|sec|seconds)"
)


@dataclass(frozen=True)
class Columns:
    """Where the columns of a list of clips are.

    Attributes:
        position: Of what is known: clip_id, path, label, session, split, fps, start, end, duration.
        unit: Of start, end and duration: "seconds", "milliseconds" or "frames".
        names: Of the columns as they are written.
        others: The columns that mean nothing here: position and name.
    """

    position: dict[str, int]
    unit: dict[str, str]
    names: tuple[str, ...]
    others: tuple[tuple[int, str], ...]


def understand(header: Sequence[str]) -> tuple[Columns, list[str]]:
    """The columns that a header names, and all that is wrong with it, a phrase each."""
    position: dict[str, int] = {}
    unit: dict[str, str] = {}
    others: list[tuple[int, str]] = []
    problems = [
        f"two columns are named {name!r}"
        for name in dict.fromkeys(header)
        if name and header.count(name) > 1
    ]
    repeated = {name for name in header if name and header.count(name) > 1}
    either: int | None = None
    for at, name in enumerate(header):
        if name in repeated:
            continue
        if _plain(name) == EITHER_PATH_OR_ID:
            either = at
            continue
        meaning, its_unit = meaning_of(name)
        if not meaning:
            others.append((at, name or f"column {at + 1}"))
        elif meaning in position:
            problems.append(
                f"columns {header[position[meaning]]!r} and {name!r} both say the "
                f"{_thing(meaning)}: keep one"
            )
        else:
            position[meaning] = at
            if its_unit:
                unit[meaning] = its_unit
    if either is not None:
        meaning = "clip_id" if "path" in position else "path"
        if meaning in position:
            problems.append(
                f"columns {header[position[meaning]]!r} and {header[either]!r} both say the "
                f"{_thing(meaning)}: keep one"
            )
        position.setdefault(meaning, either)
    problems += _problems_of_others(header, others, position)
    problems += [
        f"no column {column!r} (it has {', '.join(name for name in header if name)})"
        for column in REQUIRED_COLUMNS
        if column not in position and not any(column == _plain(name) for name in repeated)
    ]
    return Columns(position, unit, tuple(header), tuple(others)), problems


def meaning_of(name: str) -> tuple[str, str]:
    """What a column of that name holds and, of a time, its unit; ("", "") where it is not known."""
    plain = _plain(name)
    for meaning, names in NAMES.items():
        if plain in names:
            return meaning, ""
    words = [word for word in _words(plain) if word not in _FILLERS]
    kinds = [_TIMES[word] for word in words if word in _TIMES]
    units = [_UNITS[word] for word in words if word in _UNITS]
    if len(kinds) == 1 and len(units) <= 1 and len(words) == len(kinds) + len(units):
        return kinds[0], (units or ["seconds"])[0]
    return "", ""


def resembles_a_column(name: str) -> bool:
    """Whether a cell could be a column's name, misspelt perhaps."""
    plain = _plain(name)
    return plain == EITHER_PATH_OR_ID or bool(meaning_of(name)[0]) or _resembled(plain) is not None


def has_word_of_time(name: str) -> bool:
    """Whether a column's name has a word in it that says when something is."""
    return any(word in _WORDS_OF_TIME for word in _words(_plain(name)))


def _problems_of_others(
    header: Sequence[str], others: Sequence[tuple[int, str]], position: dict[str, int]
) -> Iterator[str]:
    """Columns that are not known, and that to leave aside would be to lose a time or a label."""
    for at, name in others:
        if not header[at]:
            continue
        if has_word_of_time(name):
            yield (
                f"column {name!r} has a word of time in it and is not understood "
                f"(understood are {TIME_SPELLINGS}): rename or remove it"
            )
            continue
        meant = _resembled(_plain(name))
        if meant is not None and (meaning_of(meant)[0] not in position):
            yield f"unknown column {name!r}: did you mean {meant!r}?"


def _resembled(plain: str) -> str | None:
    return next(iter(difflib.get_close_matches(plain, COLUMNS, n=1, cutoff=0.75)), None)


def _plain(name: str) -> str:
    """A name in lower case with "_" between its words: `Start (s)`, `startTime`, `start-time`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", unicodedata.normalize("NFKC", name))
    return re.sub(r"[\W_]+", "_", apart.casefold()).strip("_")


def _words(plain: str) -> list[str]:
    words: list[str] = []
    for word in plain.split("_"):
        together = _RUN_TOGETHER.fullmatch(word)
        words += together.groups() if together else [word]
    return words


def _thing(meaning: str) -> str:
    return {"clip_id": "clip's id", "fps": "frame rate"}.get(meaning, meaning)
