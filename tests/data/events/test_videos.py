"""Video files by the names that lists of events have for them, and the clips that events become."""

from collections import Counter
from pathlib import Path

import pytest

from caf_video.data.events.events import Event, EventError
from caf_video.data.events.videos import VideoFolder, clips_of
from caf_video.data.manifest import Clip


@pytest.fixture
def videos(tmp_path: Path) -> VideoFolder:
    names = ("a/drive1.mp4", "b/drive1.mp4", "c/v_x.1.mkv", "dusk.mp4", "dusk.avi", ".hidden.mp4")
    for name in (*names, "t_000010_000020.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return VideoFolder(tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("v_x.1", "c/v_x.1.mkv"),
        ("/elsewhere/v_x.1.mp4", "c/v_x.1.mkv"),  # recoded: the stem counts
        ("a/drive1", "a/drive1.mp4"),
        (r"D:\drives\b\drive1.mp4", "b/drive1.mp4"),
        ("file:///home/x/b/drive1", "b/drive1.mp4"),
        ("dusk.avi", "dusk.avi"),
        ("drive", None),
        (".hidden", None),
        ("", None),
    ],
)
def test_a_video_is_found_by_stem_and_told_apart_by_its_path(videos, name, file) -> None:
    found = videos.find(name)
    assert (found and found.relative_to(videos.root).as_posix()) == file


@pytest.mark.parametrize(
    ("name", "several"),
    [("drive1.mp4", "a/drive1.mp4, b/drive1.mp4"), ("dusk", "dusk.avi, dusk.mp4")],
)
def test_a_name_of_several_videos_is_an_error_that_names_them(videos, name, several) -> None:
    with pytest.raises(EventError) as raised:
        videos.find(name)
    told = f"{videos.root} holds several videos called {name!r}: {several}"
    assert str(raised.value) == told


def test_events_become_clips_by_video_and_time_and_what_is_missing_is_counted(videos) -> None:
    events = [
        Event("dusk.avi", "left", 5.0, 6.0, split="test", session="s"),
        Event("dusk.avi", "right", 1.0, None),
        Event("dusk.avi", "left", 5.0, 6.0),
        Event("x.1", "left", 0.0, 1.0, other_names=("v_x.1",)),
        Event("b/drive1", "left", 0.0, 1.0),
        Event("dawn", "left", 0.0, 1.0),
        Event("dawn", "left", 1.0, 2.0),
        Event("t", "jump", 10.0, 20.0, trimmed_name="t_000010_000020"),
        Event("t", "jump", 20.0, 30.0, trimmed_name="t_000020_000030"),
    ]
    found = clips_of(events, videos)
    root = videos.root
    assert found.clips == [
        Clip("drive1-0001", root / "b/drive1.mp4", "left", 0.0, 1.0),
        Clip("v_x.1-0001", root / "c/v_x.1.mkv", "left", 0.0, 1.0),
        Clip("dusk-0001", root / "dusk.avi", "right", 1.0, None),
        Clip("dusk-0002", root / "dusk.avi", "left", 5.0, 6.0, "s", "test"),
        # The file is the event, so its times are its own.
        Clip("t_000010_000020-0001", root / "t_000010_000020.mp4", "jump", 0.0, None),
    ]
    assert found.missing == Counter({"dawn": 2, "t": 1}) and found.repeated == 1


def test_two_videos_of_one_stem_have_clips_of_different_names(videos) -> None:
    events = [Event("dusk.avi", "x", 0.0, 1.0), Event("dusk.mp4", "x", 0.0, 1.0)]
    events += [Event(f"{folder}/drive1", "x", 0.0, 1.0) for folder in "ab"]
    ids = [clip.clip_id for clip in clips_of(events, videos).clips]
    names = ["a/drive1.mp4", "b/drive1.mp4", "dusk.avi", "dusk.mp4"]
    assert ids == [f"{name}-0001" for name in names]


def test_a_folder_without_a_video_is_told(tmp_path: Path) -> None:
    with pytest.raises(EventError, match="holds no video$"):
        VideoFolder(tmp_path)
    with pytest.raises(EventError, match="^no folder of videos at "):
        VideoFolder(tmp_path / "none")
