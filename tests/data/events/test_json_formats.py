"""ActivityNet, VIA 3 and Label Studio: their shapes, their traps, and what is refused."""

from collections import Counter
from typing import Any

import pytest

from caf_video.data.events.activitynet import read_activitynet
from caf_video.data.events.detect import format_of_json
from caf_video.data.events.events import Event, EventError, Reading
from caf_video.data.events.label_studio import read_label_studio
from caf_video.data.events.via import read_via

# ActivityNet


def database(**videos: Any) -> dict[str, Any]:
    return {"version": "1.3", "database": videos}


@pytest.mark.parametrize(
    ("subset", "split"),
    [("training", "train"), ("validation", "val"), ("Testing", "test"), ("val", "val"), ("", "")],
)
def test_an_activitynet_subset_is_a_split(subset: str, split: str) -> None:
    entry = {"subset": subset, "annotations": [{"label": "left turn", "segment": [12.5, 18.0]}]}
    found = read_activitynet(database(drive1=entry), "a.json", Reading())
    event = Event("drive1", "left turn", 12.5, 18.0, split=split, other_names=("v_drive1",))
    assert found.events == [event] and not found.skipped


def test_activitynet_segments_that_are_no_events_are_counted() -> None:
    segments = [[-0.5, 3.0], [4, 4.0004], ["1.25", "2"], [float("nan"), 2]]
    entry = {"annotations": [{"label": "left", "segment": segment} for segment in segments]}
    found = read_activitynet(database(a=entry, b={"subset": "testing"}), "a.json", Reading())
    assert [(e.start_seconds, e.end_seconds) for e in found.events] == [(1.25, 2.0)]
    assert found.skipped == Counter(
        {
            "begins before its video": 1,
            "ends when it begins, or before": 1,
            "a time that is no number": 1,
            "a video without annotations": 1,
        }
    )


@pytest.mark.parametrize(
    ("parsed", "told"),
    [
        (database(a=[]), "a.json, video 'a': [] is not an object with 'subset'"),
        (database(a={"subset": "holdout"}), "a.json, video 'a': unknown split 'holdout'"),
        (
            database(a={"annotations": [{"segment": [0, 1]}]}),
            "a.json, video 'a', annotation 1: no 'label' (it has segment)",
        ),
        (
            database(a={"annotations": [{"label": "x", "segment": [0]}]}),
            "a.json, video 'a', annotation 1: segment [0] is not [start, end]",
        ),
        (
            database(a={"annotations": [{"label": "x", "segment": [0, "late"]}]}),
            "a.json, video 'a', annotation 1: 'late' is not a number",
        ),
        ({"database": []}, "a.json: database is [], not what belongs there"),
    ],
)
def test_an_activitynet_file_of_another_shape_is_told_by_place(parsed: Any, told: str) -> None:
    with pytest.raises(EventError) as raised:
        read_activitynet(parsed, "a.json", Reading())
    assert str(raised.value).startswith(told)


# VIA 3


def via(metadata: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "attribute": {
            "1": {"aname": "goal", "options": {"0": "left turn", "1": "right turn"}},
            "2": {"aname": "weather", "options": {}},
        },
        # The numbers of views are not those of files: one must go through them.
        "file": {"1": {"fname": "drive1.mp4"}, "2": {"fname": "drive2.mp4"}},
        "view": {"1": {"fid_list": ["2"]}, "2": {"fid_list": [1]}},
        "metadata": metadata,
        **more,
    }


def segment(vid: str, start: float, end: float, **values: str) -> dict[str, Any]:
    return {"vid": vid, "z": [start, end], "xy": [], "av": {k[1:]: v for k, v in values.items()}}


def test_a_via_segment_leads_over_its_view_to_its_file() -> None:
    parsed = via({"1_a": segment("1", 12.5, 18, _1="0"), "2_b": segment("2", 1, 2.0625, _1="1")})
    assert read_via(parsed, "v.json", Reading()).events == [
        Event("drive2.mp4", "left turn", 12.5, 18.0),
        Event("drive1.mp4", "right turn", 1.0, 2.062),
    ]


def test_a_via_attribute_is_chosen_by_name_or_number() -> None:
    parsed = via({"a": segment("1", 1, 2, _1="0", _2="rain"), "b": segment("1", 3, 4, _1="1")})
    for tier in ("weather", "2", "Weather"):
        found = read_via(parsed, "v.json", Reading(tier=tier))
        assert [event.label for event in found.events] == ["rain"]
        assert found.skipped == Counter({"no value of the attribute": 1})
    with pytest.raises(EventError, match="several attributes hold events.*'goal' .2., 'weather'"):
        read_via(parsed, "v.json", Reading())


def test_via_places_moments_and_several_values_are_skipped_and_counted() -> None:
    place = {"vid": "1", "z": [1.5], "xy": [2, 10, 10, 50, 50], "av": {"1": "0"}}
    moment = {"vid": "1", "z": [1.5], "xy": [], "av": {"1": "0"}}
    parsed = via({"a": place, "b": moment, "c": segment("1", 1, 2, _1="0,1")})
    found = read_via(parsed, "v.json", Reading())
    assert not found.events
    assert found.skipped == Counter(
        {
            "a place in the picture, not an event": 1,
            "a moment, not an event": 1,
            "several values of the attribute": 1,
        }
    )


def test_a_via_view_or_file_that_is_not_there_is_told() -> None:
    for vid, more, told in (
        ("3", {}, "v.json, metadata 'a': there is no view '3'"),
        ("1", {"file": {}}, "v.json, metadata 'a': there is no file '2'"),
        ("1", {"view": {"1": {"fid_list": []}}}, "v.json, metadata 'a': view '1' shows no file"),
    ):
        with pytest.raises(EventError) as raised:
            read_via(via({"a": segment(vid, 1, 2, _1="0")}, **more), "v.json", Reading())
        assert str(raised.value) == told


# Label Studio


def task(*results: dict[str, Any], video: str = "/data/upload/1/ab12cd34-drive1.mp4") -> Any:
    return {"data": {"video": video}, "annotations": [{"result": list(results)}]}


def timeline(start: int, end: int, *labels: str, name: str = "goal") -> dict[str, Any]:
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": list(labels)}
    return {"type": "timelinelabels", "from_name": name, "to_name": "video", "value": value}


FRAMES = Reading(fps=30.0, first_frame=1)


def test_label_studio_frames_are_counted_from_the_number_that_was_said() -> None:
    parsed = [task(timeline(376, 541, "left turn"))]
    (one,) = read_label_studio(parsed, "l.json", FRAMES).events
    assert one == Event("/data/upload/1/drive1.mp4", "left turn", 12.5, 18.0)
    (zero,) = read_label_studio(parsed, "l.json", Reading(fps=30.0, first_frame=0)).events
    assert (zero.start_seconds, zero.end_seconds) == (12.533, 18.033)


@pytest.mark.parametrize(
    ("how", "option"), [(Reading(first_frame=0), "--fps"), (Reading(fps=30), "--first-frame")]
)
def test_label_studio_frames_need_a_rate_and_a_first_number(how: Reading, option: str) -> None:
    with pytest.raises(EventError, match=rf"^l\.json, task 1: times are in frames.*{option}$"):
        read_label_studio([task(timeline(376, 541, "left"))], "l.json", how)


def test_label_studio_labels_of_a_span_are_in_seconds() -> None:
    value = {"start": 12.5004, "end": 18, "labels": ["left"]}
    result = {"type": "labels", "from_name": "goal", "value": value}
    (event,) = read_label_studio([task(result)], "l.json", Reading()).events
    assert (event.start_seconds, event.end_seconds) == (12.5, 18.0)


@pytest.mark.parametrize(
    ("video", "name"),
    [
        ("/data/upload/1/ab12cd34-drive1.mp4", "/data/upload/1/drive1.mp4"),
        ("/data/local-files/?d=drives%2Fdrive1.mp4", "drives/drive1.mp4"),
        ("https://host/b/my%20drive.mp4?sig=a/b.c", "https:/host/b/my drive.mp4"),
        ("12345678-dawn.mp4", "dawn.mp4"),
        ("20170227-dusk.mp4", "dusk.mp4"),  # nobody can tell a date from a prefix
        ("drive-1.mp4", "drive-1.mp4"),
    ],
)
def test_the_video_of_a_label_studio_task_is_a_file_name(video: str, name: str) -> None:
    parsed = [task(timeline(1, 31, "left"), video=video)]
    assert read_label_studio(parsed, "l.json", FRAMES).events[0].video == name


def test_other_label_studio_results_are_skipped_and_counted() -> None:
    many = task(timeline(1, 31, "a", "b"), {"type": "choices", "value": {"choices": ["x"]}})
    cancelled = {"was_cancelled": True, "result": [timeline(1, 31, "wrong")]}
    second = {"result": [timeline(1, 31, "again")]}
    many["annotations"] = [cancelled, *many["annotations"], second]
    empty = {"data": {"video": "a.mp4"}}
    picture = {"data": {"image": "a.jpg"}, "annotations": []}
    parsed = [many, empty, picture, task(timeline(1, 31, "left"))]
    found = read_label_studio(parsed, "l.json", FRAMES)
    assert [event.label for event in found.events] == ["left"]
    assert found.skipped == Counter(
        {
            "a cancelled annotation": 1,
            "another annotator's annotation of a task": 1,
            "several labels": 1,
            "a result of type choices": 1,
            "a task without annotations": 1,
            "a task without a video": 1,
        }
    )


def test_a_label_studio_control_is_chosen_by_name() -> None:
    parsed = [task(timeline(1, 31, "left"), timeline(1, 61, "sign", name="cause"))]
    with pytest.raises(EventError, match="several controls hold events.*'goal' .1., 'cause' .1."):
        read_label_studio(parsed, "l.json", FRAMES)
    found = read_label_studio(parsed, "l.json", Reading("cause", fps=30.0, first_frame=1))
    assert [event.label for event in found.events] == ["sign"]
    assert found.skipped == Counter({"of another control": 1})


# Which of them it is


def test_each_json_is_told_by_what_it_holds() -> None:
    assert format_of_json(database(), "x") == "activitynet"
    assert format_of_json(via({}), "x") == "via"
    assert format_of_json([task()], "x") == "label-studio"
    for other in ({}, [1], [{"video": "a.mp4"}], "text"):
        with pytest.raises(EventError, match="^x: JSON of no known kind"):
            format_of_json(other, "x")
