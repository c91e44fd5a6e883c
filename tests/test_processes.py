"""Worker processes end with the context they are for."""

import time
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial
from pathlib import Path

import pytest

from caf_video.processes import worker_pool

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
