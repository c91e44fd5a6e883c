"""Triplet losses: semi-hard (Sec. S1) and batch-hard (Hermans et al. 2017)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from caf_video.errors import InputError
from caf_video.metric_learning.batch import require_pairs, unit_norm


def semi_hard_triplet_loss(
    embeddings: Tensor, labels: Tensor, *, margin: float = 0.2, squared: bool = False
) -> Tensor:
    """Mean of [D(a, p) - D(a, n) + margin]+ over all pairs (a, p), zeros included (Eq. S1).

    The negative of a pair is the nearest one that is farther from the anchor than the positive; if
    there is none, the farthest negative.

    Args:
        embeddings: (b, d), taken as they are.
        labels: (b,).
        margin: In the units of the distance.
        squared: Measure squared Euclidean distances, as the authors' TensorFlow code does.

    Raises:
        InputError: On a malformed or non-finite batch, or without a positive pair or a negative.
    """
    distances, same, different = _compared(embeddings, labels, squared=squared)
    anchors, positives = same.nonzero(as_tuple=True)
    to_positive = distances[anchors, positives]  # (pairs,)
    to_others = distances.detach()[anchors]  # (pairs, b): the choice itself has no gradient
    negative = different[anchors]
    farther = negative & (to_others > to_positive.detach()[:, None])
    nearest_farther = to_others.masked_fill(~farther, torch.inf).argmin(dim=1)
    farthest = to_others.masked_fill(~negative, -torch.inf).argmax(dim=1)
    chosen = torch.where(farther.any(dim=1), nearest_farther, farthest)
    return (to_positive - distances[anchors, chosen] + margin).relu().mean()


def batch_hard_triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.2,
    squared: bool = False,
    soft: bool = False,
) -> Tensor:
    """Each anchor with its farthest positive and its nearest negative (Hermans et al. 2017, Eq. 5).

    The mean is over the anchors that have a positive.

    Args:
        embeddings: (b, d), taken as they are.
        labels: (b,).
        margin: Of the hinge, in the units of the distance.
        squared: Measure squared Euclidean distances.
        soft: ln(1 + exp(D(a, p) - D(a, n))) in place of the hinge; it has no margin.

    Raises:
        InputError: On a malformed or non-finite batch, or without a positive pair or a negative.
    """
    distances, same, different = _compared(embeddings, labels, squared=squared)
    anchors = same.any(dim=1).nonzero()[:, 0]
    to_others = distances.detach()[anchors]
    positives = to_others.masked_fill(~same[anchors], -torch.inf).argmax(dim=1)
    negatives = to_others.masked_fill(~different[anchors], torch.inf).argmin(dim=1)
    violation = distances[anchors, positives] - distances[anchors, negatives]
    return (softplus(violation) if soft else (violation + margin).relu()).mean()


def _compared(
    embeddings: Tensor, labels: Tensor, *, squared: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Distances (b, b), which pairs are positive (b, b), which are negative (b, b)."""
    same, different = require_pairs(embeddings, labels)
    # Differences, not the faster product of the embeddings: equal ones are then at distance exactly
    # 0, and there cdist's gradient is defined as 0 where the plain root's is infinite.
    distances = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")
    return (distances.square() if squared else distances), same, different


class TripletLoss(nn.Module):
    """A triplet loss between unit-norm embeddings.

    Args:
        mining: "semi_hard" (Sec. S1) or "hard" (Hermans et al. 2017).
        margin: In the units of the distance.
        squared: Squared Euclidean distances, the authors' TensorFlow variant.
        soft: Softplus in place of the hinge and its margin; "hard" only.

    Attributes:
        normalize: The loss scales embeddings to length 1, so retrieval must too.
    """

    normalize = True

    def __init__(
        self,
        mining: str = "semi_hard",
        *,
        margin: float = 0.2,
        squared: bool = False,
        soft: bool = False,
    ) -> None:
        super().__init__()
        if mining not in ("semi_hard", "hard"):
            raise InputError(f"unknown mining {mining!r}: it is 'semi_hard' or 'hard'")
        if soft and mining == "semi_hard":
            raise InputError("semi-hard mining has no soft variant: choose mining='hard'")
        if not 0 <= margin < float("inf"):
            raise InputError(f"a triplet loss with margin {margin}: wanted a number from 0 on")
        self.mining, self.margin, self.squared, self.soft = mining, margin, squared, soft

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of raw embeddings (b, d), which it normalises, with labels (b,)."""
        units = unit_norm(embeddings)
        if self.mining == "semi_hard":
            return semi_hard_triplet_loss(units, labels, margin=self.margin, squared=self.squared)
        return batch_hard_triplet_loss(
            units, labels, margin=self.margin, squared=self.squared, soft=self.soft
        )
