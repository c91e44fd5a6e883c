"""The N-pair loss (Sec. S2; Sohn 2016)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from caf_video.errors import InputError
from caf_video.metric_learning.batch import require_batch


def n_pair_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    negatives: str = "all",
    regularization: float = 0.0,
) -> Tensor:
    """Mean over pairs (a, p) of -log(exp(a.p) / (exp(a.p) + sum over n of exp(a.n))) (Sec. S2).

    Each class has one pair in the batch; the anchor is the one that comes first.

    Args:
        embeddings: (b, d), not normalised.
        labels: (b,), every label twice.
        negatives: "all" for the b - 2 samples of other classes (Sec. S2), "positives_only" for the
            b/2 - 1 positives of other classes (Sohn 2016, the authors' TensorFlow code).
        regularization: Lambda; adds lambda/4 * (mean ||a||^2 + mean ||p||^2). Their code has 0.002.

    Raises:
        InputError: On a malformed or non-finite batch, one class, or a class without exactly two.
    """
    require_batch(embeddings, labels)
    anchors, positives = _pairs(labels)
    anchor, positive = embeddings[anchors], embeddings[positives]  # (b/2, d) each
    to_positives = anchor @ positive.T  # (b/2, b/2), its diagonal the pairs
    pair = torch.arange(len(anchor), device=anchor.device)
    logits = to_positives
    if negatives == "all":
        own = torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
        to_anchors = (anchor @ anchor.T).masked_fill(own, -torch.inf)  # not a negative of itself
        logits = torch.cat([to_positives, to_anchors], dim=1)
    elif negatives != "positives_only":
        raise InputError(f"unknown negatives {negatives!r}: it is 'all' or 'positives_only'")
    loss = cross_entropy(logits, pair)
    if regularization:
        lengths = anchor.square().sum(dim=1).mean() + positive.square().sum(dim=1).mean()
        loss = loss + 0.25 * regularization * lengths
    return loss


def _pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the first and of the second sample of every class, each (b/2,)."""
    classes, counts = labels.unique(return_counts=True)
    if len(classes) < 2:
        raise InputError(f"all {len(labels)} samples share one label: no negative")
    if (counts != 2).any():
        wrong = int((counts != 2).nonzero()[0])
        raise InputError(
            f"label {classes[wrong].item()} has {int(counts[wrong])} samples in the batch: "
            "the N-pair loss takes exactly 2 of a class (samples_per_class=2)"
        )
    by_class = labels.argsort(stable=True).view(-1, 2)
    return by_class[:, 0], by_class[:, 1]


class NPairLoss(nn.Module):
    """The N-pair loss of raw embeddings; see `n_pair_loss` for its arguments.

    Attributes:
        normalize: False: embeddings keep their length, in the loss and in retrieval.
    """

    normalize = False

    def __init__(self, negatives: str = "all", *, regularization: float = 0.0) -> None:
        super().__init__()
        if negatives not in ("all", "positives_only"):
            raise InputError(f"unknown negatives {negatives!r}: it is 'all' or 'positives_only'")
        if not 0 <= regularization < float("inf"):
            raise InputError(
                f"an N-pair loss with regularization {regularization}: wanted a number from 0 on"
            )
        self.negatives, self.regularization = negatives, regularization

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of raw embeddings (b, d) with labels (b,)."""
        return n_pair_loss(
            embeddings, labels, negatives=self.negatives, regularization=self.regularization
        )
