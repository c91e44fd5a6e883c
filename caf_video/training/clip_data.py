"""A feature store as training, validation and test batches."""

from pathlib import Path
from typing import cast

from torch import Tensor

from caf_video.data.clips import require_evaluable, require_trainable
from caf_video.data.features import StoreDescription
from caf_video.data.manifest import SPLITS, Clip, read_clips
from caf_video.data.stores import open_store
from caf_video.metric_learning import PKBatchSampler
from caf_video.training.clip_maps import ClipMaps
from caf_video.training.datamodule import BatchesDataModule


class FeatureDataModule(BatchesDataModule):
    """Training, validation and test batches of the clips of a feature store.

    Training batches are P classes with K clips, a drawn frame a segment.

    Args:
        features: The store's folder.
        classes_per_batch: P; see `PKBatchSampler`.
        samples_per_class: K.
        batches_per_epoch: Training batches between two validations; None: a whole pass.
        seed: Of batches and of frames drawn.
        evaluation_batch_size: Clips at once in validation and test.
        memory_gb: A split that needs more GB than this is read from disk batch by batch.

    Attributes:
        description: What made the features.
        clips: The clips of every split.
        label_names: The labels of the training clips, sorted.

    Raises:
        CafVideoError: There is no such store, its clips cannot be read, or, from `setup` on, a
            split is empty, a class has one training clip, or features are missing or damaged.
    """

    description: StoreDescription

    def __init__(
        self,
        features: str | Path,
        *,
        classes_per_batch: int,
        samples_per_class: int,
        batches_per_epoch: int | None,
        seed: int,
        evaluation_batch_size: int = 64,
        memory_gb: float = 4.0,
    ) -> None:
        super().__init__(seed=seed, evaluation_batch_size=evaluation_batch_size)
        self._store = open_store(features)
        self._classes_per_batch = classes_per_batch
        self._samples_per_class = samples_per_class
        self._batches_per_epoch = batches_per_epoch
        self._memory_gb = memory_gb
        self.description = self._store.description
        clips = read_clips(self._store.manifest_path)
        self.clips: dict[str, list[Clip]] = {
            split: [clip for clip in clips if clip.split == split] for split in SPLITS
        }
        self.label_names = sorted(set(self.labels("train")))

    @property
    def validates(self) -> bool:
        """True: `setup` refuses clips without a val split."""
        return True

    @property
    def training_clips(self) -> dict[str, str]:
        """The event of every training clip by its id."""
        return {clip.clip_id: self._store.event(clip.clip_id) for clip in self.clips["train"]}

    def labels(self, split: str) -> list[str]:
        """The label of every clip of a split."""
        return [clip.label for clip in self.clips[split]]

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
            if split not in self._samples:
                ids = [clip.clip_id for clip in self.clips[split]]
                self._samples[split] = ClipMaps(self._store, ids, memory_gb=self._memory_gb)

    def channel_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every channel over the training clips, each (c,)."""
        self.setup("fit")
        return cast(ClipMaps, self._samples["train"]).channel_statistics()

    def _sampler(self) -> PKBatchSampler:
        return PKBatchSampler(
            self.labels("train"),
            classes_per_batch=self._classes_per_batch,
            samples_per_class=self._samples_per_class,
            batches_per_epoch=self._batches_per_epoch,
            seed=self._seed,
        )
