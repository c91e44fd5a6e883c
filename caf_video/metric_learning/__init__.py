"""Ranking losses on embeddings, and the class-balanced batch sampler.

Imports: nothing of ours; torch from outside.
Law: same input, same output.
"""

from caf_video.metric_learning.batch import unit_norm
from caf_video.metric_learning.library_loss import LibraryLoss
from caf_video.metric_learning.multi_similarity import MultiSimilarityLoss, multi_similarity_loss
from caf_video.metric_learning.n_pair import NPairLoss, n_pair_loss
from caf_video.metric_learning.names import loss_name
from caf_video.metric_learning.proxy_anchor import ProxyAnchorLoss, proxy_anchor_loss
from caf_video.metric_learning.sampler import PKBatchSampler
from caf_video.metric_learning.triplet import (
    TripletLoss,
    batch_hard_triplet_loss,
    semi_hard_triplet_loss,
)

__all__ = [
    "LibraryLoss",
    "MultiSimilarityLoss",
    "NPairLoss",
    "PKBatchSampler",
    "ProxyAnchorLoss",
    "TripletLoss",
    "batch_hard_triplet_loss",
    "loss_name",
    "multi_similarity_loss",
    "n_pair_loss",
    "proxy_anchor_loss",
    "semi_hard_triplet_loss",
    "unit_norm",
]
