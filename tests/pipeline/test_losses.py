"""Every loss that a configuration may name: built, trained on, resumed and read again."""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from pytorch_metric_learning.losses import ProxyAnchorLoss as LibraryProxyAnchorLoss
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from torch import nn

from caf_video.errors import InputError
from caf_video.metric_learning import LibraryLoss, ProxyAnchorLoss, TripletLoss
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.train import build_loss, compose_config, train
from caf_video.training import CheckpointError, TrainingInterrupted, load_run, read_metrics

TRIPLET = {"_target_": "pytorch_metric_learning.losses.TripletMarginLoss", "margin": 0.1}
HARD = {"_target_": "pytorch_metric_learning.miners.BatchHardMiner"}
PROXIES = {"_target_": "pytorch_metric_learning.losses.ProxyAnchorLoss"}
KNOWN = {"num_classes": 3, "embedding_size": 4}
LOSSES = ["triplet", "triplet_hard", "n_pair", "proxy_anchor", "multi_similarity", "library"]


# --- building -------------------------------------------------------------------------------------


def test_a_loss_of_another_library_needs_no_more_than_its_name_and_numbers() -> None:
    built = build_loss(TRIPLET, **KNOWN)
    assert isinstance(built, LibraryLoss) and isinstance(built.loss, TripletMarginLoss)
    assert built.loss.margin == 0.1
    assert built.normalize and built.miner is None and built.learning_rate_factor == 1


def test_what_is_around_a_loss_is_taken_from_its_section() -> None:
    section = {**TRIPLET, "miner": HARD, "normalize": False, "learning_rate_factor": 5.0}
    built = build_loss(section, **KNOWN)
    assert isinstance(built.miner, BatchHardMiner)
    assert built.normalize is False and built.learning_rate_factor == 5


def test_proxies_of_another_library_are_as_many_as_the_classes() -> None:
    built = build_loss(PROXIES, **KNOWN)
    assert isinstance(built.loss, LibraryProxyAnchorLoss)
    assert built.loss.proxies.shape == (3, 4)


def test_our_own_losses_are_what_they_are() -> None:
    ours = build_loss({"_target_": "caf_video.metric_learning.TripletLoss", "margin": 0.3}, **KNOWN)
    assert isinstance(ours, TripletLoss) and ours.margin == 0.3
    section = {
        "_target_": "caf_video.metric_learning.ProxyAnchorLoss",
        "learning_rate_factor": 7.0,
    }
    proxies = build_loss(section, **KNOWN)
    assert isinstance(proxies, ProxyAnchorLoss) and proxies.proxies.shape == (3, 4)
    assert proxies.learning_rate_factor == 7


class Stated(nn.Module):
    """A loss of a user's own that has an argument of a name that a section has, too."""

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize


def test_an_argument_of_the_loss_itself_goes_to_the_loss() -> None:
    built = build_loss({"_target_": f"{__name__}.Stated", "normalize": False}, **KNOWN)
    assert isinstance(built, Stated) and built.normalize is False


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "loss names no _target_"),
        ({"_target_": "pytorch_metric_learning.losses.Nothing"}, "loss: Error loading"),
        ({"_target_": "caf_video.metric_learning.TripletLoss", "margin": -1}, "margin -1"),
        (
            {"_target_": "caf_video.metric_learning.TripletLoss", "normalize": False},
            "loss.normalize: TripletLoss has no such setting",
        ),
        (
            {"_target_": "caf_video.metric_learning.NPairLoss", "miner": HARD},
            "loss.miner: NPairLoss has no such setting",
        ),
        ({**TRIPLET, "marge": 1}, "loss.marge is no setting"),
        ({**TRIPLET, "miner": {"_target_": "no.where"}}, "loss.miner: Error loading"),
        ({**TRIPLET, "normalize": "sometimes"}, "loss.normalize=sometimes"),
        ({**PROXIES, "num_classes": 9}, "loss.num_classes=9 comes from the data"),
    ],
)
def test_what_describes_no_loss_is_refused_in_one_line(section, message) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        build_loss(section, **KNOWN)
    assert "\n" not in str(refusal.value)


# --- training -------------------------------------------------------------------------------------


def trained(features: Path, run: Path, overrides: Sequence[str], *, epochs: int = 3) -> Path:
    """A tiny network of clips, trained for eight steps an epoch."""
    common = (
        f"features={features} run_dir={run} model.channels=5 model.hidden=6 model.embedding_dim=4"
        " optimizer.lr=0.01 data.classes_per_batch=3 data.samples_per_class=2"
        f" data.batches_per_epoch=8 trainer.max_epochs={epochs} trainer.accelerator=cpu"
        " progress_bar=false"
    )
    return train(compose_config([*common.split(), *overrides]))


@pytest.mark.parametrize("loss", LOSSES)
def test_training_decreases_it_and_the_run_can_be_evaluated(store_folder, tmp_path, loss) -> None:
    overrides = [f"loss={loss}"]
    if loss == "n_pair":  # of embeddings that begin short: nothing happens for long at the others'
        overrides.append("optimizer.lr=0.1")
    run = trained(store_folder, tmp_path / "run", overrides, epochs=8 if loss == "n_pair" else 3)
    _, losses = read_metrics(run)["loss"]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    assert load_run(run).normalize is (loss != "n_pair")
    kept = OmegaConf.load(run / "config.yaml").loss
    assert OmegaConf.to_container(kept) == load_run(run).config["loss"]
    assert 0 <= evaluate(run).record()["recall@1"] <= 1


def test_a_users_own_file_may_name_a_loss_and_a_miner(store_folder, tmp_path) -> None:
    section = {**TRIPLET, "normalize": False, "miner": HARD}
    whole = trained(store_folder, tmp_path / "run", ["~loss", f"+loss={as_override(section)}"])
    loaded = load_run(whole)
    assert loaded.config["loss"] == section and not loaded.normalize


def as_override(value) -> str:
    """A plain value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{as_override(one)}" for key, one in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def state_of(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def test_a_checkpoint_holds_the_proxies_and_what_trains_them(store_folder, tmp_path) -> None:
    run = trained(store_folder, tmp_path / "run", ["loss=proxy_anchor"], epochs=1)
    state = state_of(run)
    proxies = state["state_dict"]["loss.proxies"]
    assert proxies.shape == (3, 4) and proxies.isfinite().all()
    network, of_loss = state["optimizer_states"][0]["param_groups"]
    assert of_loss["max_lr"] == pytest.approx(100 * network["max_lr"])
    moments = state["optimizer_states"][0]["state"][of_loss["params"][0]]
    assert moments["exp_avg"].shape == proxies.shape and moments["exp_avg"].abs().sum() > 0


@pytest.mark.parametrize("loss", ["proxy_anchor", "library"])
def test_a_resumed_training_ends_as_an_uninterrupted_one(
    store_folder, tmp_path, monkeypatch, loss
) -> None:
    overrides = [f"loss={loss}"]
    whole = state_of(trained(store_folder, tmp_path / "whole", overrides, epochs=2))
    kind, calls = (ProxyAnchorLoss if loss == "proxy_anchor" else LibraryLoss), []
    forward = kind.forward

    def interrupted(self, *batch):
        calls.append(batch)
        if len(calls) == 11:
            signal.raise_signal(signal.SIGINT)
        return forward(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "forward", interrupted)
        with pytest.raises(TrainingInterrupted):
            trained(store_folder, tmp_path / "cut", overrides, epochs=2)
    assert len(calls) == 11
    overrides.append("ckpt_path=last")
    cut = state_of(trained(store_folder, tmp_path / "cut", overrides, epochs=2))
    assert cut["state_dict"].keys() == whole["state_dict"].keys()
    for name, values in whole["state_dict"].items():
        assert torch.equal(cut["state_dict"][name], values), name
    assert ("loss.proxies" in whole["state_dict"]) is (loss == "proxy_anchor")


def test_a_training_does_not_go_on_with_another_miner(store_folder, tmp_path) -> None:
    trained(store_folder, tmp_path / "run", ["loss=library"], epochs=1)
    with pytest.raises(CheckpointError, match=r"loss.miner.epsilon=0.1, not 0.2"):
        trained(
            store_folder,
            tmp_path / "run",
            ["loss=library", "loss.miner.epsilon=0.2", "ckpt_path=last"],
            epochs=1,
        )
