"""The examples for clusters: shell that parses, and asks for what the commands have."""

import os
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "cluster"
SAYS_HOW_IT_WAS_CALLED = """#!/bin/sh
echo "$(basename "$0") $*"
"""


def called(script: str, folder: Path, *arguments: str, **environment: str) -> str:
    """What a script runs in the end, as stand-ins for the programs say."""
    for name in ("caf-video", "torchrun"):
        (folder / name).write_text(SAYS_HOW_IT_WAS_CALLED)
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(EXAMPLES / script), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": path, **environment}
    )
    return done.stdout.strip()


@pytest.mark.parametrize("script", ["extract.sbatch", "train.sh"])
def test_the_scripts_parse(script) -> None:
    subprocess.run(["bash", "-n", str(EXAMPLES / script)], check=True)


def test_the_array_extracts_and_the_task_is_in_the_environment(tmp_path) -> None:
    told = called("extract.sbatch", tmp_path, "a b.csv", "out", "--size", "64x96",
                  SLURM_CPUS_PER_TASK="3")  # fmt: skip
    assert told == "caf-video extract a b.csv --out out --workers 3 --size 64x96"
    asked = [line.split()[1] for line in (EXAMPLES / "extract.sbatch").read_text().splitlines()
             if line.startswith("#SBATCH")]  # fmt: skip
    assert "--array=0-3" in asked and "--ntasks=1" in asked  # else a task is a shard of its step


def test_training_is_by_torchrun_on_two_processes(tmp_path) -> None:
    told = called("train.sh", tmp_path, "f", "r", "ckpt_path=last")
    assert told == (
        "torchrun --nproc-per-node 2 train/recurrent.py features=f run_dir=r "
        "trainer.devices=2 trainer.strategy=ddp ckpt_path=last"
    )


def test_the_call_of_submitit_names_every_shard() -> None:
    text = (EXAMPLES / "extract_submitit.py").read_text()
    compile(text, "extract_submitit.py", "exec")
    assert 'f"{number}/{shards}"' in text and "range(1, int(shards) + 1)" in text
