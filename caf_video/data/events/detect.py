"""Which format a file of events has, told by what it holds, and the events of files and folders."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caf_video.data.events.activitynet import read_activitynet
from caf_video.data.events.elan import read_elan
from caf_video.data.events.events import (
    EventError,
    EventList,
    Reading,
    parse_json,
    read_text,
)
from caf_video.data.events.label_studio import read_label_studio
from caf_video.data.events.table import read_table
from caf_video.data.events.via import read_via

_OF_TEXT: dict[str, Callable[[str, str, Reading], EventList]] = {
    "elan": read_elan,
    "csv": read_table,
}
_OF_JSON: dict[str, Callable[[Any, str, Reading], EventList]] = {
    "activitynet": read_activitynet,
    "via": read_via,
    "label-studio": read_label_studio,
}
FORMATS = (*_OF_TEXT, *_OF_JSON)
_SUFFIXES = (".eaf", ".json", ".csv", ".tsv")


def read_events(source: Path, how: Reading, *, format: str | None = None) -> EventList:
    """The events of a file, or of all such files in a folder and the folders in it.

    Args:
        source: A file, of any name; or a folder, of which .eaf, .json, .csv and .tsv are read.
        how: What the files do not say themselves.
        format: One of FORMATS; None tells it by what a file holds.

    Raises:
        EventError: There is no such file, or one cannot be read; names it.
    """
    if format is not None and format not in FORMATS:
        raise EventError(f"unknown format {format!r}: it is one of {', '.join(FORMATS)}")
    if not source.is_dir():
        return _read_file(source, source.name, how, format)
    files = sorted(
        file
        for file in source.rglob("*")
        if file.suffix.lower() in _SUFFIXES and file.name[0] != "." and file.is_file()
    )
    if not files:
        raise EventError(f"{source} holds no file of events ({', '.join(_SUFFIXES)})")
    found = EventList()
    for file in files:
        found.take(_read_file(file, file.relative_to(source).as_posix(), how, format))
    return found


def _read_file(path: Path, name: str, how: Reading, format: str | None) -> EventList:
    if not path.exists():
        raise EventError(f"no list of events at {path}")
    text = read_text(path)
    known = format or _format_of_text(text)
    if known in _OF_TEXT:
        return _OF_TEXT[known](text, name, how)
    parsed = parse_json(text, name)
    return _OF_JSON[format or format_of_json(parsed, name)](parsed, name, how)


def _format_of_text(text: str) -> str:
    begins = text.lstrip()[:1]
    if begins == "<":
        return "elan"
    # A table's header may begin with a bracket, JSON goes on after it with no name.
    return "json" if re.match(r"\s*(\{|\[\s*[\[{\]])", text) else "csv"


def format_of_json(parsed: Any, name: str) -> str:
    """Which of the JSON formats this is.

    Raises:
        EventError: None of them.
    """
    if isinstance(parsed, dict) and "database" in parsed:
        return "activitynet"
    if isinstance(parsed, dict) and {"metadata", "file", "view"} <= parsed.keys():
        return "via"
    if isinstance(parsed, list) and all(isinstance(task, dict) for task in parsed):
        if all("data" in task for task in parsed):
            return "label-studio"
    raise EventError(
        f"{name}: JSON of no known kind: ActivityNet's has 'database', VIA 3's 'metadata', 'file' "
        "and 'view', Label Studio's is a list of tasks with 'data'"
    )
