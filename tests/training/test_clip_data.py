"""Clips as batches: what the data module takes from a store, and what it refuses."""

import pytest
import torch

from caf_video.data.features import FeatureStore, FeatureStoreError
from caf_video.data.manifest import ManifestError
from caf_video.errors import CafVideoError
from caf_video.training import FeatureDataModule


def data_of(folder, **changes) -> FeatureDataModule:
    settings = dict(classes_per_batch=3, samples_per_class=2, batches_per_epoch=4, seed=0)
    return FeatureDataModule(folder, **{**settings, **changes})


def test_the_splits_come_as_batches_with_labels_in_alphabetical_order(store_folder) -> None:
    data = data_of(store_folder)
    data.setup("fit")
    data.setup("test")
    assert data.label_names == ["left", "right", "stop"]
    assert data.description.backbone == "tiny"
    assert [len(data.clips[split]) for split in ("train", "val", "test")] == [18, 9, 9]
    batch = next(iter(data.train_dataloader()))
    names = [data.label_names[label] for label in batch.labels]
    assert names == [data.clips["train"][position].label for position in batch.positions]
    assert sorted(names) == ["left", "left", "right", "right", "stop", "stop"]
    for loader in (data.val_dataloader(), data.test_dataloader()):
        (batch,) = loader
        assert batch.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3


def middle_frames(folder, clips) -> torch.Tensor:
    store = FeatureStore.open(folder)
    maps = [store.read(clip.clip_id).feature_maps.float() for clip in clips]
    return torch.stack([one[:, one.shape[1] // 2] for one in maps])  # (n, t, c, h, w)


def test_every_split_gives_its_own_clips(store_folder) -> None:
    data = data_of(store_folder)
    data.setup("fit")
    data.setup("test")
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        (batch,) = loader
        assert torch.equal(batch.inputs, middle_frames(store_folder, data.clips[split]))


def test_channels_are_standardised_by_the_training_clips_alone(store_folder) -> None:
    data = data_of(store_folder)
    cells = middle_frames(store_folder, data.clips["train"]).movedim(2, 4).flatten(0, 3).double()
    mean, std = data.channel_statistics()
    torch.testing.assert_close(mean, cells.mean(dim=0).float())
    torch.testing.assert_close(std, cells.std(dim=0, correction=0).float())


def test_a_second_setup_reads_nothing_again(store_folder, monkeypatch) -> None:
    data = data_of(store_folder)
    data.setup("fit")
    monkeypatch.setattr("caf_video.data.features.FeatureStore.read", None)
    data.setup("fit")


def refused(kind: type[CafVideoError], folder, stage: str = "fit") -> str:
    with pytest.raises(kind, match="^[^\n]*$") as refusal:
        data_of(folder).setup(stage)
    return str(refusal.value)


def test_no_store_is_refused(tmp_path) -> None:
    assert "no feature store" in refused(FeatureStoreError, tmp_path)


def test_an_empty_split_is_named(make_store, make_clips) -> None:
    store = make_store(make_clips(val=0, test=0))
    assert "val split" in refused(ManifestError, store.folder)
    assert "test split" in refused(ManifestError, store.folder, "test")


def test_a_class_with_one_training_clip_is_named(make_store, make_clips) -> None:
    clips = make_clips()
    alone = [clip for clip in clips if clip.label != "stop" or clip.clip_id == "train/stop_0"]
    assert "class 'stop' has one clip" in refused(ManifestError, make_store(alone).folder)


def test_missing_features_are_named(make_store) -> None:
    store = make_store()
    next((store.folder / "clips").glob("*/*stop_3*")).unlink()
    assert "train/stop_3" in refused(FeatureStoreError, store.folder)


def test_what_is_read_from_disk_is_what_is_held_in_memory(store_folder) -> None:
    held, read = data_of(store_folder), data_of(store_folder, memory_gb=0)
    for data in (held, read):
        data.setup("fit")
    assert held._samples["train"].in_memory and not read._samples["train"].in_memory
    for _ in range(2):  # whole files first, of which clips come up again; then only what is drawn
        for one, other in zip(held.train_dataloader(), read.train_dataloader(), strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.positions, other.positions)
    (one,), (other,) = held.val_dataloader(), read.val_dataloader()
    assert torch.equal(one.inputs, other.inputs)
