"""The same events through every format to a manifest and back; what is refused at the door."""

import json
import pickle
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from caf_video.cli import app
from caf_video.data.events.detect import FORMATS
from caf_video.data.events.events import EventError, Reading
from caf_video.data.manifest import read_manifest
from caf_video.pipeline.import_events import import_events

# Video, start and end in milliseconds, label. All are on frames of a video with 8 a second.
EVENTS = [
    ("drive1", 12500, 18000, "左轉 left turn"),
    ("drive1", 18125, 18250, "U-turn"),
    ("night drive", 0, 3600125, "left, then right"),
]
FPS = 8


def elan(folder: Path) -> Path:
    for video in {video for video, *_ in EVENTS}:
        own = [event for event in EVENTS if event[0] == video]
        slots = tier = ""
        for number, (_, start, end, label) in enumerate(own):
            for name, time in (("a", start), ("b", end)):
                slots += f'<TIME_SLOT TIME_SLOT_ID="{name}{number}" TIME_VALUE="{time}"/>'
            tier += (
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="n{number}" '
                f'TIME_SLOT_REF1="a{number}" TIME_SLOT_REF2="b{number}">'
                f"<ANNOTATION_VALUE>{label}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        (folder / f"{video}.eaf").write_text(
            f"<ANNOTATION_DOCUMENT><TIME_ORDER>{slots}</TIME_ORDER>"
            f'<TIER TIER_ID="goal">{tier}</TIER></ANNOTATION_DOCUMENT>',
            encoding="utf-8",
        )
    return folder


def activitynet(folder: Path) -> Path:
    database: dict[str, dict] = {}
    for video, start, end, label in EVENTS:
        entry = database.setdefault(video, {"subset": "training", "annotations": []})
        entry["annotations"].append({"label": label, "segment": [start / 1000, end / 1000]})
    return dumped(folder / "anet.json", {"database": database})


def via(folder: Path) -> Path:
    labels = [label for *_, label in EVENTS]
    project = {
        "attribute": {"1": {"aname": "goal", "options": dict(enumerate(labels))}},
        "file": {str(n): {"fname": f"{event[0]}.mp4"} for n, event in enumerate(EVENTS)},
        "view": {str(n): {"fid_list": [str(n)]} for n in range(len(EVENTS))},
        "metadata": {
            f"{n}_x": {"vid": str(n), "z": [a / 1000, b / 1000], "xy": [], "av": {"1": str(n)}}
            for n, (_, a, b, _) in enumerate(EVENTS)
        },
    }
    return dumped(folder / "via.json", project)


def label_studio(folder: Path) -> Path:
    tasks = []
    for video, start, end, label in EVENTS:
        frames = {"start": start * FPS // 1000 + 1, "end": end * FPS // 1000 + 1}
        value = {"ranges": [frames], "timelinelabels": [label]}
        result = {"type": "timelinelabels", "from_name": "goal", "value": value}
        data = {"video": f"/data/upload/7/0123abcd-{video}.mp4"}
        tasks.append({"data": data, "annotations": [{"result": [result]}]})
    return dumped(folder / "studio.json", tasks)


def spreadsheet(folder: Path) -> Path:
    rows = ["video;behavior;Start (s);Stop (s)"]
    for video, start, end, label in EVENTS:
        times = (f"{time / 1000:.3f}".replace(".", ",") for time in (start, end))
        rows.append(";".join((f"{video}.mp4", label, *times)))
    file = folder / "table.csv"
    file.write_text("\n".join(rows), encoding="utf-8-sig")
    return file


def dumped(file: Path, record: object) -> Path:
    file.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    return file


WRITERS: dict[str, Callable[[Path], Path]] = {
    "elan": elan,
    "csv": spreadsheet,
    "activitynet": activitynet,
    "via": via,
    "label-studio": label_studio,
}
HOW = Reading(fps=FPS, first_frame=1)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos" / "deep"
    folder.mkdir(parents=True)
    for name in ("drive1.mp4", "night drive.mp4"):
        (folder / name).touch()
    return tmp_path / "videos"


def test_every_format_is_tried_here() -> None:
    assert set(WRITERS) == set(FORMATS)


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("told", [True, False], ids=["told", "by content"])
def test_events_come_back_to_the_millisecond(tmp_path, videos, format, told) -> None:
    folder = tmp_path / "annotations"
    folder.mkdir()
    source, out = WRITERS[format](folder), tmp_path / "lists" / "manifest.csv"
    imported = import_events(source, videos, out, how=HOW, format=format if told else None)
    clips = read_manifest(out)
    assert clips == imported.clips
    rows = [(c.path.stem, c.start_seconds * 1000, c.end_seconds * 1000, c.label) for c in clips]
    assert rows == EVENTS
    assert {clip.path.parent for clip in clips} == {videos / "deep"}
    assert {clip.split for clip in clips} == {"train" if format == "activitynet" else ""}
    assert not imported.skipped and not imported.missing


def test_a_folder_of_several_formats_is_one_list_and_equal_events_count_once(
    tmp_path, videos
) -> None:
    folder = tmp_path / "annotations"
    folder.mkdir()
    for writer in WRITERS.values():
        writer(folder)
    (folder / "notes.txt").write_text("not read")
    out = tmp_path / "manifest.csv"
    imported = import_events(folder, videos, out, how=HOW)
    assert len(read_manifest(out)) == len(EVENTS)
    assert imported.skipped == Counter({"there twice": len(EVENTS) * (len(WRITERS) - 1)})


def test_what_is_there_is_never_replaced(tmp_path, videos) -> None:
    out = tmp_path / "manifest.csv"
    out.write_text("mine")
    with pytest.raises(EventError, match="is there already and is not replaced"):
        import_events(activitynet(tmp_path), videos, out, how=HOW)
    assert out.read_text() == "mine"


def test_no_pickle_is_opened_whatever_it_is_called(tmp_path, videos) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    for name in ("hdd_all_anno.pickle", "saved_index.pkl", "events.json", "events.csv"):
        for protocol in (0, 4):
            (tmp_path / name).write_bytes(pickle.dumps(Trap(), protocol))
            told = "is a pickle" if protocol or name.endswith(("kl", "le")) else None
            with pytest.raises(EventError, match=told):
                import_events(tmp_path / name, videos, tmp_path / "out.csv", how=HOW)
    assert not (tmp_path / "sprung").exists() and not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b'{"database": {', "a.json line 1 column 15: not JSON: "),
        ("a.json", b"[" * 100_000, "a.json: not JSON that can be read: "),
        ("a.csv", b"video,label\nx,\xe9t\xe9\n", "a.csv line 2: byte 0xe9 is not UTF-8"),
        ("a.eaf", b"<x>", "a.eaf line 1 column 4: not XML: "),
        ("a.csv", b"", "a.csv line 1: no column is known to be the path"),
        ("a.json", b'{"database": {}}', "a.json: no event became a clip (none is there)"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(
    tmp_path, videos, name, content, told
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EventError) as raised:
        import_events(tmp_path / name, videos, tmp_path / "out.csv", how=HOW)
    assert str(raised.value).removeprefix(f"{tmp_path}/").startswith(told)
    assert "\n" not in str(raised.value)


def test_a_missing_source_and_a_folder_without_events_are_told(tmp_path, videos) -> None:
    with pytest.raises(EventError, match="^no list of events at "):
        import_events(tmp_path / "none", videos, tmp_path / "out.csv", how=HOW)
    with pytest.raises(EventError, match="holds no file of events"):
        import_events(videos, videos, tmp_path / "out.csv", how=HOW)
    with pytest.raises(EventError, match="^unknown format 'anvil'"):
        import_events(videos, videos, tmp_path / "out.csv", how=HOW, format="anvil")


def test_where_no_video_is_found_it_names_them(tmp_path, videos) -> None:
    (videos / "deep" / "drive1.mp4").rename(videos / "deep" / "other.mp4")
    (videos / "deep" / "night drive.mp4").unlink()
    with pytest.raises(EventError, match=r"2 videos not found in .*: drive1, night drive"):
        import_events(activitynet(tmp_path), videos, tmp_path / "out.csv", how=HOW)


def test_the_command_counts_what_it_kept_and_what_it_did_not(tmp_path, videos, capsys) -> None:
    (videos / "deep" / "night drive.mp4").unlink()
    source, out = spreadsheet(tmp_path), tmp_path / "manifest.csv"
    with source.open("a", encoding="utf-8") as file:
        file.write("\ndrive1.mp4;U-turn;5;4\n")
    with pytest.raises(SystemExit) as ended:
        app(["import", str(source), "--videos", str(videos), "--out", str(out)])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "2 clips of 1 videos." in told
    assert "Skipped, ends when it begins, or before: 1" in told
    assert "Videos not found: 1, with 1 events: night drive.mp4" in told
    assert re.search(r"U-turn\W+1\b", told) and len(read_manifest(out)) == 2


def test_the_command_names_columns_that_nothing_reads(tmp_path, videos, capsys) -> None:
    source = tmp_path / "events.csv"
    source.write_text("video;start_s;fin [s];label\ndrive1.mp4;1;2;turn\n")
    with pytest.raises(SystemExit) as ended:
        app(["import", str(source), "--videos", str(videos), "--out", str(tmp_path / "m.csv")])
    assert ended.value.code == 0
    assert "Columns that nothing reads: fin [s]" in capsys.readouterr().out
