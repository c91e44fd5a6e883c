"""Processes that died, disks that are full, two at once: what is there is whole, and goes on."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caf_video import files
from caf_video.errors import CafVideoError
from caf_video.files import (
    LOCK,
    RECORD,
    is_ours,
    only_one,
    require_ours,
    require_writable,
    temporary_beside,
    unwritable,
    written_whole,
)


@pytest.fixture
def anew() -> Callable[[], None]:
    """Forget which folders were swept, as another process would not know."""
    return files._sweep.cache_clear


def dead_process() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_what_a_dead_process_left_is_removed_by_the_next_and_nothing_else(
    tmp_path: Path, anew: Callable[[], None]
) -> None:
    name = temporary_beside(tmp_path / "clip.csv").name
    machine = name.split(".")[2]
    ours, dead = str(os.getpid()), str(dead_process())
    left = {
        f".clip.{machine}.{dead}.00c0ffee.part.csv": False,
        f".clip.{machine}.{dead}.00c0ffee.part": False,
        f".clip.{machine}.{ours}.00c0ffee.part.csv": True,  # it writes still
        f".clip.0123abcd.{dead}.00c0ffee.part.csv": True,  # of another machine
        f".old.0123abcd.{ours}.00c0ffee.part.csv": False,  # which has left it for days
        f".clip.{machine}.{dead}.part.csv": True,  # not called as ours are
        "clip.csv": True,
    }
    for file in left:
        (tmp_path / file).write_text("half")
    days_ago = time.time() - 3 * 24 * 3600
    os.utime(tmp_path / f".old.0123abcd.{ours}.00c0ffee.part.csv", (days_ago, days_ago))
    anew()
    with written_whole(tmp_path / "other.csv") as part:
        part.write_text("whole")
    kept = {file for file, stays in left.items() if stays}
    assert {path.name for path in tmp_path.iterdir()} == kept | {"other.csv"}


def test_long_names_have_temporary_names_that_fit(tmp_path: Path) -> None:
    for stem in ("x" * 250, "橋" * 80):
        with written_whole(tmp_path / f"{stem}.csv") as part:
            part.write_text("whole")
        assert (tmp_path / f"{stem}.csv").read_text() == "whole"


@pytest.mark.parametrize("after", [False, True], ids=["before the rename", "after it"])
def test_a_process_that_dies_beside_a_rename_leaves_a_file_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    file = tmp_path / "table.json"
    with written_whole(file, ours=True) as part:
        part.write_text("old")
    replace = os.replace

    def dies(source: Path, target: Path) -> None:
        if after:
            replace(source, target)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(SystemExit), written_whole(file, ours=True) as part:
            part.write_text("new")
    assert file.read_text() == ("new" if after else "old")
    assert is_ours(file)
    require_ours(file)


def test_a_record_whose_last_line_is_half_a_line_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("0123abcd  half")
    with written_whole(tmp_path / "table.json", ours=True) as part:
        part.write_text("whole")
    assert is_ours(tmp_path / "table.json")


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_kept_out_and_a_dead_one_keeps_nobody_out(tmp_path: Path) -> None:
    with only_one(tmp_path, CafVideoError, "busy"):
        pass
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / LOCK)], **pipes) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(CafVideoError, match="^busy$"):
            only_one(tmp_path, CafVideoError, "busy").__enter__()
        other.kill()
        other.wait()
        with only_one(tmp_path, CafVideoError, "busy"):
            child = os.fork()
            if not child:  # a worker that outlives its parent
                time.sleep(60)
                os._exit(0)
    try:
        # This process gave the lock back; what it forked does not hold it.
        code = HOLD.replace("LOCK_EX", "LOCK_EX | fcntl.LOCK_NB")
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / LOCK)], input=b"", timeout=30, check=False
        )
        assert done.returncode == 0
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files end at so many bytes, as on a disk that is full: a write beyond is an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_the_disk_does_not_take_is_one_line_and_what_was_there_stays(
    tmp_path: Path,
) -> None:
    file = tmp_path / "table.json"
    file.write_text("old")
    with (
        largest_file(4000),
        pytest.raises(CafVideoError, match=r"^cannot write .*table\.json: File too large; free so"),
        written_whole(file, synced=True) as part,
    ):
        part.write_bytes(bytes(10_000))
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_what_cannot_be_written_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_writable(tmp_path / "new" / "out.json")
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "new" / "out.json").write_text("a user's")
    with pytest.raises(CafVideoError, match="is there already"):
        require_writable(tmp_path / "new" / "out.json")
    with largest_file(0), pytest.raises(CafVideoError, match=r"cannot write .*out\.csv: File too"):
        require_writable(tmp_path / "new" / "out.csv")
    with pytest.raises(CafVideoError, match="is a folder, not a file"):
        require_writable(tmp_path / "new")


def test_a_full_folder_of_temporary_files_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "tmp"
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(elsewhere))
    full = OSError(28, "No space left on device", str(elsewhere / "pymp-1" / "x"))
    told = str(unwritable(tmp_path / "run" / "last.ckpt", full, CafVideoError))
    assert told.startswith(f"cannot write to TMPDIR, {elsewhere}: No space left on device; free")


def test_the_disk_and_permissions_are_one_line_wherever_they_are_met(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from caf_video.cli.console import one_line_failures

    for error, line in (
        (OSError(28, "No space left on device", "/x/y"), "/x/y: No space left on device"),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied"),
    ):
        with pytest.raises(SystemExit, match="2"), one_line_failures():
            raise error
        assert capsys.readouterr().err == f"caf-video: {line}\n"
    with pytest.raises(ConnectionResetError), one_line_failures():
        raise ConnectionResetError(104, "a bug keeps its traceback")
