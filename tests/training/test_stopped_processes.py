"""The installed command in two processes, of which one is told to end; then one goes on."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from caf_video.pipeline.train import compose_config, train
from caf_video.training import load_run

STEPS = 120


def settings(store_folder: Path, run: Path) -> list[str]:
    return [
        f"features={store_folder}", f"run_dir={run}", "trainer.accelerator=cpu",
        "trainer.precision=64-true", "trainer.max_epochs=6", f"data.batches_per_epoch={STEPS // 6}",
        "data.classes_per_batch=3", "data.samples_per_class=3", "model.dropout=0",
        "model.channels=4", "model.hidden=4", "model.embedding_dim=4",
    ]  # fmt: skip


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == STEPS
    return checkpoint["state_dict"]


def runs(process: int) -> bool:
    """Whether there is such a process; one that ended and that nobody asked for is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="finds the second process in /proc")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_what_a_signal_to_the_second_process_ends_one_process_ends_alike(
    store_folder, tmp_path, caplog
) -> None:
    run, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    script = Path(sys.executable).with_name("caf-video")
    command = [script] if script.is_file() else [sys.executable, "-m", "caf_video"]
    command += ["train", *settings(store_folder, run), "trainer.devices=2", "trainer.strategy=ddp"]
    # A rank of another training, say of the machine that runs this, is none of ours.
    environment = {name: value for name, value in os.environ.items() if "RANK" not in name}
    environment["OMP_NUM_THREADS"] = "1"
    said = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as first:
        for line in first.stderr:
            said.append(line)
            if line.startswith("Training:"):
                children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text()
                (second,) = [
                    int(child)
                    for child in children.split()
                    if b"train_process" in Path(f"/proc/{child}/cmdline").read_bytes()
                ]
                os.kill(second, signal.SIGTERM)
                break
        said += first.stderr.readlines()
        assert first.wait(timeout=30) == 130, "".join(said)
    deadline = time.monotonic() + 30
    while runs(second):
        assert time.monotonic() < deadline, "the second process still runs"
        time.sleep(0.05)
    assert "ckpt_path=last goes on from there" in said[-1]
    stopped = load_run(run / "checkpoints" / "last.ckpt")
    assert 0 < stopped.step < STEPS

    alone = [*settings(store_folder, run), "progress_bar=false"]
    with caplog.at_level(logging.WARNING):
        train(compose_config([*alone, "ckpt_path=last"]))
        assert caplog.text.count("going on with 1 process(es), after 2") == 1
        caplog.clear()
        train(compose_config([*alone, f"run_dir={undisturbed}"]))
    assert "going on with" not in caplog.text
    found = weights(run)
    for name, wanted in weights(undisturbed).items():
        torch.testing.assert_close(found[name], wanted, rtol=0, atol=1e-5)
