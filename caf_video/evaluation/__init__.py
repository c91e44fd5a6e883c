"""Attention measured against ground truth, and the baselines of a trained embedding.

Imports: attention; torch from outside. Arrays in, numbers out.
Law: the metric of a perfect and of a useless heatmap is known.
"""

from caf_video.evaluation.causal import causal_effect, correlation, cosine_of_maps
from caf_video.evaluation.frozen import mean_pooled, pooled_by_frame
from caf_video.evaluation.in_time import (
    VisibleFrames,
    influence_of_evidence,
    opposite_found,
    played_backwards,
    score_in_time,
    visible_frames,
)
from caf_video.evaluation.masking import (
    EARLY,
    MaskedCurves,
    area_under,
    masked_curves,
)
from caf_video.evaluation.paired import Interval, PairedBootstrap, PerClip
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
from caf_video.evaluation.sharpness import as_sharp_as, effective_cells
from caf_video.evaluation.when import heaviest_counts, single_maximum, when_auc

__all__ = [
    "EARLY",
    "Interval",
    "MaskedCurves",
    "PairedBootstrap",
    "PerClip",
    "VisibleFrames",
    "area_under",
    "as_sharp_as",
    "box_area_share",
    "box_prior",
    "causal_effect",
    "correlation",
    "cosine_of_maps",
    "effective_cells",
    "energy_in_box",
    "heaviest_counts",
    "influence_of_evidence",
    "masked_curves",
    "mean_pooled",
    "opposite_found",
    "pearson",
    "played_backwards",
    "pointing_game",
    "pooled_by_frame",
    "random_weights",
    "score_in_time",
    "single_maximum",
    "spearman",
    "structural_similarity",
    "visible_frames",
    "when_auc",
]
