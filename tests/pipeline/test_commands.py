"""`evaluate` and `explain` at the command line, for a run that is known on paper."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from caf_video.data.manifest import write_manifest


def caf_video(*arguments: str | Path, code: int = 0, **environment: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "caf_video", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120", **environment},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_both_ways_and_the_gate_are_printed_as_fractions_and_a_file_of_a_users_stays(
    make_known_run, tmp_path
) -> None:
    known = make_known_run()
    drives = {"left_b": "é drive", "stop_c": "é drive"}
    clips = [replace(clip, session=drives.get(clip.clip_id, clip.session)) for clip in known.clips]
    clips[-1] = replace(clips[-1], split="test")  # which was trained on
    write_manifest(clips, known.store.manifest_path)
    json_file = tmp_path / "e.json"
    output, error = caf_video("evaluate", known.folder, "--json", json_file)
    assert "among all others" in output and "other sessions alone" in output
    record = json.loads(json_file.read_text())
    for figures in (record, record["other_sessions"]):
        assert f"{figures['recall@1']:.3f}" in output and f"{figures['map@r']:.3f}" in output
    assert f"{record['nearest_of_own_session']:.3f} are of the clip's own session" in output
    assert "Left out, for the run was trained on them: 1 clips" in output and "%" not in output
    assert re.search(r"^Embedding the test split: 7/7, ", error, re.MULTILINE)
    caf_video("evaluate", known.folder, "--json", json_file)  # ours
    json_file.write_text("mine")
    _, error = caf_video("evaluate", known.folder, "--json", json_file, code=2)
    assert json_file.read_text() == "mine" and len(error.splitlines()) == 1


@pytest.mark.parametrize("columns", ["30", "120"])
def test_a_terminal_of_ascii_or_of_few_columns_is_enough(make_known_run, columns) -> None:
    known = make_known_run()
    clips = [replace(clip, label=clip.label.replace("stop_sign", "Überholen …"))
             for clip in known.clips]  # fmt: skip
    write_manifest(clips, known.store.manifest_path)
    poor = {"COLUMNS": columns, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    output, _ = caf_video("evaluate", known.folder, **poor)
    assert output.isascii() and "NMI" in output.replace("\n", "")
