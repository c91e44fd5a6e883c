"""Every clip gets its verdict, whatever it does to the process that opens it."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from caf_video.data.check import check_clips
from caf_video.data.manifest import Clip
from caf_video.errors import InputError


@pytest.fixture
def misbehave(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """A probe that does what a clip's label says; other processes find it on the path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import check_probes

    return check_probes.misbehave


def clips_that(*labels: str) -> list[Clip]:
    return [Clip(f"{i}", Path(f"/v/{i}.mp4"), label) for i, label in enumerate(labels)]


def test_good_clips_are_opened_as_training_would(numbered_video: Callable[..., Path]) -> None:
    video = numbered_video("é drive.mp4", 20)
    clips = [
        Clip("whole", video, "l", split="train"),
        Clip("part", video, "l", 0.2, 0.6),
    ]
    checks = list(check_clips(clips, timesteps=3, candidates=3))
    assert [check.clip for check in checks] == clips
    for check in checks:
        assert check.ok and check.reason == "" and check.info is not None
        assert (check.info.frame_count, check.info.height, check.info.width) == (20, 48, 64)
        assert check.info.fps == pytest.approx(25)


def test_bad_clips_say_why_in_one_line_and_the_others_go_on(
    numbered_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = numbered_video("drive.mp4", 20)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    clips = [
        Clip("missing", tmp_path / "nowhere.mp4", "l"),
        Clip("empty", tmp_path / "empty.mp4", "l"),
        Clip("text", tmp_path / "text.mp4", "l"),
        Clip("late", video, "l", 30.0, 31.0),
        Clip("good", video, "l"),
    ]
    checks = list(check_clips(clips, timesteps=3, workers=1))
    assert [check.ok for check in checks] == [False] * 4 + [True]
    for check in checks[:4]:
        assert check.info is None
        assert check.clip.path.name in check.reason
        assert "\n" not in check.reason
    assert "clip 'late': start 30.0 s is after the end" in checks[3].reason


def test_events_that_do_not_fit_their_video_are_reported(
    numbered_video: Callable[..., Path],
) -> None:
    """A video of one second, 25 frames: nothing is read as something else."""
    video = numbered_video("drive.mp4", 25)
    clips = [
        Clip("past", video, "l", 0.5, 2.1),
        Clip("little past", video, "l", 0.5, 1.9),
        Clip("two frames", video, "l", 0.4, 0.48),
        Clip("three frames", video, "l", 0.4, 0.52),
        Clip("other rate", video, "l", 0.4, 0.8, fps=30),
        Clip("its rate", video, "l", 0.4, 0.8, fps=24.9),
    ]
    reasons = {c.clip.clip_id: c.reason for c in check_clips(clips, timesteps=3, workers=1)}
    assert reasons == {
        "past": "clip 'past': end 2.1 s is after the end of drive.mp4 (1.000 s)",
        "little past": "",
        "two frames": "clip 'two frames': of drive.mp4 it has 2 frame(s), fewer than the 3 "
        "timesteps",
        "three frames": "",
        "other rate": "clip 'other rate': fps is 30, but drive.mp4 has 25 frames a second: "
        "correct it",
        "its rate": "",
    }


def test_a_raw_stream_takes_times_in_seconds_with_a_rate_alone(
    numbered_video: Callable[..., Path],
) -> None:
    video = numbered_video("video.hevc", 20, codec="libx265", size=(72, 96), container="hevc")
    clips = [
        Clip("whole", video, "l"),
        Clip("seconds", video, "l", 0.5, 0.8),
        Clip("with a rate", video, "l", 0.5, 0.8, fps=20),
        Clip("later", video, "l", 0.9, fps=20),
    ]
    whole, seconds, rated, later = check_clips(clips, timesteps=3, workers=1)
    assert whole.ok and whole.info is not None and not whole.info.has_clock
    assert "video.hevc does not tell its frame rate" in seconds.reason
    assert "column 'fps'" in seconds.reason and "--fps" in seconds.reason
    assert rated.ok and rated.info is not None and rated.info.duration_seconds == 1.0
    assert "it has 2 frame(s)" in later.reason


def test_hangs_and_crashes_are_named_and_their_process_replaced(misbehave: Callable) -> None:
    clips = clips_that("good", "hang", "good", "crash", "refuse", "exit", "good", "good")
    begin = time.monotonic()
    checks = list(check_clips(clips, timesteps=3, timeout_seconds=0.5, workers=2, probe=misbehave))
    assert time.monotonic() - begin < 20
    assert [check.clip for check in checks] == clips
    assert [check.ok for check in checks] == [clip.label == "good" for clip in clips]
    assert [check.reason for check in checks if not check.ok] == [
        "1.mp4 hangs its reader: no answer in 0.5 s",
        "3.mp4 crashes its reader (killed by SIGSEGV)",
        "4.mp4 is truncated",
        "5.mp4 crashes its reader (exit code 3)",
    ]
    assert multiprocessing.active_children() == []


def test_processes_stay_for_many_clips_and_go_at_the_end(misbehave: Callable) -> None:
    checks = list(check_clips(clips_that(*["good"] * 40), timesteps=3, workers=2, probe=misbehave))
    processes = {check.info.frame_count for check in checks if check.info is not None}
    assert 1 <= len(processes) <= 2
    assert multiprocessing.active_children() == []


def test_whoever_stops_listening_waits_for_nothing(misbehave: Callable) -> None:
    clips = clips_that("good", "hang", "hang", "good")
    checks = check_clips(clips, timesteps=3, timeout_seconds=300, workers=2, probe=misbehave)
    assert next(checks).ok
    begin = time.monotonic()
    checks.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begin < 10
    assert multiprocessing.active_children() == []


def test_a_hanging_process_does_not_outlive_a_killed_caller(tmp_path: Path) -> None:
    script = tmp_path / "caller.py"
    script.write_text(
        "import os, pathlib, time\n"
        "from caf_video.data.check import check_clips\n"
        "from caf_video.data.manifest import Clip\n"
        "def hang(*_):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    clip = Clip('a', pathlib.Path('/v/a.mp4'), 'l')\n"
        "    list(check_clips([clip], timesteps=3, probe=hang))\n"
    )
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline()
        caller.kill()
        # The pipe ends when the last process that writes to it is gone.
        assert caller.stdout.read() == ""


def test_the_processes_import_no_torch() -> None:
    """It costs seconds in each; only `data.features` and `data.frames` need it."""
    code = (
        "import sys, caf_video.data.check as check; "
        "sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nothing_to_check_is_no_work() -> None:
    assert list(check_clips([], timesteps=3)) == []


def test_impossible_settings_are_refused_at_once() -> None:
    with pytest.raises(InputError, match="0 workers"):
        check_clips([], timesteps=3, workers=0)
    with pytest.raises(InputError, match="0 s"):
        check_clips([], timesteps=3, timeout_seconds=0)
    with pytest.raises(InputError, match="2 candidate frames"):
        check_clips([], timesteps=3, candidates=2)
