"""Worker processes end with the context they are for."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial
from pathlib import Path

import pytest

from caf_video.data.images import ImageSetError
from caf_video.data.images.lists import whole_number
from caf_video.processes import ProcessDied, apart, ending_with_starter, worker_pool

JOBS = 200


def leave_a_file(number: int, *, folder: Path) -> int:
    time.sleep(0.02)
    (folder / str(number)).touch()
    return number


def test_all_is_done_that_is_waited_for(tmp_path: Path) -> None:
    with worker_pool(2) as pool:
        assert list(pool.map(partial(leave_a_file, folder=tmp_path), range(10))) == [*range(10)]
    assert len(list(tmp_path.iterdir())) == 10


def test_on_ctrl_c_what_has_not_begun_is_given_up_and_nobody_works_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), worker_pool(2) as pool:
        jobs = [pool.submit(leave_a_file, i, folder=tmp_path) for i in range(JOBS)]
        wait(jobs, return_when=FIRST_COMPLETED)
        raise KeyboardInterrupt
    done = len(list(tmp_path.iterdir()))
    assert 1 <= done < JOBS / 4
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) == done


def test_a_function_apart_answers_and_its_expected_failures_are_its_own() -> None:
    assert apart(divmod, 7, 2, seconds=60) == (3, 1)
    with pytest.raises(ImageSetError, match="line 3: a number of 20 digits"):
        apart(whole_number, "9" * 20, "line 3", seconds=60)


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (signal.raise_signal, (signal.SIGSEGV,), "killed by SIGSEGV"),
        (os._exit, (3,), "exit code 3"),
        (time.sleep, (60,), "no answer in 0.5 s"),
        (bytes, (2**40,), "more memory than there is"),
    ],
)
def test_a_function_that_dies_hangs_or_takes_all_memory_is_one_line(
    function, arguments, words
) -> None:
    with pytest.raises(ProcessDied, match=words):
        apart(function, *arguments, seconds=0.5 if function is time.sleep else 60)


STARTS = """
import subprocess, sys
from caf_video.processes import ending_with_starter
with ending_with_starter():
    print(subprocess.Popen([sys.executable, "-c", sys.argv[1]]).pid, flush=True)
    sys.stdin.read()
"""


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc who runs")
@pytest.mark.parametrize("delay", ["pass", "time.sleep(2)"])
def test_a_process_ends_with_the_one_that_started_it_though_that_is_killed_before_it_looks(
    delay,
) -> None:
    sleeps = (
        f"import time\n{delay}\nfrom caf_video.processes import ending_with_starter\n"
        "with ending_with_starter():\n    time.sleep(100)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS, sleeps], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with starter:
        started = int(starter.stdout.readline())  # type: ignore[union-attr]
        if delay == "pass":
            time.sleep(1.5)
            assert is_running(started)
        starter.kill()
    until = time.monotonic() + 30
    while is_running(started):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform == "win32", reason="there nobody is watched")
def test_a_process_with_a_launcher_between_it_and_the_first_goes_on() -> None:
    works = (
        "import time\nfrom caf_video.processes import ending_with_starter\n"
        "with ending_with_starter():\n    time.sleep(2)\nprint('done')\n"
    )
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {works!r}])"
    with ending_with_starter():
        done = subprocess.run([sys.executable, "-c", launcher], capture_output=True, text=True)
    assert done.stdout == "done\n"


def test_a_process_that_nobody_inside_started_goes_on_and_leaves_its_environment_as_it_was() -> (
    None
):
    before = dict(os.environ)
    with ending_with_starter():
        assert os.environ != before
    assert os.environ == before
