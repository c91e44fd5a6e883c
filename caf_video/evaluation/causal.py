"""Against what really changed the embedding: a clip beside its neutral copy (maths 7)."""

from collections.abc import Callable

import torch
from torch import Tensor

Head = Callable[[Tensor], Tensor]  # A (b, t, c, h, w) to embeddings (b, d)


def causal_effect(head: Head, maps: Tensor, neutral: Tensor) -> Tensor:
    """How far the embedding moves when a frame is that of the neutral copy, of each frame.

    Args:
        head: From A to embeddings.
        maps: A of the clips, (n, t, c, h, w).
        neutral: A of their neutral copies, of the same shape.

    Returns:
        Euclidean distances, float64, (n, t).
    """
    with torch.no_grad():
        untouched = head(maps).double()
        moved = []
        for frame in range(maps.shape[1]):
            swapped = maps.clone()
            swapped[:, frame] = neutral[:, frame]
            moved.append((head(swapped).double() - untouched).norm(dim=1))
    return torch.stack(moved, dim=1).cpu()


def cosine_of_maps(heat: Tensor, truth: Tensor) -> Tensor:
    """Cosine of each clip's map with the true one over all its cells (t, h, w).

    Args:
        heat: On one scale a clip, (n, t, h, w).
        truth: The causal share of each cell, any sign, of the same shape.

    Returns:
        float64, (n,); 0 where a map is all zeros, which says nothing; NaN where nothing is true:
        the clip's embedding is that of its neutral copy.
    """
    one, other = heat.double().flatten(1).cpu(), truth.double().flatten(1).cpu()
    lengths = one.norm(dim=1) * other.norm(dim=1)
    cosine = (one * other).sum(dim=1) / lengths.where(lengths > 0, 1.0)
    return cosine.where(other.norm(dim=1) > 0, float("nan"))


def correlation(scores: Tensor, truth: Tensor) -> Tensor:
    """Pearson's, of each clip over its frames, (n, t) both; float64, (n,).

    0 where the scores are all the same, which says nothing; NaN where the truth is.
    """
    one, other = (part.double().cpu() for part in (scores, truth))
    one = one - one.mean(dim=1, keepdim=True)
    other = other - other.mean(dim=1, keepdim=True)
    return cosine_of_maps(one, other)
