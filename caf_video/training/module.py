"""The Lightning modules: a network, its loss and an optimizer factory, brought together."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from caf_video.errors import InputError
from caf_video.metric_learning import unit_norm
from caf_video.models.image_network import ImageNetwork
from caf_video.retrieval import recall_at_k
from caf_video.training.batches import Batch

OptimizerFactory = Callable[..., dict[str, Any]]
"""Called with a network and the number of steps; with `loss`, too, if that has parameters."""


def _divided() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _processes() -> int:
    """How many processes train this together."""
    return torch.distributed.get_world_size() if _divided() else 1


class RankingLoss(Protocol):
    """A loss of raw embeddings (b, d) and labels (b,).

    One that is a `nn.Module` with parameters may have a `learning_rate_factor`: they learn at the
    network's learning rate times it.

    Attributes:
        normalize: Whether it measures them at length 1, so that retrieval must too.
    """

    normalize: bool

    def __call__(self, embeddings: Tensor, labels: Tensor) -> Tensor: ...


class TrainingModule(pl.LightningModule, ABC):
    """Trains a network; logs `learning_rate`, and validates by a metric that subclasses name.

    Args:
        model: The network.
        optimizer: Makes the optimizer from the network and the number of steps.
        seed: Of what the network draws in training (dropout).

    Attributes:
        metric: Name of what is logged of the validation samples; more is better.
        schedule_began: The step at which the optimizer and its schedule began: 0, or where a
            finished training is gone on with.
        begins_anew: Whether they begin now, whatever the checkpoint holds of them.
        normalize: Whether outputs are embeddings that are compared at length 1.
    """

    metric: ClassVar[str]
    normalize: bool

    def __init__(self, model: nn.Module, optimizer: OptimizerFactory, *, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        self._make_optimizer = optimizer
        self._seed = seed
        self.schedule_began = 0
        self.begins_anew = False
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []  # outputs, labels, positions

    def on_train_batch_start(self, batch: Batch, batch_number: int) -> None:
        """Log the learning rate of the step, and seed it: a resumed training draws the same."""
        rank = torch.distributed.get_rank() if _divided() else 0
        torch.manual_seed(self._seed * 1_000_003 + self.global_step + (rank << 40))
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])

    def validation_step(self, batch: Batch, batch_number: int) -> None:
        """Keep the outputs of a batch."""
        self._validated.append((self.model(batch.inputs), batch.labels, batch.positions))

    def on_validation_epoch_end(self) -> None:
        """Log the metric of the validation samples.

        Processes are gathered first, and a sample that several of them had, or that padded a batch,
        counts once.
        """
        outputs, labels, positions = map(torch.cat, zip(*self._validated, strict=True))
        self._validated.clear()
        if _processes() > 1:
            outputs, labels, positions = (
                cast(Tensor, self.all_gather(values)).flatten(0, 1)
                for values in (outputs, labels, positions)
            )
        first = {position: row for row, position in reversed([*enumerate(positions.tolist())])}
        rows = torch.tensor([first[position] for position in sorted(first)], device=outputs.device)
        found = self._measure(outputs[rows].float(), labels[rows], positions[rows])
        self.log(self.metric, found, prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """What the factory makes."""
        return self._optimizers()

    def _optimizers(self, **known: Any) -> Any:
        try:
            return self._make_optimizer(self.model, self._steps(), **known)
        except (TypeError, ValueError) as error:  # a negative learning rate, say
            raise InputError(f"optimizer: {' '.join(str(error).split())}") from error

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out the optimizer of a finished training, whose schedule has ended."""
        if self.begins_anew:
            checkpoint["optimizer_states"], checkpoint["lr_schedulers"] = [], []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep when the schedule began, for its length depends on it."""
        checkpoint["schedule_began"] = self.schedule_began

    def _steps(self) -> int:
        """Those of the schedule."""
        return int(self.trainer.estimated_stepping_batches) - self.schedule_began

    def _share_sizes(self, share: Tensor) -> Tensor:
        """How many rows of the batch each process has, (processes,)."""
        return cast(Tensor, self.all_gather(torch.tensor(len(share), device=share.device)))

    def _whole_batch(self, share: Tensor) -> Tensor:
        """The rows (n, …) of a whole batch, in its order, of each process's share (b, …).

        Gradients flow back to every process's own rows, from the losses of all processes.
        """
        if _processes() == 1:
            return share
        sizes = self._share_sizes(share)
        missing = int(sizes.max()) - len(share)
        padded = torch.cat([share, share[:1].detach().expand(missing, *share.shape[1:])])
        every = cast(Tensor, self.all_gather(padded, sync_grads=share.requires_grad))
        # Process r has rows r, r + processes, …: side by side they are in order, padding is last.
        return every.transpose(0, 1).flatten(0, 1)[: int(sizes.sum())]

    @abstractmethod
    def _measure(self, outputs: Tensor, labels: Tensor, positions: Tensor) -> float:
        """The metric of outputs (n, d) with labels (n,), each sample once."""


class EmbeddingModule(TrainingModule):
    """Trains an embedder, of clips or images, on a ranking loss; logs `loss` and `recall@1`.

    Args:
        model: The network; its outputs are raw embeddings (b, d).
        loss: The ranking loss; its parameters, if it has any, are trained and saved.
        optimizer, seed: As `TrainingModule` takes them.
        classes: The labels of the training samples, ascending: the loss is given positions among
            them, 0, 1, 2 … without a gap. None gives it the labels.
    """

    metric = "recall@1"
    classes: Tensor

    def __init__(
        self,
        model: nn.Module,
        loss: RankingLoss,
        optimizer: OptimizerFactory,
        *,
        seed: int = 0,
        classes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model, optimizer, seed=seed)
        self.loss = loss
        self.normalize = loss.normalize
        self._renumber = classes is not None
        self.register_buffer("classes", torch.tensor(classes or [0]), persistent=False)

    def configure_optimizers(self) -> Any:
        """What the factory makes of the network and, if it has parameters, the loss.

        Raises:
            InputError: The loss has parameters, and the factory takes no `loss`.
        """
        if not isinstance(self.loss, nn.Module) or not [*self.loss.parameters()]:
            return super().configure_optimizers()
        takes = inspect.signature(self._make_optimizer).parameters
        if "loss" not in takes:
            raise InputError(
                "the loss has parameters of its own, and the optimizer's factory takes no loss: "
                "give it an argument `loss` (see caf_video.training.optimizers)"
            )
        return self._optimizers(loss=self.loss)

    def training_step(self, batch: Batch, batch_number: int) -> Tensor:
        """The loss of a batch, in every process that of the whole one.

        Gathering adds up the gradients of all processes' losses, and DistributedDataParallel takes
        their mean: what is left is the gradient of the one loss, as if one process had it all.
        """
        embeddings = self._whole_batch(self.model(batch.inputs))
        if not embeddings.isfinite().all():
            return embeddings.sum()  # no number either: `RunCheckpoints` stops and says what helps
        labels = self._whole_batch(batch.labels)
        if self._renumber:
            labels = torch.searchsorted(self.classes, labels)
        loss = self.loss(embeddings, labels)
        self.log("loss", loss, prog_bar=True)
        return loss

    def _measure(self, outputs: Tensor, labels: Tensor, positions: Tensor) -> float:
        result = recall_at_k(
            (unit_norm(outputs) if self.normalize else outputs).cpu(),
            [str(label) for label in labels.tolist()],
            ids=[str(position) for position in positions.tolist()],
            ks=(1,),
        )
        return result.recall[1]


class ClassifierModule(TrainingModule):
    """Trains a classifier of images; logs `loss` and `top-1`.

    Args:
        model: The network; it may have several classifiers to train (ACoL), and the first is it.
        optimizer, seed: As `TrainingModule` takes them.
    """

    metric = "top-1"
    normalize = False
    model: ImageNetwork

    def training_step(self, batch: Batch, batch_number: int) -> Tensor:
        """The cross-entropy of a batch, summed over the classifiers; as one process would have it.

        A share counts by its size, for a batch need not divide evenly.
        """
        branches = self.model.training_logits(batch.inputs, batch.labels)
        loss = torch.stack([cross_entropy(logits, batch.labels) for logits in branches]).sum()
        if _processes() > 1:
            mean_size = int(self._share_sizes(batch.labels).sum()) / _processes()
            loss = loss * (len(batch.labels) / mean_size)
        self.log("loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def _measure(self, outputs: Tensor, labels: Tensor, positions: Tensor) -> float:
        return float((outputs.argmax(dim=1) == labels).float().mean())
