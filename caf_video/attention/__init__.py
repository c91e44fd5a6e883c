"""Where a network looked, as mathematics on tensors: filters, their solvers, heatmaps, Grad-CAM.

cutting/ runs any network up to a layer and from it on; solvers/ find the filters. Neither knows of
the other; explain, explain_clip and gradcam bring them together.

Imports: nothing of ours; torch from outside.
Law: same input, same output; the model is left as it was found.
"""

from caf_video.attention.clip_model import ClipModel
from caf_video.attention.cutting.cut import Cut, cut_network
from caf_video.attention.explain import Explanation, explain
from caf_video.attention.explain_clip import ClipExplanation, explain_clip
from caf_video.attention.gradcam import cam, feature_norm, grad_cam, retrieval_grad_cam
from caf_video.attention.heatmap import (
    filters_to_heatmaps,
    frame_shares,
    mostly_negative,
    resize_maps,
)
from caf_video.attention.influence import frame_influence
from caf_video.attention.methods import METHODS, Given, Method, require_methods
from caf_video.attention.path_shares import passed, path_shares, sharp
from caf_video.attention.solvers.exact import solve_affine
from caf_video.attention.solvers.solution import FilterSolution
from caf_video.attention.warning import AttentionWarning

__all__ = [
    "METHODS",
    "AttentionWarning",
    "ClipExplanation",
    "ClipModel",
    "Cut",
    "Explanation",
    "FilterSolution",
    "Given",
    "Method",
    "cam",
    "cut_network",
    "explain",
    "explain_clip",
    "feature_norm",
    "filters_to_heatmaps",
    "frame_influence",
    "frame_shares",
    "grad_cam",
    "mostly_negative",
    "passed",
    "path_shares",
    "require_methods",
    "resize_maps",
    "retrieval_grad_cam",
    "sharp",
    "solve_affine",
]
