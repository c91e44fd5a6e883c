"""A training from its first step to its checkpoints: stopped, resumed, spoilt, refused."""

import copy
import errno
import math
import os
import resource
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from caf_video.data.features import FeatureStore, StoreDescription
from caf_video.errors import CafVideoError, InputError
from caf_video.metric_learning import TripletLoss
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.training import (
    CheckpointError,
    EmbeddingModule,
    FeatureDataModule,
    RunCheckpoints,
    RunFolder,
    TrainingError,
    TrainingInterrupted,
    load_run,
    read_metrics,
    train_run,
)
from caf_video.training.checkpoint import KEY, RunRecord, plain_record
from caf_video.training.optimizers import adamw_one_cycle

EPOCHS, LENGTH = 3, 4


def run_training(
    folder: Path,
    features: Path,
    *,
    resume: bool = False,
    loss: TripletLoss | None = None,
    lr: float = 1e-2,
    dropout: float = 0.0,
    epochs: int = EPOCHS,
    features_moved: bool = False,
) -> EmbeddingModule:
    """Train a tiny network as the pipeline does; returns what it ended with."""
    config = {
        "kind": "recurrent",
        "seed": 0,
        "features": str(features),
        "optimizer": {"lr": lr},
        "model": {"dropout": dropout},
        "trainer": {"max_epochs": epochs, "accelerator": "cpu"},
    }
    data = FeatureDataModule(
        features, classes_per_batch=3, samples_per_class=3, batches_per_epoch=LENGTH, seed=0
    )
    run = RunFolder.begin(folder, config, data.description, ckpt_path="last" if resume else None)
    torch.manual_seed(0)
    model = RecurrentEmbedder(
        in_channels=6, grid=(2, 3), channels=5, hidden=6, embedding_dim=4, dropout=dropout
    )
    if run.last is None:
        model.fit_standardization(*data.channel_statistics())
    optimizer = partial(adamw_one_cycle, lr=lr, weight_decay=0.01)
    module = EmbeddingModule(model, loss or TripletLoss(), optimizer)
    train_run(
        run,
        module,
        data,
        make_trainer=partial(
            pl.Trainer, max_epochs=epochs, accelerator="cpu", devices=1, log_every_n_steps=1
        ),
        progress_bar=False,
    )
    return module


class SpoiltLoss(TripletLoss):
    """Does something at one call, counted from 0."""

    def __init__(self, at: int, do) -> None:
        super().__init__()
        self.calls, self.at, self.do = 0, at, do

    def forward(self, embeddings, labels):
        loss = super().forward(embeddings, labels)
        self.calls += 1
        return self.do(loss) if self.calls == self.at + 1 else loss


def interrupt(loss: torch.Tensor) -> torch.Tensor:
    signal.raise_signal(signal.SIGINT)
    return loss


@pytest.fixture(scope="session")
def finished(store_folder, tmp_path_factory) -> Path:
    """An uninterrupted training."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run_training(folder, store_folder)
    return folder


def test_it_learns_and_leaves_everything_in_the_runs_folder(finished) -> None:
    left = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    checkpoints = {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert left == {".caf_video.sha256", "config.yaml", "metrics.csv", *checkpoints}
    series = read_metrics(finished)
    assert series["loss"][0] == series["learning_rate"][0] == list(range(EPOCHS * LENGTH))
    assert series["recall@1"][0] == [LENGTH * (epoch + 1) - 1 for epoch in range(EPOCHS)]
    losses = series["loss"][1]
    assert sum(losses[-4:]) < 0.95 * sum(losses[:4])
    assert series["recall@1"][1][-1] > 0.6


def test_the_rate_of_a_step_is_that_of_the_schedule_over_the_whole_training(finished) -> None:
    """One cycle in closed form: up over 30 % of the steps, down over the others, by cosines."""
    last, peak = EPOCHS * LENGTH - 1, 0.3 * EPOCHS * LENGTH - 1
    wanted = []
    for step in range(EPOCHS * LENGTH):
        if step <= peak:
            low, share = 1e-2 / 25, 1 - step / peak
        else:
            low, share = 1e-2 / 25 / 1e4, (step - peak) / (last - peak)
        wanted.append(low + (1e-2 - low) * (1 + math.cos(math.pi * share)) / 2)
    assert read_metrics(finished)["learning_rate"][1] == pytest.approx(wanted, rel=1e-5)


def test_the_same_seed_gives_the_same_run(
    assert_same_end, finished, store_folder, tmp_path
) -> None:
    run_training(tmp_path / "again", store_folder)
    assert_same_end(tmp_path / "again", finished)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("at", [0, 5, LENGTH - 1, 2 * LENGTH - 1])
def test_ctrl_c_ends_the_batch_and_a_resumed_run_ends_as_an_uninterrupted_one(
    assert_same_end, store_folder, tmp_path, at, dropout
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    run_training(tmp_path / "whole", store_folder, dropout=dropout)
    with pytest.raises(TrainingInterrupted, match=f"after step {at + 1}: .*ckpt_path=last"):
        run_training(
            tmp_path / "cut", store_folder, loss=SpoiltLoss(at, interrupt), dropout=dropout
        )
    assert signal.getsignal(signal.SIGINT) is handler
    assert read_metrics(tmp_path / "cut")["loss"][0] == list(range(at + 1))
    run_training(tmp_path / "cut", store_folder, resume=True, dropout=dropout)
    assert_same_end(tmp_path / "cut", tmp_path / "whole")


def test_ctrl_c_in_the_last_batch_lets_the_run_finish(
    assert_same_end, store_folder, finished, tmp_path
) -> None:
    run_training(tmp_path, store_folder, loss=SpoiltLoss(EPOCHS * LENGTH - 1, interrupt))
    assert_same_end(tmp_path, finished)


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN], ids=str)
def test_a_second_ctrl_c_stops_at_once(store_folder, tmp_path, handler) -> None:
    before = signal.signal(signal.SIGINT, handler)  # ignored: a job that runs in the background
    try:
        with pytest.raises(TrainingInterrupted, match="at once"):
            run_training(
                tmp_path, store_folder, loss=SpoiltLoss(5, lambda loss: interrupt(interrupt(loss)))
            )
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert load_run(tmp_path).step == LENGTH  # the first epoch's


def test_a_crash_after_an_epoch_loses_no_more_than_the_next_one(
    assert_same_end, store_folder, finished, tmp_path
) -> None:
    def crash(loss: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run_training(tmp_path, store_folder, loss=SpoiltLoss(LENGTH + 2, crash))
    run_training(tmp_path, store_folder, resume=True)
    assert_same_end(tmp_path, finished)


def test_a_finished_run_resumed_stays_as_it_is(
    assert_same_end, store_folder, finished, tmp_path
) -> None:
    run_training(tmp_path / "run", store_folder)
    run_training(tmp_path / "run", store_folder, resume=True)
    assert_same_end(tmp_path / "run", finished)


def test_of_equally_good_epochs_the_later_is_the_best(store_folder, tmp_path, monkeypatch) -> None:
    recalls = iter([0.5, 0.75, 0.75, 0.25])
    result = type("Result", (), {"recall": property(lambda self: {1: next(recalls)})})
    monkeypatch.setattr(
        "caf_video.training.module.recall_at_k", lambda *values, **settings: result()
    )
    run_training(tmp_path, store_folder, epochs=4)
    assert load_run(tmp_path).step == 3 * LENGTH


def test_a_loss_that_is_no_number_stops_the_training_before_the_weights(
    store_folder, tmp_path
) -> None:
    with pytest.raises(TrainingError, match=r"^the loss is nan at step 6, .* lower optimizer\.lr$"):
        run_training(tmp_path, store_folder, loss=SpoiltLoss(6, lambda loss: loss * torch.nan))
    assert load_run(tmp_path).step == LENGTH


def test_embeddings_that_are_no_numbers_stop_it_with_the_same_advice(
    store_folder, tmp_path
) -> None:
    with pytest.raises(TrainingError, match=r"^the loss is nan at step 1, .* lower optimizer\.lr$"):
        run_training(tmp_path, store_folder, lr=1e30)


def test_a_full_disk_is_named_and_what_was_saved_is_whole(
    assert_same_end, store_folder, finished, tmp_path, monkeypatch
) -> None:
    save = pl.Trainer.save_checkpoint

    def full(trainer: pl.Trainer, file: Path, *values) -> None:
        if trainer.global_step > LENGTH:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(trainer, file, *values)

    with monkeypatch.context() as patch:
        patch.setattr(pl.Trainer, "save_checkpoint", full)
        with pytest.raises(
            TrainingError, match="^cannot write .*: No space left .*ckpt_path=last$"
        ):
            run_training(tmp_path, store_folder)
    assert load_run(tmp_path).step == LENGTH
    run_training(tmp_path, store_folder, resume=True)
    assert_same_end(tmp_path, finished)


@pytest.mark.parametrize("size", [100, 20_000], ids=["metrics", "checkpoint"])
def test_a_disk_that_takes_no_more_is_one_line_and_the_run_can_begin_or_go_on(
    assert_same_end, store_folder, finished, tmp_path, size
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(TripletLoss):
        calls = 0

        def forward(self, embeddings, labels):
            self.calls += 1
            if self.calls == LENGTH + 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
            return super().forward(embeddings, labels)

    try:
        with pytest.raises(CafVideoError, match=r"^cannot write [^\n]*: File too large; free some"):
            run_training(tmp_path, store_folder, loss=Filling())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_run(tmp_path).step == LENGTH
    run_training(tmp_path, store_folder, resume=True)
    assert_same_end(tmp_path, finished)
    assert not [path for path in tmp_path.rglob("*.part*")]


def test_a_damaged_last_checkpoint_leaves_the_best_to_go_on_from(
    assert_same_end, store_folder, finished, tmp_path, caplog
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    last, best = (run / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
    last.write_bytes(last.read_bytes()[:5000])
    run_training(run, store_folder, resume=True)
    assert f"{last} is damaged" in caplog.text and "going on from best.ckpt, of step" in caplog.text
    assert_same_end(run, finished)
    last.write_bytes(b"")
    best.write_bytes(b"")
    message = refused(CheckpointError, run, store_folder, resume=True)
    assert message.endswith(
        f"to begin again, delete {run}/checkpoints and leave out ckpt_path=last"
    )
    best.unlink()
    assert "there is no best.ckpt" in refused(CheckpointError, run, store_folder, resume=True)


def test_checkpoints_are_written_in_the_runs_own_folder(
    store_folder, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    seen: list[set[str]] = []
    sync = os.fsync

    def watched(file: int) -> None:
        seen.append(
            {path.name.split(".")[1] for path in tmp_path.rglob("checkpoints/.*.part.ckpt")}
        )
        sync(file)

    monkeypatch.setattr(os, "fsync", watched)
    run_training(tmp_path / "run", store_folder, epochs=1)
    assert seen == [{"best"}, {"last"}]


def refused(kind: type[CafVideoError], *arguments, **settings) -> str:
    with pytest.raises(kind, match="^[^\n]*$") as refusal:
        run_training(*arguments, **settings)
    return str(refusal.value)


def test_a_folder_that_is_a_file_is_refused(store_folder, tmp_path) -> None:
    (tmp_path / "run").write_text("notes")
    assert "is a file, not a folder" in refused(TrainingError, tmp_path / "run", store_folder)
    below = refused(TrainingError, tmp_path / "run" / "below", store_folder)
    assert below.startswith("cannot write")
    assert (tmp_path / "run").read_text() == "notes"


def test_a_folder_with_a_run_is_refused(store_folder, finished) -> None:
    before = (finished / "checkpoints" / "last.ckpt").stat()
    message = refused(TrainingError, finished, store_folder)
    assert "already holds a run" in message and "ckpt_path=last" in message
    assert (finished / "checkpoints" / "last.ckpt").stat() == before


def test_a_run_that_stopped_before_its_first_checkpoint_can_begin_again(
    assert_same_end, store_folder, finished, tmp_path
) -> None:
    def crash(loss: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        run_training(tmp_path, store_folder, loss=SpoiltLoss(1, crash))
    run_training(tmp_path, store_folder)
    assert_same_end(tmp_path, finished)


def test_nothing_to_go_on_from_is_refused(store_folder, tmp_path) -> None:
    message = refused(CheckpointError, tmp_path / "new", store_folder, resume=True)
    assert "no checkpoint to go on from" in message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lr": 0.5}, "optimizer.lr=0.01, not 0.5"),
        ({"dropout": 0.1}, "model.dropout=0.0, not 0.1"),
        ({"epochs": 9}, "trainer.max_epochs=3, not 9"),
    ],
)
def test_going_on_with_other_settings_is_refused(store_folder, finished, changes, told) -> None:
    assert told in refused(CheckpointError, finished, store_folder, resume=True, **changes)


SETTINGS = {
    "kind": "recurrent",
    "seed": 0,
    "data": {"features": "f", "root": "r", "workers": 0, "memory_gb": 4.0, "samples_per_class": 3},
    "model": {"hidden": 6},
    "loss": {"margin": 0.2},
    "optimizer": {"lr": 0.1},
    "trainer": {"max_epochs": 3, "precision": 32, "accelerator": "cpu"},
}
SETTINGS["data"]["evaluation_batch_size"] = 64


@pytest.fixture(scope="module")
def settled(store_folder, tmp_path_factory) -> tuple[RunFolder, StoreDescription]:
    """A folder of a run that stopped, whose checkpoint says only with what settings."""
    description = FeatureStore.open(store_folder).description
    run = RunFolder.begin(tmp_path_factory.mktemp("settled"), SETTINGS, description)
    record = RunRecord("recurrent", {}, True, description, [], SETTINGS)
    checkpoint = {KEY: plain_record(record), "state_dict": {}, "global_step": 5}
    torch.save(checkpoint, run.path / "checkpoints" / "last.ckpt")
    return run, description


def changed(name: str) -> dict[str, Any]:
    """The settings, of which one is another."""
    settings = copy.deepcopy(SETTINGS)
    *groups, last = name.split(".")
    group = settings
    for key in groups:
        group = group[key]
    group[last] = "another"
    return settings


@pytest.mark.parametrize(
    "name",
    ["kind", "seed", "data.samples_per_class", "model.hidden", "loss.margin", "optimizer.lr",
     "trainer.max_epochs", "trainer.precision"],
)  # fmt: skip
def test_what_makes_another_training_must_stay(settled, name) -> None:
    run, description = settled
    with pytest.raises(CheckpointError, match=f"was trained with {name}=.*, not another: go on"):
        RunFolder.begin(run.path, changed(name), description, ckpt_path="last")


@pytest.mark.parametrize(
    "name",
    ["data.features", "data.root", "data.workers", "data.memory_gb", "data.evaluation_batch_size",
     "trainer.accelerator"],
)  # fmt: skip
def test_where_and_how_fast_a_training_goes_on_is_free(settled, name) -> None:
    run, description = settled
    again = RunFolder.begin(run.path, changed(name), description, ckpt_path="last")
    assert (again.step, again.last) == (5, run.path / "checkpoints" / "last.ckpt")


def test_going_on_with_other_features_is_refused(make_store, finished, tmp_path) -> None:
    from dataclasses import replace

    description = replace(load_run(finished).description, backbone="other")
    features = make_store(description=description).folder
    message = refused(CheckpointError, finished, features, resume=True)
    assert "backbone tiny, not other" in message


def test_another_ckpt_path_is_refused(finished) -> None:
    with pytest.raises(InputError, match="ckpt_path=best: it is 'last'"):
        RunFolder.begin(finished, {}, load_run(finished).description, ckpt_path="best")


def test_an_epoch_without_validation_is_never_the_best(tmp_path) -> None:
    saved = []
    trainer = type("Trainer", (), {"save_checkpoint": lambda self, file: saved.append(file.name)})
    RunCheckpoints(tmp_path, None, metric="recall@1").on_train_epoch_end(trainer(), None)
    assert saved == ["last.ckpt"]


def ends(checkpoints: RunCheckpoints, *, recall: float | None) -> list[str]:
    """The files that an epoch saves, with what its validation found, if it was validated."""
    saved: list[str] = []
    trainer = type("Trainer", (), {"save_checkpoint": lambda self, file: saved.append(file.name)})()
    if recall is not None:
        trainer.callback_metrics = {"loss": 9.0, "recall@1": recall}
        checkpoints.on_validation_end(trainer, None)
    checkpoints.on_train_epoch_end(trainer, None)
    return saved


def test_a_validation_counts_for_its_epoch_and_for_no_later_one(tmp_path) -> None:
    checkpoints = RunCheckpoints(tmp_path, None, metric="recall@1")
    assert ends(checkpoints, recall=0.5) == ["best.ckpt", "last.ckpt"]
    assert ends(checkpoints, recall=None) == ["last.ckpt"]


def test_the_best_so_far_stays_the_best_over_a_stop(tmp_path) -> None:
    before, after = (RunCheckpoints(tmp_path, None, metric="recall@1") for _ in range(2))
    assert ends(before, recall=0.75) == ["best.ckpt", "last.ckpt"]
    after.load_state_dict(before.state_dict())
    assert ends(after, recall=0.5) == ["last.ckpt"]
    assert ends(after, recall=0.8) == ["best.ckpt", "last.ckpt"]


def test_where_nothing_is_validated_the_last_is_the_best(tmp_path) -> None:
    saved = []
    trainer = type("Trainer", (), {"save_checkpoint": lambda self, file: saved.append(file.name)})
    RunCheckpoints(tmp_path, None, metric=None).on_train_epoch_end(trainer(), None)
    assert sorted(saved) == ["best.ckpt", "last.ckpt"]
