"""The Multi-Similarity loss with its mining (Wang et al. 2019)."""

import torch
from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.metric_learning.batch import require_pairs, unit_norm
from caf_video.metric_learning.log_sum_exp import log_one_plus_sum_exp


def multi_similarity_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    epsilon: float = 0.1,
) -> Tensor:
    """The loss of Wang et al. (CVPR 2019), Eq. 12, of the pairs that Eq. 7 and 8 choose.

    The mean over all samples of 1/alpha ln(1 + sum of exp(-alpha (s - base))) over the positives
    chosen, and 1/beta ln(1 + sum of exp(beta (s - base))) over the negatives. s is the product of
    two embeddings. A negative is chosen if it is more similar than the least similar positive less
    epsilon, a positive if it is less similar than the most similar negative and epsilon.

    Args:
        embeddings: (b, d), taken as they are: of length 1, for s to be a cosine.
        labels: (b,).
        alpha: Scale of the similarities of positives.
        beta: Scale of the similarities of negatives.
        base: Lambda, the similarity that splits them.
        epsilon: Of the mining; infinity chooses all pairs of a sample that has both kinds.

    Raises:
        InputError: On a malformed or non-finite batch, or without a positive pair or a negative.
    """
    same, different = require_pairs(embeddings, labels)
    similarity = embeddings @ embeddings.T  # (b, b)
    fixed = similarity.detach()  # the choice itself has no gradient
    hardest_positive = fixed.masked_fill(~same, torch.inf).amin(dim=1, keepdim=True)
    hardest_negative = fixed.masked_fill(~different, -torch.inf).amax(dim=1, keepdim=True)
    positives = same & (fixed < hardest_negative + epsilon)
    negatives = different & (fixed > hardest_positive - epsilon)
    together = log_one_plus_sum_exp(-alpha * (similarity - base), positives) / alpha
    apart = log_one_plus_sum_exp(beta * (similarity - base), negatives) / beta
    return (together + apart).mean()


class MultiSimilarityLoss(nn.Module):
    """The Multi-Similarity loss between unit-norm embeddings.

    Args:
        alpha, beta, base, epsilon: As `multi_similarity_loss` takes them.

    Attributes:
        normalize: The loss scales embeddings to length 1, so retrieval must too.
    """

    normalize = True

    def __init__(
        self,
        *,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float = 0.1,
    ) -> None:
        super().__init__()
        for name, scale in (("alpha", alpha), ("beta", beta)):
            if not 0 < scale < float("inf"):
                raise InputError(
                    f"a Multi-Similarity loss with {name} {scale}: wanted a number above 0"
                )
        if not abs(base) < float("inf"):
            raise InputError(f"a Multi-Similarity loss with base {base}: wanted a number")
        if not epsilon >= 0:
            raise InputError(
                f"a Multi-Similarity loss with epsilon {epsilon}: wanted a number from 0 on"
            )
        self.alpha, self.beta, self.base, self.epsilon = alpha, beta, base, epsilon

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of raw embeddings (b, d), which it normalises, with labels (b,)."""
        return multi_similarity_loss(
            unit_norm(embeddings),
            labels,
            alpha=self.alpha,
            beta=self.beta,
            base=self.base,
            epsilon=self.epsilon,
        )
