"""A trained network comes back from its file; whatever else is there is refused in one line."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from caf_video.data.features import FeatureStore
from caf_video.metric_learning import NPairLoss, TripletLoss, unit_norm
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.training import (
    CheckpointError,
    EmbeddingModule,
    FeatureDataModule,
    RunFolder,
    load_clip_run,
    load_image_run,
    load_run,
    train_run,
)
from caf_video.training.optimizers import adam


def trained(folder: Path, features: Path, loss) -> EmbeddingModule:
    data = FeatureDataModule(
        features, classes_per_batch=3, samples_per_class=2, batches_per_epoch=2, seed=0
    )
    model = RecurrentEmbedder(in_channels=6, grid=(2, 3), channels=5, hidden=6, embedding_dim=4)
    module = EmbeddingModule(model, loss, partial(adam, lr=1e-3))
    config = {"kind": "recurrent", "seed": 3, "features": str(features)}
    run = RunFolder.begin(folder, config, data.description)
    trainer = partial(pl.Trainer, max_epochs=1, accelerator="cpu", log_every_n_steps=1)
    train_run(run, module, data, make_trainer=trainer, progress_bar=False)
    return module


@pytest.fixture(scope="module")
def triplet_run(store_folder, tmp_path_factory) -> tuple[Path, EmbeddingModule]:
    folder = tmp_path_factory.mktemp("triplet")
    return folder, trained(folder, store_folder, TripletLoss())


@pytest.fixture
def run(triplet_run, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(triplet_run[0], tmp_path / "run"))


def test_a_run_comes_back_as_it_was_trained(triplet_run, store_folder, generator) -> None:
    folder, module = triplet_run
    loaded = load_run(folder)
    maps = torch.rand(2, 3, 6, 2, 3, generator=generator)
    with torch.no_grad():
        wanted = unit_norm(module.model(maps))
    assert torch.equal(loaded.embed(maps), wanted)
    assert loaded.normalize
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.description == FeatureStore.open(store_folder).description
    assert loaded.label_names == ["left", "right", "stop"]
    assert loaded.kind == "recurrent"
    assert loaded.config == {"kind": "recurrent", "seed": 3, "features": str(store_folder)}
    assert loaded.step == 2
    assert loaded.checkpoint == folder / "checkpoints" / "best.ckpt"
    assert load_run(str(loaded.checkpoint)).step == 2


def test_an_n_pair_network_embeds_without_normalisation(store_folder, tmp_path, generator) -> None:
    module = trained(tmp_path, store_folder, NPairLoss())
    maps = torch.rand(2, 3, 6, 2, 3, generator=generator)
    loaded = load_run(tmp_path)
    assert not loaded.normalize
    assert torch.equal(loaded.embed(maps), module.model(maps).detach())


def test_checkpoints_hold_plain_values_only(triplet_run) -> None:
    for name in ("best", "last"):
        file = triplet_run[0] / "checkpoints" / f"{name}.ckpt"
        checkpoint = torch.load(file, weights_only=True)
        assert checkpoint["caf_video"]["hyperparameters"]["channels"] == 5


def test_features_of_another_kind_are_refused(triplet_run) -> None:
    loaded = load_run(triplet_run[0])
    loaded.require_features(loaded.description)
    loaded.require_features(replace(loaded.description, candidates=1, weights="a file"))
    with pytest.raises(
        CheckpointError, match=r"backbone tiny, not big; grid \(2, 3\), not \(4, 6\)"
    ):
        loaded.require_features(replace(loaded.description, backbone="big", grid=(4, 6)))


def test_where_images_are_wanted_a_run_of_clips_is_refused_with_advice(triplet_run) -> None:
    folder, _ = triplet_run
    assert load_clip_run(folder).label_names == ["left", "right", "stop"]
    with pytest.raises(CheckpointError) as refused:
        load_image_run(folder)
    assert str(refused.value) == (
        f"{folder} is a recurrent run, of clips, not of images: `caf-video evaluate {folder}` "
        f"and `caf-video explain --model {folder}` are for those"
    )


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError, match="^[^\n]*$") as raised:
        load_run(path)
    assert path.name in str(raised.value)
    return str(raised.value)


def spoil(run: Path, change) -> Path:
    file = run / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, file)
    return file


def test_nothing_there_is_refused(tmp_path) -> None:
    assert "no run and no checkpoint" in refusal(tmp_path / "nowhere")
    assert "holds no trained network" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content) -> None:
    (tmp_path / "file.ckpt").write_bytes(content)
    assert "damaged, or no checkpoint" in refusal(tmp_path / "file.ckpt")


def test_a_truncated_checkpoint_is_refused(run) -> None:
    file = run / "checkpoints" / "best.ckpt"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "damaged, or no checkpoint" in refusal(file)


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], torch.zeros(3)])
def test_a_checkpoint_of_something_else_is_refused(tmp_path, content) -> None:
    torch.save(content, tmp_path / "file.ckpt")
    assert "is not a checkpoint of `caf-video train`" in refusal(tmp_path / "file.ckpt")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path) -> None:
    torch.save({"caf_video": Path("anything"), "state_dict": {}}, tmp_path / "file.ckpt")
    assert "damaged, or no checkpoint" in refusal(tmp_path / "file.ckpt")


def test_weights_of_another_shape_are_refused(run) -> None:
    file = spoil(run, lambda ckpt: ckpt["caf_video"]["hyperparameters"].update(channels=7))
    assert "does not hold the network it describes" in refusal(file)
    file = spoil(run, lambda ckpt: ckpt["state_dict"].pop("model.projection.bias"))
    assert "does not hold the network it describes" in refusal(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda ckpt: ckpt["caf_video"].update(format=99),
        lambda ckpt: ckpt["caf_video"].update(kind="audio"),
        lambda ckpt: ckpt["caf_video"].update(kind="retrieval"),  # described as clips are
        lambda ckpt: ckpt["caf_video"].pop("normalize"),
        lambda ckpt: ckpt["caf_video"]["description"].update(colour="red"),
        lambda ckpt: ckpt.update(caf_video=3),
    ],
)
def test_a_checkpoint_of_another_version_is_refused(run, change) -> None:
    assert "another version" in refusal(spoil(run, change))


def test_a_network_that_cannot_be_is_refused(run) -> None:
    file = spoil(run, lambda ckpt: ckpt["caf_video"]["hyperparameters"].update(pooling="max"))
    assert "pooling" in refusal(file)
