"""What a command shows in a log and on poor terminals, and how it ends."""

import signal
import subprocess
import sys

import pytest

from caf_video.cli.console import one_line_failures, track
from caf_video.errors import CafVideoError, Interrupted


def test_in_a_log_a_loop_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abcd"), description="Embedding", total=4)) == list("abcd")
    output, error = capsys.readouterr()
    assert output == ""
    assert [line.split(",")[0] for line in error.splitlines()] == [
        f"Embedding: {done}/4" for done in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(
    ("error", "code"), [(CafVideoError("no run"), 2), (Interrupted("interrupted after 7"), 130)]
)
def test_an_expected_failure_ends_with_its_code_and_one_line(error, code, capsys) -> None:
    with pytest.raises(SystemExit) as ended, one_line_failures():
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err == f"caf-video: {error}\n"


PROGRAM = """
import sys
from unittest import mock
from caf_video.cli import main
from caf_video.errors import Interrupted
import caf_video.pipeline.evaluate as stage
def stop(*_, **__): raise Interrupted("interrupted after step 7: go on with ckpt_path=last")
stage.evaluate = stop
sys.argv = ["caf-video", "evaluate", "run"]
main()
"""


def test_an_interruption_that_says_how_to_go_on_is_not_told_of_twice() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == ("caf-video: interrupted after step 7: go on with ckpt_path=last\n")
