"""Where HDD's sessions lie, old layouts and new, and the split that is read and never run."""

from pathlib import Path

import pytest

from caf_video.data.events.events import EventError
from caf_video.data.events.hdd_sessions import (
    annotation_files,
    find_split,
    read_split,
    session_of,
    session_videos,
    with_validation,
)


@pytest.mark.parametrize(
    ("name", "session"),
    [
        ("2017-10-04-11-02-21", "201710041102"),
        ("201710041102", "201710041102"),
        ("201710041102_ITS", "201710041102"),
        ("2017-02-27-10-17-27_new_0.75", "201702271017"),
        ("2017_02_27_ITS1", ""),
    ],
)
def test_a_session_is_its_first_twelve_digits(name: str, session: str) -> None:
    assert session_of(name) == session


NEW = "release_2019_07_08/2017_02_27_ITS1/201702271017"
OLD = "2017_02_27_ITS_data_collection/201702271123_ITS"


@pytest.mark.parametrize(
    "annotations",
    [
        (f"{NEW}/annotation/event/2017-02-27-10-17-27.eaf", f"{OLD}/annotation/event/1/{{}}"),
        ("EAF/2017-02-27-10-17-27.eaf", "EAF/{}"),
        ("EAF/event/2017-02-27-10-17-27.eaf", "EAF/event/{}"),
        ("20200710_EAF/2017-02-27-10-17-27.eaf", "20200710_EAF/{}"),
    ],
    ids=["in the session", "EAF", "EAF/event", "20200710_EAF"],
)
def test_each_layout_is_read(tmp_path: Path, annotations: tuple[str, str]) -> None:
    files = [
        f"{NEW}/camera/center/2017-02-27-10-17-27_new_0.75.mp4",
        f"{NEW}/camera/center/2017-02-27-10-17-27_new_0.75_b.mp4",  # the first counts
        f"{NEW}/general/csv/accel.csv",
        f"{OLD}/camera/center/2017-02-27-11-23-02.mp4",
        # Of this release only frame times.
        "release_2019_07_25/2017_02_27_ITS1/201702271017/camera/center/png_timestamp.csv",
        annotations[0],
        annotations[1].format("2017-02-27-11-23-02.eaf"),
    ]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert session_videos(tmp_path) == {
        "201702271017": tmp_path / files[0],
        "201702271123": tmp_path / files[3],
    }
    assert annotation_files(tmp_path) == {
        "201702271017": tmp_path / files[5],
        "201702271123": tmp_path / files[6],
    }


def test_a_copy_of_an_annotation_is_the_same_and_another_one_is_refused(tmp_path: Path) -> None:
    files = [tmp_path / folder / "2017-02-27-10-17-27.eaf" for folder in ("EAF", "old")]
    for file in files:
        file.parent.mkdir()
        file.write_text("same")
    assert annotation_files(tmp_path) == {"201702271017": files[0]}
    files[1].write_text("other")
    with pytest.raises(EventError, match="has two annotations that differ.*--annotations$"):
        annotation_files(tmp_path)


def test_no_annotation_or_one_of_no_session_is_told(tmp_path: Path) -> None:
    with pytest.raises(EventError, match="holds no annotation"):
        annotation_files(tmp_path)
    (tmp_path / "notes.eaf").touch()
    with pytest.raises(EventError, match="has no date and time of a session"):
        annotation_files(tmp_path)


CFG = '''
"""Made by {other}."""
import os
open({sprung!r}, "w")
colours = os.environ
train_session_set = ["201702271017", "201702271123",
                     "201702271136_ITS"]
validation_session_set = ["201704101118"]
'''


def test_cfg_py_is_read_and_never_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    cfg = tmp_path / "deep" / "EAF_Parsing" / "cfg.py"
    cfg.parent.mkdir(parents=True)
    cfg.write_text(CFG.format(other="hand", sprung=str(sprung)))
    (cfg.parent / "saved_index.pkl").write_bytes(b"\x80never")
    assert find_split(tmp_path) == cfg
    assert read_split(cfg) == {
        "201702271017": "train",
        "201702271123": "train",
        "201702271136": "train",
        "201704101118": "test",
    }
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("cfg.py", "train_session_set = list(range(3))", "line 1: train_session_set is computed"),
        ("cfg.py", "train_session_set = 'abc'", "line 1: train_session_set is not a list"),
        ("cfg.py", "x = 1\ntrain_session_set = [", "line 2: not Python"),
        ("cfg.py", "x = 1", "no lists train_session_set and validation_session_set"),
        ("a.json", '{"train_session_set": ["201702271017"]}', "no lists train_session_set and"),
        ("a.json", '{"train_session_set": "201702271017"}', "train_session_set is '2017"),
        ("a.json", '{"train_session_set": ["drive"]}', "holds 'drive', which is no session"),
        (
            "cfg.py",
            "train_session_set = validation_session_set = ['201702271017']",
            "no lists train_session_set and",
        ),
        (
            "cfg.py",
            "train_session_set = ['201702271017']\nvalidation_session_set = ['201702271017']",
            "session 201702271017 is in both lists",
        ),
    ],
)
def test_a_split_that_cannot_be_read_is_told(tmp_path: Path, name, text, told) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(EventError, match=told) as raised:
        read_split(tmp_path / name)
    assert "\n" not in str(raised.value) and str(tmp_path / name) in str(raised.value)


def test_the_published_split_has_100_and_36_sessions(shared_data: Path) -> None:
    split = read_split(shared_data / "hdd" / "TRN_data_info.json")
    counts = [list(split.values()).count(name) for name in ("train", "test")]
    assert counts == [100, 36]


def test_sessions_of_validation_come_out_of_training_and_stay_the_same() -> None:
    split = {f"2017022710{n:02}": "train" if n < 50 else "test" for n in range(60)}
    chosen = with_validation(split, split, 10)
    assert [list(chosen.values()).count(name) for name in ("train", "val", "test")] == [40, 10, 10]
    assert all(chosen[name] == "test" for name in split if split[name] == "test")
    assert with_validation(split, reversed(sorted(split)), 10) == chosen
    assert with_validation(split, split, 0) == split
    # Of the sessions that are there, not of all that are listed.
    there = sorted(split)[:12]
    few = with_validation(split, there, 3)
    assert {name for name in few if few[name] == "val"} < set(there)
    with pytest.raises(EventError, match="^--val-sessions 12: there are 12 sessions to train on"):
        with_validation(split, there, 12)
