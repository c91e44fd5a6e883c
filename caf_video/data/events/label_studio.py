"""Label Studio's JSON export: tasks, each with a video and the results of its annotators."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from caf_video.data.events.events import (
    EventError,
    EventList,
    Reading,
    chosen_tier,
    frame_seconds,
    member,
    number,
    optional,
)
from caf_video.data.manifest import VIDEO_SUFFIXES

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an upload


def read_label_studio(parsed: Any, name: str, how: Reading) -> EventList:
    """The events of all tasks, of each the first annotation that was not cancelled.

    `timelinelabels` are in frames, public readers disagree whether the first is 0 or 1; `labels` of
    a video are in seconds.

    Args:
        parsed: The JSON.
        name: Of the file.
        how: Its tier is the control (`from_name`); fps and first_frame are needed for frames.

    Raises:
        EventError: Something is of another shape, the control is not there, or times are in frames
            and nothing was said of them; names the place.
    """
    if not isinstance(parsed, list):
        raise EventError(f"{name}: not a list of tasks, as Label Studio's JSON export is")
    found = EventList()
    results = list(_results(parsed, name, found.skipped))
    counts = Counter(_control(result) for _, _, result in results)
    if not results:
        return found
    control = chosen_tier(how.tier, counts, name, kind="control")
    for place, video, result in results:
        if _control(result) != control:
            found.skipped["of another control"] += 1
            continue
        value = member(result, "value", dict, place)
        in_frames = result["type"] == "timelinelabels"
        labels = member(value, "timelinelabels" if in_frames else "labels", list, place)
        if len(labels) != 1:
            found.skipped["several labels" if labels else "no label"] += 1
            continue
        spans = member(value, "ranges", list, place) if in_frames else [value]
        for span in spans:
            start, end = (
                number(member(span, key, (int, float, str), place), place)
                for key in ("start", "end")
            )
            if in_frames:
                start, end = (frame_seconds(frame, how, place) for frame in (start, end))
            found.add(video, str(labels[0]), start, end)
    return found


def _results(
    tasks: list[Any], name: str, skipped: Counter[str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where each result with times stands, its video, and the result."""
    for count, task in enumerate(tasks, start=1):
        place = f"{name}, task {count}"
        video = _video(member(task, "data", dict, place))
        if not video:
            skipped["a task without a video"] += 1
            continue
        annotations = optional(task, "annotations", list, [], place)
        for annotation in annotations:
            member(annotation, "result", list, place)
        kept = [one for one in annotations if not one.get("was_cancelled")]
        skipped["a cancelled annotation"] += len(annotations) - len(kept)
        skipped["another annotator's annotation of a task"] += max(len(kept) - 1, 0)
        skipped["a task without annotations"] += not annotations
        for result in kept[0]["result"] if kept else []:
            if member(result, "type", str, place) in ("timelinelabels", "labels"):
                yield place, video, result
            else:
                skipped[f"a result of type {result['type']}"] += 1
    skipped += Counter()  # no reason that counts nothing


def _control(result: dict[str, Any]) -> str:
    return str(result.get("from_name", result["type"]))


def _video(data: dict[str, Any]) -> str:
    """The video of a task: what is called so, or looks so; without the prefix of an upload."""
    for key, value in sorted(data.items(), key=lambda item: item[0] != "video"):
        if not isinstance(value, str):
            continue
        # A file of local storage is what follows `?d=`; of a signed link the query is no name.
        path, _, query = value.partition("?")
        file = PurePosixPath(unquote(query[2:]) if query.startswith("d=") else unquote(path))
        if file.name and (key == "video" or file.suffix.lower() in VIDEO_SUFFIXES):
            return str(file.with_name(_UPLOADED.sub("", file.name)))
    return ""
