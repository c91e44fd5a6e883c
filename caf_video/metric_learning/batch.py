"""What every ranking loss asks of its batch: one finite embedding and one label a sample."""

import torch
from torch import Tensor

from caf_video.errors import InputError


def require_batch(embeddings: Tensor, labels: Tensor) -> None:
    """Refuse a batch that no ranking loss is defined on.

    Raises:
        InputError: If embeddings are not (b, d), labels not (b,), or an embedding is not finite.
    """
    if embeddings.ndim != 2:
        raise InputError(f"embeddings have shape {tuple(embeddings.shape)}, wanted (b, d)")
    if labels.shape != embeddings.shape[:1]:
        raise InputError(
            f"labels have shape {tuple(labels.shape)}, wanted ({len(embeddings)},): "
            "one for each embedding"
        )
    finite = embeddings.detach().isfinite().all(dim=1)
    if not finite.all():
        first = int(finite.logical_not().nonzero()[0])
        raise InputError(f"the embedding of sample {first} of {len(finite)} is not finite")


def require_pairs(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs of a batch are positive and which negative, each (b, b) of bool.

    Raises:
        InputError: As `require_batch`; or there is no positive pair, or no negative one.
    """
    require_batch(embeddings, labels)
    equal = labels[:, None] == labels[None, :]
    same = equal & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    if not same.any():
        raise InputError(f"no two of the {len(labels)} samples share a label: no positive pair")
    if equal.all():
        raise InputError(f"all {len(labels)} samples share one label: no negative")
    return same, ~equal


def unit_norm(embeddings: Tensor) -> Tensor:
    """Embeddings (b, d) scaled to length 1. The zero vector stays, and passes a finite gradient."""
    norms = embeddings.norm(dim=-1, keepdim=True)
    return embeddings / torch.where(norms > 0, norms, 1)
