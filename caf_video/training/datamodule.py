"""A feature store as training, validation and test batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from caf_video.data.clips import SPLITS, Clip, read_clips, require_evaluable, require_trainable
from caf_video.data.features import FeatureStore, StoreDescription
from caf_video.metric_learning import PKBatchSampler
from caf_video.training.batches import ClipMaps, EvaluationBatches, TrainingBatches


class FeatureDataModule(pl.LightningDataModule):
    """Training, validation and test batches of the clips of a feature store.

    Args:
        features: The store's folder.
        classes_per_batch: P; see `PKBatchSampler`.
        samples_per_class: K.
        batches_per_epoch: Training batches between two validations.
        seed: Of batches and of frames drawn.
        evaluation_batch_size: Clips at once in validation and test.
        memory_gb: A split that needs more GB than this is read from disk batch by batch.

    Attributes:
        description: What made the features.
        clips: The clips of every split.
        label_names: The labels of the training clips, sorted; batches hold positions in it.

    Raises:
        CafVideoError: There is no such store, its clips cannot be read, or, from `setup` on, a
            split is empty, a class has one training clip, or features are missing or damaged.
    """

    def __init__(
        self,
        features: str | Path,
        *,
        classes_per_batch: int,
        samples_per_class: int,
        batches_per_epoch: int,
        seed: int,
        evaluation_batch_size: int = 64,
        memory_gb: float = 4.0,
    ) -> None:
        super().__init__()
        self._store = FeatureStore.open(features)
        self._classes_per_batch = classes_per_batch
        self._samples_per_class = samples_per_class
        self._batches_per_epoch = batches_per_epoch
        self._seed = seed
        self._evaluation_batch_size = evaluation_batch_size
        self._memory_gb = memory_gb
        self._maps: dict[str, ClipMaps] = {}
        self._batches: TrainingBatches | None = None
        self._resumed: dict[str, Any] = {}
        self.description: StoreDescription = self._store.description
        clips = read_clips(self._store.manifest_path)
        self.clips: dict[str, list[Clip]] = {
            split: [clip for clip in clips if clip.split == split] for split in SPLITS
        }
        self.label_names = sorted({clip.label for clip in self.clips["train"]})

    def setup(self, stage: str) -> None:
        """Check and load the splits of a stage, "fit" or "test", once."""
        everything = [clip for split in SPLITS for clip in self.clips[split]]
        if stage == "test":
            require_evaluable(everything)
            wanted = ["test"]
        else:
            require_trainable(everything)
            wanted = ["train", "val"]
        for split in wanted:
            if split not in self._maps:
                ids = [clip.clip_id for clip in self.clips[split]]
                self._maps[split] = ClipMaps(self._store, ids, memory_gb=self._memory_gb)

    def channel_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every channel over the training clips, each (c,)."""
        return self._maps["train"].channel_statistics()

    def train_dataloader(self) -> TrainingBatches:
        """Batches of P classes with K clips, a drawn frame a segment."""
        clips = self.clips["train"]
        sampler = PKBatchSampler(
            [clip.label for clip in clips],
            classes_per_batch=self._classes_per_batch,
            samples_per_class=self._samples_per_class,
            batches_per_epoch=self._batches_per_epoch,
            seed=self._seed,
        )
        self._batches = TrainingBatches(
            self._maps["train"],
            self._labels(clips),
            sampler,
            seed=self._seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
        )
        if self._resumed:
            self._batches.load_state_dict(self._resumed)
        return self._batches

    def state_dict(self) -> dict[str, Any]:
        """Where the training batches are, for a checkpoint.

        Lightning saves the state of loaders too, but gives it back only in the middle of an epoch,
        and not where the optimizer's factory asked for the number of steps.
        """
        return self._batches.state_dict() if self._batches else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training batches go on from a checkpoint's."""
        self._resumed = state_dict

    def val_dataloader(self) -> EvaluationBatches:
        """The validation clips in order."""
        return self._evaluation_batches("val")

    def test_dataloader(self) -> EvaluationBatches:
        """The test clips in order."""
        return self._evaluation_batches("test")

    def _evaluation_batches(self, split: str) -> EvaluationBatches:
        labels = self._labels(self.clips[split])
        return EvaluationBatches(self._maps[split], labels, batch_size=self._evaluation_batch_size)

    def _labels(self, clips: Sequence[Clip]) -> list[int]:
        position = {label: number for number, label in enumerate(self.label_names)}
        return [position[clip.label] for clip in clips]
