"""Nearest neighbours and what is measured with them: R@K, NMI, the correctness gate.

Imports: nothing of ours; faiss and, to take tensors, torch from outside.
Law: agrees with brute force.
"""

from caf_video.retrieval.index import EmbeddingIndex, Neighbours
from caf_video.retrieval.metrics import (
    Gallery,
    RankedPrecision,
    RetrievalResult,
    chance_recall,
    nmi_across_groups,
    normalized_mutual_information,
    ranked_precision,
    recall_at_k,
)

__all__ = [
    "EmbeddingIndex",
    "Gallery",
    "Neighbours",
    "RankedPrecision",
    "RetrievalResult",
    "chance_recall",
    "nmi_across_groups",
    "normalized_mutual_information",
    "ranked_precision",
    "recall_at_k",
]
