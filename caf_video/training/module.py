"""The Lightning module: a model, a loss and an optimizer factory, brought together."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from caf_video.metric_learning import unit_norm
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.retrieval import recall_at_k
from caf_video.training.batches import ClipBatch

OptimizerFactory = Callable[[Iterable[nn.Parameter], int], dict[str, Any]]


class RankingLoss(Protocol):
    """A loss of raw embeddings (b, d) and labels (b,).

    Attributes:
        normalize: Whether it measures them at length 1, so that retrieval must too.
    """

    normalize: bool

    def __call__(self, embeddings: Tensor, labels: Tensor) -> Tensor: ...


class RecurrentModule(pl.LightningModule):
    """Trains a recurrent embedder on a ranking loss; logs `loss`, `learning_rate` and `recall@1`.

    Args:
        model: The network.
        loss: The ranking loss.
        optimizer: Makes the optimizer from the parameters and the number of steps.
        seed: Of what the network draws in training (dropout).
    """

    def __init__(
        self,
        model: RecurrentEmbedder,
        loss: RankingLoss,
        optimizer: OptimizerFactory,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self._make_optimizer = optimizer
        self._seed = seed
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []  # embeddings, labels, positions

    def training_step(self, batch: ClipBatch, batch_number: int) -> Tensor:
        """The loss of a batch."""
        loss = self.loss(self.model(batch.feature_maps), batch.labels)
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_train_batch_start(self, batch: ClipBatch, batch_number: int) -> None:
        """Log the learning rate of the step, and seed it: a resumed training draws the same."""
        torch.manual_seed(self._seed * 1_000_003 + self.global_step)
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])

    def validation_step(self, batch: ClipBatch, batch_number: int) -> None:
        """Keep the embeddings of a batch."""
        self._validated.append((self.model(batch.feature_maps), batch.labels, batch.positions))

    def on_validation_epoch_end(self) -> None:
        """R@1 of the validation clips among each other.

        Processes are gathered first, and a clip that several of them had, or that padded a batch,
        counts once.
        """
        embeddings, labels, positions = map(torch.cat, zip(*self._validated, strict=True))
        self._validated.clear()
        if self.trainer.world_size > 1:
            embeddings, labels, positions = (
                cast(Tensor, self.all_gather(values)).flatten(0, 1)
                for values in (embeddings, labels, positions)
            )
        first = {position: row for row, position in reversed([*enumerate(positions.tolist())])}
        rows = torch.tensor(sorted(first.values()), device=embeddings.device)
        if self.loss.normalize:
            embeddings = unit_norm(embeddings)
        result = recall_at_k(
            embeddings[rows].float().cpu(),
            [str(label) for label in labels[rows].tolist()],
            ids=[str(position) for position in positions[rows].tolist()],
            ks=(1,),
        )
        self.log("recall@1", result.recall[1], prog_bar=True)

    def configure_optimizers(self) -> Any:
        """What the factory makes."""
        total_steps = int(self.trainer.estimated_stepping_batches)
        return self._make_optimizer(self.model.parameters(), total_steps)
