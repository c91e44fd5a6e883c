"""A slip in one's own configuration is one line that names the file, and no pipe is waited for."""

import os
import sys
from pathlib import Path

import pytest

from caf_video.errors import CafVideoError, InputError
from caf_video.pipeline.hydra_command import run_command


def run(monkeypatch, *arguments: str, task=lambda config: None) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *arguments, "hydra.run.dir=."])
    run_command(task, arguments, "recurrent")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"loss:\n  margin: [1, 2\nseed: 3\n", "mine.yaml is not YAML of settings: .* line 3"),
        (b"- 1\n- 2\n", "must be a DictConfig, got ListConfig"),
        ("seed: 1\n".encode("utf-16"), "mine.yaml is not YAML of settings: 'utf-8' codec"),
        (b"a: " + b"[" * 3000 + b"]" * 3000, "mine.yaml is not YAML of settings: maximum recurs"),
        (b"seed: " + b"9" * 5000, "mine.yaml is not YAML of settings: Exceeds the limit"),
        (b"a: ${b\n", "mine.yaml is not YAML of settings"),
        (b"a: \0\n", "mine.yaml is not YAML of settings: .*special characters"),
        (b"defaults:\n  - nope: x\n", "Could not find 'nope/x'"),
        (b"#" * 2**21, "cannot read .*mine.yaml: it has 2097152 bytes, more than such a file"),
    ],
)
def test_a_slip_in_a_configuration_is_one_line(content, message, tmp_path, monkeypatch) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        run(monkeypatch, "--config-dir", str(tmp_path), "--config-name", "mine")
    assert "\n" not in str(caught.value)
    assert "HYDRA_FULL_ERROR" not in os.environ


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_not_opened(kind: str, tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "mine.yaml"
    {"pipe": os.mkfifo, "folder": Path.mkdir, "device": lambda f: f.symlink_to("/dev/zero")}[kind](
        file
    )
    with pytest.raises(InputError, match="cannot read .*mine.yaml: (it is a pipe|Is a directory)"):
        run(monkeypatch, f"--config-dir={tmp_path}")


def test_a_slip_on_the_command_line_is_one_line(monkeypatch) -> None:
    with pytest.raises(InputError, match="Could not override 'nope'"):
        run(monkeypatch, "nope=3")


def test_an_expected_failure_of_the_task_is_its_own_and_a_bug_stays_one(monkeypatch) -> None:
    def fail(error: Exception):
        def task(config: object) -> None:
            raise error

        return task

    with pytest.raises(CafVideoError, match="^no features$"):
        run(monkeypatch, task=fail(CafVideoError("no features")))
    with pytest.raises(ValueError, match="^a bug$") as caught:
        run(monkeypatch, task=fail(ValueError("a bug")))
    assert not isinstance(caught.value, CafVideoError)
