"""The Proxy-Anchor loss (Kim et al. 2020): samples against a learned proxy of every class."""

import torch
from torch import Tensor, nn

from caf_video.errors import InputError
from caf_video.metric_learning.batch import require_batch, unit_norm
from caf_video.metric_learning.log_sum_exp import log_one_plus_sum_exp


def proxy_anchor_loss(
    embeddings: Tensor,
    labels: Tensor,
    proxies: Tensor,
    *,
    alpha: float = 32.0,
    margin: float = 0.1,
) -> Tensor:
    """The loss of Kim et al. (CVPR 2020), Eq. 4.

    The mean, over the proxies whose class is in the batch, of
    ln(1 + sum of exp(-alpha (s - margin))) over the samples of the class; and the mean, over all
    proxies, of ln(1 + sum of exp(alpha (s + margin))) over the samples of other classes. s is the
    product of sample and proxy.

    Args:
        embeddings: (b, d), taken as they are: of length 1, for s to be a cosine.
        labels: (b,), whole numbers below c.
        proxies: (c, d), one a class, taken as they are.
        alpha: Scale of the similarities.
        margin: Added to the similarity of what should be apart, taken from that of the others.

    Raises:
        InputError: On a malformed, non-finite or empty batch, or a label that has no proxy.
    """
    require_batch(embeddings, labels)
    if not len(labels):
        raise InputError("an empty batch has no Proxy-Anchor loss")
    if labels.min() < 0 or labels.max() >= len(proxies):
        raise InputError(
            f"labels from {labels.min().item()} to {labels.max().item()} with {len(proxies)} "
            f"proxies: wanted 0 to {len(proxies) - 1}"
        )
    similarity = proxies @ embeddings.T  # (c, b)
    own = torch.arange(len(proxies), device=labels.device)[:, None] == labels[None, :]
    to_own = log_one_plus_sum_exp(-alpha * (similarity - margin), own)  # (c,), 0 without a sample
    to_others = log_one_plus_sum_exp(alpha * (similarity + margin), ~own)
    return to_own.sum() / own.any(dim=1).sum() + to_others.mean()


class ProxyAnchorLoss(nn.Module):
    """The Proxy-Anchor loss between unit-norm embeddings and unit-norm proxies.

    Args:
        num_classes: Proxies to learn: classes there are in training.
        embedding_size: d.
        alpha, margin: As `proxy_anchor_loss` takes them.
        learning_rate_factor: Learning rate of the proxies over that of the network.

    Attributes:
        normalize: The loss scales embeddings to length 1, so retrieval must too.
        learning_rate_factor: As given.
        proxies: (c, d), learned; from a normal distribution, as in the authors' code.
    """

    normalize = True

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        *,
        alpha: float = 32.0,
        margin: float = 0.1,
        learning_rate_factor: float = 100.0,
    ) -> None:
        super().__init__()
        for what, number in (("classes", num_classes), ("numbers in an embedding", embedding_size)):
            if number < 1:
                raise InputError(f"a Proxy-Anchor loss of {number} {what}: wanted 1 or more")
        if not 0 < alpha < float("inf"):
            raise InputError(f"a Proxy-Anchor loss with alpha {alpha}: wanted a number above 0")
        if not 0 <= margin < float("inf"):
            raise InputError(f"a Proxy-Anchor loss with margin {margin}: wanted a number from 0 on")
        if not 0 < learning_rate_factor < float("inf"):
            raise InputError(
                f"proxies with learning_rate_factor {learning_rate_factor}: wanted a number above 0"
            )
        self.alpha, self.margin = alpha, margin
        self.learning_rate_factor = learning_rate_factor
        self.proxies = nn.Parameter(torch.empty(num_classes, embedding_size))
        nn.init.kaiming_normal_(self.proxies, mode="fan_out")

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of raw embeddings (b, d), which it normalises, with labels (b,) from 0 on."""
        return proxy_anchor_loss(
            unit_norm(embeddings),
            labels,
            unit_norm(self.proxies),
            alpha=self.alpha,
            margin=self.margin,
        )
