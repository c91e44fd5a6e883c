"""What data modules share: training batches that go on where they stopped, and batches in order."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from caf_video.data.features import StoreDescription
from caf_video.training.batches import EvaluationBatches, Sampler, Samples, TrainingBatches
from caf_video.training.image_description import ImageDescription

logger = logging.getLogger(__name__)


class BatchesDataModule(pl.LightningDataModule, ABC):
    """Splits of labelled samples as batches.

    Args:
        seed: Of batches and of what is drawn of a sample.
        evaluation_batch_size: Samples at once in validation and test.
        workers: Processes that make batches ahead; 0 makes them in the training's own.

    Attributes:
        description: What made the inputs: what a checkpoint says of them.
        label_names: Batches hold positions in it.
    """

    description: StoreDescription | ImageDescription
    label_names: list[str]

    def __init__(self, *, seed: int, evaluation_batch_size: int, workers: int = 0) -> None:
        super().__init__()
        self._seed = seed
        self._evaluation_batch_size = evaluation_batch_size
        self._workers = workers
        self._samples: dict[str, Samples] = {}  # of each split that was set up
        self._batches: TrainingBatches | None = None
        self._resumed: dict[str, Any] = {}

    @property
    @abstractmethod
    def validates(self) -> bool:
        """Whether there is a val split."""

    @property
    def training_clips(self) -> dict[str, str] | None:
        """The event of every training clip by its id; None where samples are no clips."""
        return None

    @abstractmethod
    def labels(self, split: str) -> list[str]:
        """The label of every sample of a split."""

    @abstractmethod
    def setup(self, stage: str) -> None:
        """Check and load the splits of a stage, "fit" or "test", once."""

    @abstractmethod
    def _sampler(self) -> Sampler:
        """What chooses the training batches."""

    def an_epoch(self) -> str:
        """What an epoch is, in a line: it need not be a pass."""
        sampler, samples = self._sampler(), len(self.labels("train"))
        size = len(sampler.batch(0))
        drawn = len(sampler) * size
        return (
            f"An epoch is {len(sampler)} steps of {size} samples: about {drawn}, of {samples} that "
            f"there are ({drawn / samples:.2g} passes; data.batches_per_epoch=null makes it one)"
        )

    def train_dataloader(self) -> TrainingBatches:
        """The training batches, from where a checkpoint left them."""
        self._batches = TrainingBatches(
            self._samples["train"],
            self._positions_of(self.labels("train")),
            self._sampler(),
            seed=self._seed,
            workers=self._workers,
            **self._process(),
        )
        if self._resumed:
            self._batches.load_state_dict(self._resumed)
        return self._batches

    def state_dict(self) -> dict[str, Any]:
        """Where the training batches are, and how many processes share them, for a checkpoint.

        Lightning saves the state of loaders too, but gives it back only in the middle of an epoch,
        and not where the optimizer's factory asked for the number of steps.
        """
        if not self._batches:
            return {}
        return {**self._batches.state_dict(), "processes": self._process()["world_size"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training batches go on from a checkpoint's, whoever shares them now."""
        self._resumed = state_dict
        process = self._process()
        before, now = state_dict.get("processes"), process["world_size"]
        if before not in (None, now) and process["rank"] == 0:
            logger.warning(
                "going on with %d process(es), after %d: the batches are the same, and each has "
                "another share of them; what a network draws itself (dropout) is drawn otherwise",
                now, before,
            )  # fmt: skip

    def val_dataloader(self) -> EvaluationBatches:
        """The validation samples in order."""
        return self._in_order("val")

    def test_dataloader(self) -> EvaluationBatches:
        """The test samples in order."""
        return self._in_order("test")

    def _in_order(self, split: str) -> EvaluationBatches:
        return EvaluationBatches(
            self._samples[split],
            self._positions_of(self.labels(split)),
            batch_size=self._evaluation_batch_size,
            workers=self._workers,
            **self._process(),
        )

    def _process(self) -> dict[str, int]:
        """Which of the processes this is that share the batches, and how many there are."""
        if not self.trainer:
            return {"rank": 0, "world_size": 1}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}

    def _positions_of(self, labels: Sequence[str]) -> list[int]:
        position = {label: number for number, label in enumerate(self.label_names)}
        return [position[label] for label in labels]
