"""A project of VIA 3, the VGG video annotator: metadata that point at views, and these at files."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caf_video.data.events.events import (
    EventError,
    EventList,
    Reading,
    chosen_tier,
    member,
    number,
    optional,
)


@dataclass(frozen=True)
class _Segment:
    """An entry of the metadata that is an event: where it stands, its view, times and values."""

    place: str
    view: str
    times: list[Any]
    values: dict[str, Any]


def read_via(parsed: Any, name: str, how: Reading) -> EventList:
    """The temporal segments of a project that have a value of one attribute.

    Args:
        parsed: The JSON.
        name: Of the file.
        how: Its tier is the attribute, by its name or its number.

    Raises:
        EventError: Something is of another shape, or the attribute is not there; names the place.
    """
    files, views = member(parsed, "file", dict, name), member(parsed, "view", dict, name)
    attributes = optional(parsed, "attribute", dict, {}, name)
    found = EventList()
    segments = list(_segments(parsed, name, found.skipped))
    counts = Counter({key: 0 for key in attributes})
    for segment in segments:
        counts.update(segment.values.keys())
    if not segments:
        return found
    key = _attribute(how.tier, attributes, counts, name)
    place = f"{name}, attribute {key!r}"
    options = optional(attributes.get(key, {}), "options", dict, {}, place)
    for segment in segments:
        if key not in segment.values:
            found.skipped["no value of the attribute"] += 1
            continue
        value = str(segment.values[key])
        chosen = [value] if value in options else [v for v in value.split(",") if v in options]
        if len(chosen) > 1:
            found.skipped["several values of the attribute"] += 1
            continue
        start, end = (number(time, segment.place) for time in segment.times)
        label = str(options[chosen[0]]) if chosen else value
        found.add(_video(segment, views, files), label, start, end)
    return found


def _segments(parsed: Any, name: str, skipped: Counter[str]) -> Iterator[_Segment]:
    for key, entry in member(parsed, "metadata", dict, name).items():
        place = f"{name}, metadata {key!r}"
        times = optional(entry, "z", list, [], place)
        if optional(entry, "xy", list, [], place):
            skipped["a place in the picture, not an event"] += 1
        elif len(times) != 2:
            skipped["a moment, not an event" if times else "no time"] += 1
        else:
            view = str(member(entry, "vid", (str, int), place))
            yield _Segment(place, view, times, optional(entry, "av", dict, {}, place))


def _attribute(
    wanted: str | None, attributes: dict[str, Any], counts: Counter[str], name: str
) -> str:
    """The number of the attribute that is meant, by its name where names are unique."""
    names = {
        key: str(optional(attributes.get(key, {}), "aname", str, "", f"{name}, attribute {key!r}"))
        or key
        for key in counts
    }
    if len(set(names.values())) < len(names):
        names = {key: key for key in counts}
    told = {names[key]: count for key, count in counts.items()}
    chosen = chosen_tier(names.get(wanted or "", wanted), told, name, kind="attribute")
    return next(key for key, spelled in names.items() if spelled == chosen)


def _video(segment: _Segment, views: dict[str, Any], files: dict[str, Any]) -> str:
    """The name of the file that a segment's view shows, the first where it shows several."""
    place, view = segment.place, segment.view
    if view not in views:
        raise EventError(f"{place}: there is no view {view!r}")
    shown = member(views[view], "fid_list", list, f"{place}, view {view!r}")
    if not shown:
        raise EventError(f"{place}: view {view!r} shows no file")
    file = str(shown[0])
    if file not in files:
        raise EventError(f"{place}: there is no file {file!r}")
    name: str = member(files[file], "fname", str, f"{place}, file {file!r}")
    return name
