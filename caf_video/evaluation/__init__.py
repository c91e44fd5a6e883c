"""Attention measured against ground truth, and the baselines of a trained embedding.

Imports: attention; torch from outside. Arrays in, numbers out.
Law: the metric of a perfect and of a useless heatmap is known.
"""

from caf_video.evaluation.frozen import mean_pooled, pooled_by_frame
from caf_video.evaluation.in_time import (
    VisibleFrames,
    influence_of_evidence,
    opposite_found,
    played_backwards,
    score_in_time,
    visible_frames,
)
from caf_video.evaluation.pointing import (
    box_area_share,
    box_prior,
    energy_in_box,
    pointing_game,
)
from caf_video.evaluation.sanity import (
    pearson,
    random_weights,
    spearman,
    structural_similarity,
)

__all__ = [
    "VisibleFrames",
    "box_area_share",
    "box_prior",
    "energy_in_box",
    "influence_of_evidence",
    "mean_pooled",
    "opposite_found",
    "pearson",
    "played_backwards",
    "pointing_game",
    "pooled_by_frame",
    "random_weights",
    "score_in_time",
    "spearman",
    "structural_similarity",
    "visible_frames",
]
