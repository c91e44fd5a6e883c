"""ActivityNet's JSON, also that of THUMOS, HACS and most scripts: videos by name, with segments."""

from typing import Any

from caf_video.data.events.events import (
    EventError,
    EventList,
    Reading,
    member,
    number,
    optional,
    split_named,
)


def read_activitynet(parsed: Any, name: str, how: Reading) -> EventList:
    """The events of all videos; a key is the stem of a video's file, often after `v_`.

    Raises:
        EventError: Something is of another shape; names the video.
    """
    found = EventList()
    for video, entry in member(parsed, "database", dict, name).items():
        place = f"{name}, video {video!r}"
        split = split_named(str(optional(entry, "subset", str, "", place)), place)
        annotations = optional(entry, "annotations", list, [], place)
        if not annotations:
            found.skipped["a video without annotations"] += 1
        for count, annotation in enumerate(annotations, start=1):
            where = f"{place}, annotation {count}"
            label = member(annotation, "label", (str, int), where)
            segment = member(annotation, "segment", list, where)
            if len(segment) != 2:
                raise EventError(f"{where}: segment {segment} is not [start, end]")
            start, end = (number(time, where) for time in segment)
            found.add(video, str(label), start, end, split=split, other_names=(f"v_{video}",))
    return found
