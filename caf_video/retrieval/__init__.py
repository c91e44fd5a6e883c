"""Nearest neighbours and what is measured with them: R@K, NMI, the correctness gate.

Imports: nothing of ours; faiss, sklearn (for a map, where it is installed) and, to take tensors,
torch from outside.
Law: agrees with brute force.
"""

from caf_video.retrieval.index import EmbeddingIndex, Neighbours
from caf_video.retrieval.inverted_lists import APPROXIMATE, CANDIDATES, Built, InvertedLists
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
from caf_video.retrieval.moments import best_moments, distances_to
from caf_video.retrieval.plane import neighbor_plane, principal_plane, require_tsne

__all__ = [
    "APPROXIMATE",
    "CANDIDATES",
    "Built",
    "EmbeddingIndex",
    "Gallery",
    "InvertedLists",
    "Neighbours",
    "RankedPrecision",
    "RetrievalResult",
    "best_moments",
    "chance_recall",
    "distances_to",
    "nmi_across_groups",
    "normalized_mutual_information",
    "neighbor_plane",
    "principal_plane",
    "require_tsne",
    "ranked_precision",
    "recall_at_k",
]
