"""A loss from elsewhere, with the conventions of pytorch-metric-learning."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.metric_learning.batch import unit_norm


class LibraryLoss(nn.Module):
    """A loss that is called with embeddings, labels and, after a miner, what the miner chose.

    Args:
        loss: As in pytorch-metric-learning: embeddings (b, d) and labels (b,) in, a number out.
        miner: Called with embeddings and labels; its answer is the loss's third argument.
        normalize: Whether loss and miner are given embeddings of length 1, and retrieval compares
            such.
        learning_rate_factor: Learning rate of the loss's own parameters over that of the network.

    Attributes:
        normalize, learning_rate_factor: As given.

    Raises:
        InputError: A factor of 0 or less; or, when called, the loss gives no single number.
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        *,
        miner: Callable[[Tensor, Tensor], Any] | None = None,
        normalize: bool = True,
        learning_rate_factor: float = 1.0,
    ) -> None:
        super().__init__()
        if not isinstance(normalize, bool):
            raise InputError(f"loss.normalize={normalize}: it is true or false")
        if not 0 < learning_rate_factor < float("inf"):
            raise InputError(
                f"loss.learning_rate_factor={learning_rate_factor}: wanted a number above 0"
            )
        self.loss, self.miner, self.normalize = loss, miner, normalize
        self.learning_rate_factor = learning_rate_factor

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of raw embeddings (b, d) with labels (b,)."""
        compared = unit_norm(embeddings) if self.normalize else embeddings
        mined = () if self.miner is None else (self.miner(compared, labels),)
        loss = self.loss(compared, labels, *mined)
        if not isinstance(loss, Tensor) or loss.ndim:
            told = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise InputError(f"{type(self.loss).__name__} gave {told}: wanted one number")
        return loss
