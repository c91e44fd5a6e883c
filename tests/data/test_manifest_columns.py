"""Lists of clips as others write them: names of columns, units of times, habits of spreadsheets."""

from pathlib import Path

import pytest

from caf_video.data.manifest import Clip, ManifestError, read_clips, read_manifest, write_manifest


def manifest(folder: Path, text: str, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def the_error(path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        read_clips(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ("start_seconds,end_seconds", "12.5,18"),
        ("time_start,time_end", "12.5,18"),  # Kinetics
        ("t_start,t_end", "12.5,18.0"),
        ("begin,end", "12.5,18"),
        ("from,to", "12.5,18"),
        ("start,end", "12.5,18"),
        ("start,stop", "12.5,18"),
        ("Start (s),Stop (s)", "12.5,18"),  # BORIS
        ("startTime,endTime", "12.5,18"),
        ("starttime,endtime", "12.5,18"),
        ("onset,offset", "12.5,18"),
        ("event_start,event_end", "12.5,18"),
        ("start_timestamp,stop_timestamp", "0:12.5,00:00:18.00"),  # EPIC
        ("start,end", "00:00:12.500,0:00:18"),
        ("start_ms,end_ms", "12500,18000"),
        ("start_milliseconds,end_seconds", "12500,18"),
        ("start_seconds,duration", "12.5,5.5"),
        ("begin,duration (ms)", "12.5,5500"),
        ("start,end,duration", "12.5,18,5.5"),
        ("frame_start,frame_end,fps", "375,540,30"),
        ("start_frame,end_frame,frame_rate", "375,540,30"),
        ("StartFrame,EndFrame,FPS", "125,180,10.0"),
        ("start_frame,duration_frames,fps", "375,165,30"),
    ],
)
def test_the_same_event_in_every_spelling(tmp_path: Path, columns: str, cells: str) -> None:
    path = manifest(tmp_path, f"path,label,{columns}\nx.mp4,left,{cells}\n")
    (clip,) = read_clips(path)
    assert clip.start_seconds == pytest.approx(12.5, abs=1e-9)
    assert clip.end_seconds == pytest.approx(18.0, abs=1e-9)
    assert (clip.path, clip.label, clip.other) == (tmp_path / "x.mp4", "left", ())


def test_frames_need_their_rate_from_a_column_or_the_caller(tmp_path: Path) -> None:
    text = "path,label,start_frame,end_frame{}\nx.mp4,left,30,61{}\n"
    path = manifest(tmp_path, text.format("", ""))
    with pytest.raises(ManifestError, match="line 2: start_frame '30' counts frames: .*'fps'"):
        read_manifest(path)
    (clip,) = read_manifest(path, fps=10)
    assert (clip.start_seconds, clip.end_seconds, clip.fps) == (3.0, 6.1, 10)
    path = manifest(tmp_path, text.format(",fps", ",30000/1001"))
    (clip,) = read_manifest(path, fps=10)  # the column is nearer than the caller
    assert clip.start_seconds == pytest.approx(30 * 1001 / 30000)
    path = manifest(tmp_path, text.format(",fps", ",fast"))
    assert "line 2: fps 'fast' is not a number of frames a second" in the_error(path)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_spreadsheet_of_a_country_with_decimal_commas(tmp_path: Path, separator: str) -> None:
    rows = ("video;behavior;Start (s);Stop (s)", "drive1.mp4;left turn;12,5;18,125")
    path = manifest(tmp_path, "\n".join(rows).replace(";", separator) + "\n")
    assert read_clips(path) == [
        Clip("drive1.mp4@12.5-18.125", tmp_path / "drive1.mp4", "left turn", 12.5, 18.125)
    ]


def test_a_comma_that_may_be_of_thousands_is_refused_between_commas(tmp_path: Path) -> None:
    path = manifest(tmp_path, 'path,label,start_ms,end_ms\nx,l,"1,234","2,500"\n')
    assert "start_ms '1,234' may be thousands or decimals" in the_error(path)
    path = manifest(tmp_path, 'path,label,start,end\nx,l,"1,5","1.234,5"\n')
    assert "end '1.234,5' is not a number of seconds" in the_error(path)
    path = manifest(tmp_path, 'path,label,start,end\nx,l,"1,5","2,25"\n')
    assert (read_clips(path)[0].start_seconds, read_clips(path)[0].end_seconds) == (1.5, 2.25)


@pytest.mark.parametrize("cell", ["1:2:3:4", "1:75", "1:60:00", "a:10", "1:30s", "-1:30", ":30"])
def test_a_clock_that_shows_no_time_is_refused(tmp_path: Path, cell: str) -> None:
    path = manifest(tmp_path, f"path,label,start\nx,l,{cell}\n")
    assert f"line 2: start {cell!r} is not a time h:mm:ss.s" in the_error(path)


def test_a_clock_of_hours(tmp_path: Path) -> None:
    path = manifest(tmp_path, 'path,label,start,end\nx,l,1:02:03.25,"01:02:04,5"\ny,l,90:00,\n')
    first, second = read_clips(path)
    assert (first.start_seconds, first.end_seconds) == (3723.25, 3724.5)
    assert (second.start_seconds, second.end_seconds) == (5400.0, None)


def test_a_duration_and_an_end_that_disagree_are_refused(tmp_path: Path) -> None:
    """As where the duration is the video's."""
    path = manifest(tmp_path, "path,label,start,end,duration\nx,l,1,3,60\n")
    message = the_error(path)
    assert "line 2: start 1.0 s and duration 60.0 s do not make the end 3.0 s" in message
    path = manifest(tmp_path, "path,label,start,duration\nx,l,1,0\n")
    assert "start and end are both 1.0 s" in the_error(path)


@pytest.mark.parametrize(
    "column", ["time", "timestamp", "event_time", "t0", "start_us", "video_duration", "first_frame"]
)
def test_an_unknown_column_with_a_word_of_time_is_an_error(tmp_path: Path, column: str) -> None:
    message = the_error(manifest(tmp_path, f"path,label,{column}\nx.mp4,left,3\n"))
    assert f"line 1: column {column!r} has a word of time in it and is not understood" in message
    assert "start_seconds, end_seconds" in message and "frame_start, frame_end with fps" in message


@pytest.mark.parametrize("column", ["weather", "speed (m/s)", "lane_offset", "min_distance", "ego"])
def test_other_columns_are_no_times(tmp_path: Path, column: str) -> None:
    (clip,) = read_clips(manifest(tmp_path, f"path,label,{column}\nx.mp4,left,3\n"))
    assert clip.other == ((column, "3"),)


def test_all_that_is_wrong_with_the_columns_is_said_at_once(tmp_path: Path) -> None:
    header = "video,file,lable,start,begin,time_of_day,weather,weather,spilt"
    message = the_error(manifest(tmp_path, header + "\n" + ",".join("x" * 9) + "\n"))
    for part in (
        "two columns are named 'weather'",
        "columns 'video' and 'file' both say the path: keep one",
        "columns 'start' and 'begin' both say the start: keep one",
        "column 'time_of_day' has a word of time",
        "unknown column 'lable': did you mean 'label'?",
        "unknown column 'spilt': did you mean 'split'?",
        "no column 'label'",
    ):
        assert part in message


@pytest.mark.parametrize("path_column", ["path", "video", "file", "filename", "clip", "Video File"])
@pytest.mark.parametrize("label_column", ["label", "class", "event", "category", "behavior"])
def test_usual_names_of_path_and_label(tmp_path: Path, path_column: str, label_column: str) -> None:
    path = manifest(tmp_path, f"{label_column},{path_column}\nleft,d/x.mp4\n")
    assert read_clips(path) == [Clip("d/x.mp4", tmp_path / "d/x.mp4", "left")]


def test_a_clip_column_beside_a_path_is_its_id(tmp_path: Path) -> None:
    path = manifest(tmp_path, "clip,path,label\n7,x.mp4,left\n")
    assert read_clips(path) == [Clip("7", tmp_path / "x.mp4", "left")]
    path = manifest(tmp_path, "clip,id,path,label\n7,8,x.mp4,left\n")
    assert "columns 'id' and 'clip' both say the clip's id" in the_error(path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train", "train"), ("Training", "train"), ("val", "val"), ("validation", "val")),
        *(("valid", "val"), ("Test", "test"), ("testing", "test"), ("", "")),
    ],
)
def test_splits_have_synonyms(tmp_path: Path, name: str, split: str) -> None:
    path = manifest(tmp_path, f"path,label,subset\nx.mp4,left,{name}\n")
    assert read_clips(path)[0].split == split


def test_ids_are_made_and_rows_that_follow_do_not_change_them(tmp_path: Path) -> None:
    rows = ["a.mp4,left,1,2.5", "a.mp4,left,4,", "b.mp4,left,,", "a.mp4,slow,1,2.5"]
    expected = ["a.mp4@1-2.5", "a.mp4@4-", "b.mp4", "a.mp4@1-2.5 slow"]
    for count in range(1, len(rows) + 1):
        text = "\n".join(["path,label,start,end", *rows[:count]]) + "\n"
        clips = read_clips(manifest(tmp_path, text))
        assert [clip.clip_id for clip in clips] == expected[:count]


def test_the_same_event_twice_is_refused_naming_both_lines(tmp_path: Path) -> None:
    path = manifest(tmp_path, "path,label,start\na,l,1\na,m,1\na,l,1\n")
    assert "events.csv line 4: clip 'a@1-' is on events.csv line 2 too" in the_error(path)


def test_other_columns_and_rates_are_written_again(tmp_path: Path) -> None:
    text = "video;behavior;begin;weather;;fps\nx.h264;left;1,5;rain;a note;20\ny.h264;left;;;;\n"
    clips = read_clips(manifest(tmp_path, text))
    written = tmp_path / "written.csv"
    write_manifest(clips, written)
    assert written.read_text().splitlines() == [
        "clip_id,path,label,start_seconds,end_seconds,session,split,fps,weather,column 5",
        "x.h264@1.5-,x.h264,left,1.5,,,,20.0,rain,a note",
        "y.h264,y.h264,left,0.0,,,,,,",
    ]
    assert read_clips(written) == clips


def test_lists_with_columns_of_their_own_are_written_together(tmp_path: Path) -> None:
    clips = [
        Clip("a", tmp_path / "a.mp4", "l", other=(("weather", "rain"),)),
        Clip("b", tmp_path / "b.mp4", "l", other=(("road", "wet"),)),
    ]
    write_manifest(clips, tmp_path / "m.csv")
    again = read_clips(tmp_path / "m.csv")
    assert [dict(clip.other) for clip in again] == [
        {"weather": "rain", "road": ""},
        {"weather": "", "road": "wet"},
    ]


def test_a_video_in_place_of_a_list_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "drive.mp4").write_bytes(b"\0\0\0\x18ftyp\xff\xff")
    assert "drive.mp4 is a video, not a list of clips" in the_error(tmp_path / "drive.mp4")
