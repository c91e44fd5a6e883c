"""`caf-video check` as a user meets it: what it says, what it writes, what it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from caf_video.cli import app
from caf_video.errors import InputError
from caf_video.pipeline.check import check

LIST = "path,label,start,end,weather,session\n"


def drive(folder: Path, frames: int = 30) -> Path:
    """A folder of numbered pictures, the cheapest of videos."""
    folder.mkdir()
    for i in range(frames):
        Image.new("RGB", (16, 12), (i, i, i)).save(folder / f"{i:03d}.png")
    return folder


@pytest.fixture
def events(tmp_path: Path) -> Path:
    drive(tmp_path / "drive")
    path = tmp_path / "events.csv"
    path.write_text(
        LIST
        + "drive,left,0.5,1.5,rain,s1\n"
        + "drive,right,2,3,sun,s1\n"
        + "drive,right,2,99,sun,s1\n"
        + "drive,left,2,2.1,sun,s1\n"
        + "gone.mp4,right,0,1,fog,s2\n"
    )
    return path


def test_what_is_wrong_with_an_event_is_reported_by_name(events: Path) -> None:
    reasons = {one.clip.clip_id: one.reason for one in check(events, fps=10)}
    assert reasons["drive@0.5-1.5"] == reasons["drive@2-3"] == ""
    assert reasons["drive@2-99"].endswith("end 99.0 s is after the end of drive (3.000 s)")
    assert "it has 1 frame(s), fewer than the 3 timesteps" in reasons["drive@2-2.1"]
    assert "no such file" in reasons["gone.mp4@0-1"]


def test_seconds_without_a_rate_are_reported(events: Path) -> None:
    for one in check(events):
        told = (
            "no such file" if one.clip.path.name == "gone.mp4" else "does not tell its frame rate"
        )
        assert told in one.reason


def test_the_good_clips_are_written_with_all_their_columns(events: Path, tmp_path: Path) -> None:
    check(events, fps=10, good=tmp_path / "good" / "good.csv")
    assert (tmp_path / "good" / "good.csv").read_text().splitlines() == [
        "clip_id,path,label,start_seconds,end_seconds,session,split,fps,weather",
        "drive@0.5-1.5,../drive,left,0.5,1.5,s1,,10.0,rain",
        "drive@2-3,../drive,right,2.0,3.0,s1,,10.0,sun",
    ]
    assert [one.ok for one in check(tmp_path / "good" / "good.csv")] == [True, True]


def test_nothing_that_was_not_written_here_is_replaced(events: Path, tmp_path: Path) -> None:
    before = events.read_text()
    with pytest.raises(InputError, match="events.csv is the list that is checked"):
        check(events, fps=10, good=events)
    assert events.read_text() == before
    other = tmp_path / "notes.csv"
    for text in ("my notes\n", before, "", "\ufefftext", '"open'):
        other.write_text(text)
        with pytest.raises(
            InputError, match=r"notes.csv is there already, and is not as caf_video"
        ):
            check(events, fps=10, good=other)
        assert other.read_text() == text


def test_what_was_written_before_is_written_anew_unless_its_user_changed_it(
    events: Path, tmp_path: Path
) -> None:
    good = tmp_path / "good.csv"
    check(events, fps=10, good=good)
    first = good.read_text()
    events.write_text(events.read_text().replace("rain", "snow"))
    check(events, fps=10, good=good)
    assert good.read_text() == first.replace("rain", "snow") != first
    good.write_text(first.replace("rain", "hail"))  # by its user
    with pytest.raises(InputError, match="is not as caf_video wrote it"):
        check(events, fps=10, good=good)


def test_videos_that_were_moved_are_found_below_another_folder(
    events: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "drive").rename(tmp_path / "disk" / "drive")
    assert not any(one.ok for one in check(events, fps=10))
    good = tmp_path / "good.csv"
    checked = check(events, fps=10, videos=tmp_path / "disk", good=good)
    assert [one.ok for one in checked] == [True, True, False, False, False]
    assert "disk/drive" in good.read_text()


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_no_cell_is_cut_short_on_30_columns(events: Path, encoding: str) -> None:
    command = ["-m", "caf_video", "check", str(events), "--fps", "10"]
    environment = {**os.environ, "COLUMNS": "30", "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, *command], capture_output=True, env=environment)
    assert done.returncode == 1, done.stderr
    text = done.stdout.decode(encoding)
    assert "\u2026" not in text and "..." not in text
    for row in (["label", "train", "val", "test", "sessions"], ["16x12", "10", "pictures", "2"]):
        assert any(all(cell in line for cell in row) for line in text.splitlines()), (row, text)


def test_the_command_says_what_the_list_holds_before_it_opens_a_clip(events: Path) -> None:
    done = CliRunner().invoke(app, ["check", str(events), "--fps", "10"])
    assert done.exit_code == 1  # three clips cannot be used
    text = " ".join(done.stdout.split())
    assert "Lengths, shortest / median / longest: 0.10 / 1.00 / 97.00 s." in text
    assert "5 clips have no split in the list: as seed 0 deals them." in text
    assert "2 of 5 clips can be read" in text
    assert text.index("Features of") < text.index("drive@2-99: clip")
    assert "Lengths, shortest / median / longest: 1.00 / 1.00 / 1.00 s." in text


def test_columns_that_nobody_reads_are_named(events: Path) -> None:
    lines = events.read_text().splitlines()
    told = [f"{line},{'debut [s]' if number == 0 else number}" for number, line in enumerate(lines)]
    events.write_text("\n".join(told) + "\n")
    done = CliRunner().invoke(app, ["check", str(events), "--fps", "10"])
    text = " ".join(done.stdout.split())
    assert "Columns that mean nothing here, and are kept: weather, debut [s]" in text
