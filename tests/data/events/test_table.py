"""Tables of events: separators, decimal commas, units, clocks, and columns by their names."""

from collections import Counter

import pytest

from caf_video.data.events.events import Event, EventError, Reading
from caf_video.data.events.table import parse_columns, read_table

LEFT = Event("drive1.mp4", "left turn", 12.5, 18.0)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("video;behavior;Start (s);Stop (s)\ndrive1.mp4;left turn;12,5;18,0\n", Reading()),
        ("video\tlabel\tbegin_ms\tend_ms\ndrive1.mp4\tleft turn\t12500\t18000\n", Reading()),
        ('Video,Label,start,stop\ndrive1.mp4,left turn,"12,5",18.0\n', Reading(unit="s")),
        ("file,class,frame_start,frame_end\ndrive1.mp4,left turn,375,540", Reading(fps=30)),
        (
            "file,class,start_frame,stop_frame\ndrive1.mp4,left turn,376,541",
            Reading(fps=30, first_frame=1),
        ),
        ("path,label,t_start,duration\ndrive1.mp4,left turn,12.5,5.5", Reading(unit="s")),
        (
            "path,label,start_frame,duration_frames\ndrive1.mp4,left turn,376,165",
            Reading(fps=30, first_frame=1),
        ),
        (
            "video_id,action,start_timestamp,stop_timestamp\ndrive1.mp4,left turn,00:00:12.50,0:18",
            Reading(),
        ),
        (
            "a,b,t0,t1,time\ndrive1.mp4,left turn,12500,18000,noon\n",
            Reading(
                columns={"path": "a", "label": "b", "start": "t0", "end": "t1"},
                unit="ms",
            ),
        ),
        # Start and end say it all: BORIS has a duration beside them, empty where it has no use.
        (
            "Media file name,Behavior,Start (s),Stop (s),Duration (s)\n"
            "drive1.mp4,left turn,12.5,18.0,NA\n",
            Reading(),
        ),
        # A unit that is said overrules the name.
        ("path,label,start_s,end_s\ndrive1.mp4,left turn,12500,18000\n", Reading(unit="ms")),
    ],
    ids=range(11),
)
def test_the_same_event_is_read_of_every_way_to_write_it(text: str, how: Reading) -> None:
    found = read_table(text, "e.csv", how)
    assert found.events == [LEFT] and not found.skipped


def test_the_table_of_kinetics_is_in_seconds_and_its_files_may_be_trimmed() -> None:
    text = "label,youtube_id,time_start,time_end,split\ntexting,0wR5jVB,20,30,validate\n"
    with pytest.raises(EventError, match="^k.csv line 2: unknown split 'validate'"):
        read_table(text, "k.csv", Reading())
    (event,) = read_table(text.replace("validate", "val"), "k.csv", Reading()).events
    trimmed = "0wR5jVB_000020_000030"
    assert event == Event("0wR5jVB", "texting", 20.0, 30.0, split="val", trimmed_name=trimmed)


def test_a_clock_has_hours_and_thousandths() -> None:
    text = "video,label,start,end\na.mp4,left,1:02:03.004,01:02:05,5\n"
    text = text.replace("01:02:05,5", '"01:02:05,5"')
    (event,) = read_table(text, "e.csv", Reading()).events
    assert (event.start_seconds, event.end_seconds) == (3723.004, 3725.5)


def test_rows_without_times_or_length_are_skipped_and_counted() -> None:
    rows = "a.mp4,x,,2\na.mp4,x,1,NA\na.mp4,x,3,3\na.mp4,,1,2\na.mp4,x,1,2\n"
    found = read_table(f"video,label,start_s,end_s\n{rows}", "e.csv", Reading())
    assert found.events == [Event("a.mp4", "x", 1.0, 2.0)]
    wanted = {"no time": 2, "ends when it begins, or before": 1, "no label": 1}
    assert found.skipped == Counter(wanted)


def test_without_times_an_event_is_the_whole_video() -> None:
    text = "path,label,session\na.mp4,left,monday\n"
    (event,) = read_table(text, "e.csv", Reading()).events
    assert event == Event("a.mp4", "left", 0.0, None, session="monday")


@pytest.mark.parametrize(
    ("text", "columns", "told"),
    [
        ("video,label,start,end\na,x,1,2\n", "", "e.csv line 2: start 1 does not say its unit: "),
        ("video,label,start_s,end_s\na,x,1.234,5,2\n", "", "e.csv line 2: 5 cells, but the header"),
        (
            "video;label;start_s;end_s\na;x;1.234,5;2\n",
            "",
            "e.csv line 2: start_s '1.234,5' is not a time",
        ),
        ("video,label,start_s,end_s\n,x,1,2\n", "", "e.csv line 2: video is empty"),
        (
            "\nvideo,what,start_s,end_s\n",
            "",
            "e.csv line 2: no column is known to be the label (it has video, what, start_s, end_s)",
        ),
        ("video,label,t1_s,end_s\n", "", "e.csv line 1: there is an end, but no column is known"),
        (
            "video,label,start_s,start_frame,end_s\n",
            "",
            "e.csv line 1: the start may be in several columns, start_s, start_frame: choose one",
        ),
        ("video,label\n", "start=t0", "e.csv line 1: no column is called 't0' (it has "),
        ("t,t,video,label\n", "start=t", "e.csv line 1: two columns are called 't'"),
        ('video,label\na,"x\n', "", "e.csv line 2: not CSV: "),
        (
            "video,label,start_frame,end_frame\na,x,1,2\n",
            "",
            "e.csv line 2: start_frame: times are in frames: say how many a second has with --fps",
        ),
    ],
)
def test_what_cannot_be_read_is_told_by_line(text: str, columns: str, told: str) -> None:
    with pytest.raises(EventError) as raised:
        read_table(text, "e.csv", Reading(columns=parse_columns(columns)))
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("header", "columns", "told"),
    [
        ("video;t0;t1;behavior", "", "'t0' has a word of time .* --columns start=t0"),
        ("video;Time;x;behavior", "", "'Time' has a word of time"),
        ("video;start;t1;behavior", "", "'t1' has a word of time .* --columns end=t1"),
        ("video;debut;fin;behavior", "", "line 3: a.mp4 is on line 2, too, and no column"),
        ("video;t0;t1;behavior", "start=t0,end=t1", ""),
        ("video;start;length;behavior", "", ""),
        ("video;start;fin;behavior", "", ""),  # points in time: each lasts to the video's end
    ],
)
def test_times_under_names_that_nobody_knows_do_not_become_whole_videos(
    header: str, columns: str, told: str
) -> None:
    text = f"{header}\na.mp4;0,5;0,9;turn\na.mp4;1,0;1,9;turn\n"
    how = Reading(columns=parse_columns(columns), unit="s")
    if told:
        with pytest.raises(EventError, match=told):
            read_table(text, "events.csv", how)
    else:
        starts = [event.start_seconds for event in read_table(text, "events.csv", how).events]
        assert starts == [0.5, 1.0]


def test_columns_that_nothing_reads_are_kept_in_mind() -> None:
    text = "video;start_s;fin;behavior;;who\na.mp4;0,5;0,9;turn;;me\n"
    assert read_table(text, "events.csv", Reading()).unread == ["fin", "who"]
    both = read_table(text, "events.csv", Reading())
    both.take(read_table("video;fin;behavior;x\na.mp4;1;turn;2\n", "more.csv", Reading()))
    assert both.unread == ["fin", "who", "x"]


def test_two_labels_of_a_whole_video_need_no_time() -> None:
    found = read_table("video,label\na.mp4,turn\na.mp4,rain\n", "events.csv", Reading())
    assert [(event.label, event.end_seconds) for event in found.events] == [
        ("turn", None),
        ("rain", None),
    ]


def test_columns_are_said_as_name_is_column() -> None:
    said = "path=video, start=t0,end=t1,label=my behavior"
    wanted = {"path": "video", "start": "t0", "end": "t1", "label": "my behavior"}
    assert parse_columns(said) == wanted
    for wrong in ("path", "time=t0", "path=", "path=a,path=b"):
        with pytest.raises(EventError, match="^--columns: "):
            parse_columns(wrong)
