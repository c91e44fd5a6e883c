"""ELAN's files: times, tiers and media as pympi-ling reads and writes them; what is refused."""

from collections import Counter
from pathlib import Path

import pytest

from caf_video.data.events.elan import parse_elan, read_elan, tiers_of
from caf_video.data.events.events import Event, EventError, Reading, read_text

SLOTS = {"ts1": 12500, "ts2": 18000, "ts3": None, "ts4": 20001, "ts5": 20001}


def aligned(first: str, second: str, label: str) -> str:
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a" TIME_SLOT_REF1="{first}" '
        f'TIME_SLOT_REF2="{second}"><ANNOTATION_VALUE>{label}</ANNOTATION_VALUE>'
        "</ALIGNABLE_ANNOTATION></ANNOTATION>"
    )


REFERRING = (
    '<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="b" ANNOTATION_REF="a">'
    "<ANNOTATION_VALUE>fast</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
)


def document(tiers: dict[str, str], *, media: str = "", unit: str = "milliseconds") -> str:
    slots = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="{name}"' + ("/>" if time is None else f' TIME_VALUE="{time}"/>')
        for name, time in SLOTS.items()
    )
    held = "".join(f'<TIER TIER_ID="{name}">{inside}</TIER>' for name, inside in tiers.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT AUTHOR="" FORMAT="3.0">'
        f'<HEADER TIME_UNITS="{unit}">{media}</HEADER><TIME_ORDER>{slots}</TIME_ORDER>{held}'
        "</ANNOTATION_DOCUMENT>"
    )


def test_an_annotation_is_an_event_of_the_video_that_the_file_names() -> None:
    media = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/my%20drives/d1.mp4" MIME_TYPE="video/mp4"/>'
    text = document({"goal": aligned("ts1", "ts2", " 左轉  left\n turn ")}, media=media)
    (event,) = read_elan(text, "s/notes.eaf", Reading()).events
    video = "file:///C:/my drives/d1.mp4"
    assert event == Event(video, "左轉 left turn", 12.5, 18.0, other_names=("notes",))


def test_a_file_without_a_video_is_of_the_one_with_its_name_and_sound_is_no_video() -> None:
    sound = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///d1.wav" MIME_TYPE="audio/x-wav"/>'
    sound += '<MEDIA_DESCRIPTOR MIME_TYPE="video/mp4" TIME_ORIGIN="40"/>'
    text = document({"goal": aligned("ts1", "ts2", "left")}, media=sound)
    assert read_elan(text, "s/drive1.eaf", Reading()).events == [Event("drive1", "left", 12.5, 18)]


def test_the_times_of_a_video_that_was_moved_against_the_others_are_its_own() -> None:
    media = '<MEDIA_DESCRIPTOR MEDIA_URL="d.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="1500"/>'
    text = document({"goal": aligned("ts1", "ts2", "left")}, media=media)
    (event,) = read_elan(text, "d.eaf", Reading()).events
    assert (event.start_seconds, event.end_seconds) == (14.0, 19.5)


def test_what_has_no_times_no_label_or_no_length_is_skipped_and_counted() -> None:
    tier = (
        aligned("ts1", "ts3", "open")
        + aligned("ts4", "ts5", "short")
        + aligned("ts2", "ts1", "backwards")
        + aligned("ts1", "ts2", " ")
        + aligned("ts1", "ts2", "kept")
        + REFERRING
    )
    found = read_elan(document({"goal": tier}), "d.eaf", Reading())
    assert [event.label for event in found.events] == ["kept"]
    assert found.skipped == Counter(
        {
            "a time slot without a time": 1,
            "ends when it begins, or before": 2,
            "no label": 1,
            "refers to another annotation, without times of its own": 1,
        }
    )


TWO = {
    "意圖 Operation_Goal-oriented": aligned("ts1", "ts2", "left"),
    "Cause": aligned("ts1", "ts2", "sign") * 2,
    "note": "",
}


@pytest.mark.parametrize(
    ("tier", "label"),
    [("Cause", "sign"), ("cause", "sign"), ("operation_goal-oriented", "left")],
)
def test_a_tier_is_chosen_by_name_or_by_its_end(tier: str, label: str) -> None:
    found = read_elan(document(TWO), "d.eaf", Reading(tier=tier))
    assert {event.label for event in found.events} == {label}


@pytest.mark.parametrize(
    ("tier", "told"),
    [
        (None, "d.eaf: several tiers hold events: choose one with --tier (there are: "),
        ("Goal", "d.eaf: no tier is called 'Goal' (there are: "),
    ],
)
def test_where_no_tier_is_meant_it_says_what_there_is(tier: str | None, told: str) -> None:
    with pytest.raises(EventError) as raised:
        read_elan(document(TWO), "d.eaf", Reading(tier=tier))
    listed = "'意圖 Operation_Goal-oriented' (1), 'Cause' (2), 'note' (0))"
    assert str(raised.value) == told + listed


BOMB = '<!DOCTYPE a [<!ENTITY b "boom">]><ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>'
FETCH = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><ANNOTATION_DOCUMENT/>'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "d.eaf: it defines entities or a document type, which no annotation tool writes"),
        (FETCH, "d.eaf: it defines entities or a document type, which no annotation tool writes"),
        ("<ANNOTATION_DOCUMENT>\n <TIER>", "d.eaf line 2 column 8: not XML: no element found"),
        ("<html/>", "d.eaf: XML of <html>, not ELAN's <ANNOTATION_DOCUMENT>"),
        (document({}, unit="PAL-frames"), "d.eaf: times are in PAL-frames"),
        (
            document({"goal": aligned("ts1", "ts9", "left")}),
            "d.eaf, tier 'goal', annotation a: there is no time slot ts9",
        ),
        (
            document({"goal": ""}).replace("12500", "12.5 s"),
            "d.eaf: TIME_VALUE '12.5 s' is not a number of milliseconds",
        ),
        (document({}), "d.eaf: no tier holds an event"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(EventError) as raised:
        read_elan(text, "d.eaf", Reading())
    assert str(raised.value).startswith(told)
    assert "\n" not in str(raised.value)


def test_pympi_reads_and_writes_the_same(tmp_path: Path) -> None:
    pympi = pytest.importorskip("pympi", reason="pympi-ling is not installed")
    file = tmp_path / "drive1.eaf"
    written = pympi.Elan.Eaf(author="nobody")
    written.add_tier("Cause")
    written.add_tier("意圖 Operation_Goal-oriented")
    spans = [(1, 1204, "右轉 right turn"), (12500, 18000, "左轉 left turn"), (59999, 3900000, "U")]
    for start, end, label in spans:
        written.add_annotation("意圖 Operation_Goal-oriented", start, end, label)
    written.add_annotation("Cause", 7, 8, "Sign")
    written.to_file(str(file))

    tiers = tiers_of(parse_elan(read_text(file), file.name), file.name)
    read = pympi.Elan.Eaf(str(file))
    assert {"Cause", "意圖 Operation_Goal-oriented"} <= tiers.keys()
    for name, tier in tiers.items():
        assert sorted(tier.annotations) == sorted(read.get_annotation_data_for_tier(name))
    found = read_elan(read_text(file), file.name, Reading(tier="operation_goal-oriented"))
    times = [(event.start_seconds, event.end_seconds, event.label) for event in found.events]
    assert sorted(times) == [(start / 1000, end / 1000, label) for start, end, label in spans]
