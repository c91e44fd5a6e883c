"""Trainings that end early, and what they leave."""

import logging
from pathlib import Path

import pytest

from caf_video.errors import Interrupted
from caf_video.pipeline.train import compose_config, train
from caf_video.training import CheckpointError, TrainingInterrupted, load_run


def settings(store_folder: Path, run: Path) -> list[str]:
    return [
        f"features={store_folder}", f"run_dir={run}", "trainer.max_epochs=2",
        "data.batches_per_epoch=3", "data.classes_per_batch=3", "data.samples_per_class=2",
        "trainer.accelerator=cpu",
    ]  # fmt: skip


def test_a_training_that_ends_before_its_first_validation_leaves_its_last_state(
    store_folder, tmp_path, caplog
) -> None:
    choices = [*settings(store_folder, tmp_path / "run"), "progress_bar=false"]
    with caplog.at_level(logging.WARNING):
        run = train(compose_config([*choices, "+trainer.check_val_every_n_epoch=9"]))
    assert load_run(run).step == 6
    assert "ended before its first validation: best.ckpt is its last state" in caplog.text


def test_in_a_log_a_training_says_how_far_it_is(store_folder, tmp_path, capfd) -> None:
    train(compose_config(settings(store_folder, tmp_path / "run")))
    epoch, *lines = capfd.readouterr().err.splitlines()
    assert epoch.startswith("An epoch is 3 steps of 6 samples: about 18, of 18 that there are (1 ")
    assert [line.split(",")[0] for line in lines] == [f"Training: {n}/6" for n in range(1, 7)]
    assert all(", loss 0." in line for line in lines[1:])


def test_a_run_that_was_stopped_before_its_first_validation_names_what_there_is(tmp_path) -> None:
    (tmp_path / "checkpoints").mkdir()
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.touch()
    with pytest.raises(CheckpointError, match=f"before its first validation: name {last} to use"):
        load_run(tmp_path)


def test_an_interrupted_training_is_an_interruption() -> None:
    assert issubclass(TrainingInterrupted, Interrupted)
